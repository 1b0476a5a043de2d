//! Whether the log is still the one that a partition's newest segment was made from.
//!
//! A topic that was made anew and has grown past the segment's end looks like one to go on with, but what it holds up to there is
//! in no segment and never would be. Its watermarks are others, though: log time has gone on. So those before the segment's end
//! are compared with the footer's. Nothing but watermark records counts: a segment may end anywhere between two records.

use millrace_eventlog::{Log, Offset, ReadError, Topic};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::EnrichedRecord;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::topics;

use crate::error::Error;
use crate::health::Health;
use crate::limits;
use crate::segment::Footer;

const ENRICHED: Topic = Topic(topics::ENRICHED);

/// The newest segment of a partition, as a witness of what the log held.
pub(crate) struct Witness<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) health: &'a Health,
    pub(crate) footer: &'a Footer,
}

/// What the log tells of the watermarks before the segment's end.
enum Told {
    /// The last one, and where it stands.
    Watermark { offset: Offset, watermark_ms: i64 },
    /// There is none.
    Nothing,
    /// It was among what retention has taken.
    Gone,
}

impl Witness<'_> {
    /// Refuses a log that is not the one the segment was made from. What retention has taken cannot be compared, and is no reason.
    pub(crate) async fn confirm(&self) -> Result<(), Error> {
        let Footer { partition, end, watermark_ms, .. } = *self.footer;
        let found = match self.told().await? {
            Told::Watermark { offset, watermark_ms } => Some((offset, watermark_ms)),
            Told::Nothing => None,
            Told::Gone => {
                tracing::info!(partition, end, "retention has taken what the newest segment is compared with");
                return Ok(());
            }
        };
        // A segment without any promise before its end says 0.
        if found.map_or(0, |(_, found_ms)| found_ms) == watermark_ms {
            return Ok(());
        }
        Err(Error::OtherRecords { log_id: self.log.id().to_owned(), partition, end, watermark_ms, found })
    }

    /// Looks back from the segment's end in steps that double. Every transaction ends with a watermark record, so it is nearly
    /// always among the last few records: one small read.
    async fn told(&self) -> Result<Told, Error> {
        let (mut to, mut step, mut bytes) = (self.footer.end, limits::WITNESS_SEARCH_STEP, 0);
        loop {
            let start = self.start().await?;
            if to <= start {
                return Ok(if start > 0 { Told::Gone } else { Told::Nothing });
            }
            if bytes >= limits::WITNESS_READ_BYTES_MAX {
                return Ok(Told::Nothing);
            }
            let from = to.saturating_sub(step).max(start);
            match self.last_within(from, to).await {
                Ok((Some((offset, watermark_ms)), _)) => return Ok(Told::Watermark { offset, watermark_ms }),
                Ok((None, read)) => {
                    bytes += read;
                    (to, step) = (from, step.saturating_mul(2));
                }
                // Retention has overtaken the look: the log begins later by now.
                Err(Error::Log(ReadError::Truncated { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where the log begins, once it is known to reach the segment's end.
    async fn start(&self) -> Result<Offset, Error> {
        let Footer { partition, end, .. } = *self.footer;
        let mut wait = self.health.wait();
        loop {
            let extent = self.health.ask_log(|| self.log.extent(ENRICHED, partition), Error::Log).await?;
            if extent.end >= end {
                return Ok(extent.start);
            }
            // A broker that has just taken over may know of less for a moment. The read tells that from a log that regressed.
            self.health.ask_log(|| self.log.read(ENRICHED, partition, end, 1), Error::Log).await?;
            wait.again("the enriched topic does not reach the end of its newest segment").await?;
        }
    }

    /// The last watermark between two offsets, where it stands, and how many bytes of values were read. As for a segment, the
    /// highest counts.
    async fn last_within(&self, from: Offset, to: Offset) -> Result<(Option<(Offset, i64)>, usize), Error> {
        let partition = self.footer.partition;
        let (mut at, mut last, mut bytes) = (from, None::<(Offset, i64)>, 0);
        while at < to {
            let read = || self.log.read(ENRICHED, partition, at, limits::WITNESS_READ_BYTES);
            let chunk = self.health.ask_log(read, Error::Log).await?;
            for record in chunk.records.into_iter().filter(|record| record.offset < to) {
                let offset = record.offset;
                bytes += record.value.len();
                let decoded = EnrichedRecord::from_versioned(record.version, record.value);
                let body =
                    decoded.map_err(|wrong| Error::Record { partition, offset, reason: wrong.to_string() })?.body;
                if let Some(Body::Watermark(watermark)) = body
                    && last.is_none_or(|(_, last_ms)| last_ms <= watermark.watermark_ms)
                {
                    last = Some((offset, watermark.watermark_ms));
                }
            }
            if chunk.next <= at {
                break;
            }
            at = chunk.next;
        }
        Ok((last, bytes))
    }
}
