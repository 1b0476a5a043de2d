//! The last watermark record of an enriched partition: the only witness of where the last committed transaction ended.

use millrace_eventlog::{Log, Offset, Partition, Topic};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Watermark, enriched_record};
use millrace_schemas::topics;

use super::RecoverError;
use crate::contradiction::{Contradiction, Witness};
use crate::limits::{WATERMARK_READ_BYTES, WATERMARK_READ_PAUSE, WATERMARK_READS_MAX, WATERMARK_SEARCH_STEP};

const ENRICHED: Topic = Topic(topics::ENRICHED);

/// The last watermark record, once it is not behind what `witness` remembers: where it is, a commit is still on its way into
/// the partition. With no `patience` it would have come by now.
pub(super) async fn settled_watermark(
    log: &dyn Log,
    partition: Partition,
    witness: Option<(Witness, Offset)>,
    patience: bool,
) -> Result<Option<Watermark>, RecoverError> {
    let remembered = witness.as_ref().map_or(0, |(_, folded)| *folded);
    let (mut searched, mut last) = (None, None);
    for _ in 0..WATERMARK_READS_MAX {
        let end = log.extent(ENRICHED, partition).await?.end;
        if searched != Some(end) {
            last = last_watermark(log, partition).await?;
            searched = Some(end);
        }
        if last.as_ref().map_or(0, |watermark| watermark.folded) >= remembered {
            return Ok(last);
        }
        if !patience {
            break;
        }
        log.grown(ENRICHED, partition, end, WATERMARK_READ_PAUSE).await;
    }
    let (witness, folded) = witness.unwrap_or((Witness::Group, 0));
    let (log_id, watermark) = (log.id().to_owned(), last.map(|watermark| watermark.folded));
    Err(RecoverError::Stop(Contradiction::Unrecorded { witness, log_id, partition, folded, watermark }))
}

/// How far a partition is, told by the log alone, whoever owns it: its last watermark record.
///
/// # Errors
/// The partition cannot be read, or a record of it; as a text for people.
pub async fn last_committed(log: &dyn Log, partition: Partition) -> Result<Option<Watermark>, String> {
    last_watermark(log, partition).await.map_err(|error| error.to_string())
}

/// The last watermark record of a partition, sought from the end in steps that double. Every transaction ends with one, so it
/// is nearly always among the last few records: one small read.
pub(crate) async fn last_watermark(log: &dyn Log, partition: Partition) -> Result<Option<Watermark>, RecoverError> {
    let extent = log.extent(ENRICHED, partition).await?;
    let (mut to, mut step) = (extent.end, WATERMARK_SEARCH_STEP);
    while to > extent.start {
        let from = to.saturating_sub(step).max(extent.start);
        if let Some(found) = last_watermark_within(log, partition, from, to).await? {
            return Ok(Some(found));
        }
        (to, step) = (from, step.saturating_mul(2));
    }
    Ok(None)
}

async fn last_watermark_within(
    log: &dyn Log,
    partition: Partition,
    mut from: Offset,
    to: Offset,
) -> Result<Option<Watermark>, RecoverError> {
    let mut last = None;
    while from < to {
        let chunk = log.read(ENRICHED, partition, from, WATERMARK_READ_BYTES).await?;
        for record in chunk.records.iter().filter(|record| record.offset < to) {
            let read = EnrichedRecord::from_versioned(record.version, record.value.clone());
            match read.map(|read| read.body) {
                Ok(Some(enriched_record::Body::Watermark(watermark))) => last = Some(watermark),
                Ok(_) => {}
                Err(wrong) => {
                    let (log_id, offset) = (log.id().to_owned(), record.offset);
                    let unreadable = Contradiction::Unreadable { log_id, partition, offset, reason: wrong.to_string() };
                    return Err(RecoverError::Stop(unreadable));
                }
            }
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(last)
}
