//! Follows the segments of all partitions, whoever sealed them. A segment's key is the end of the one before, so following
//! needs no listing; only the start lists.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt, stream};
use millrace_eventlog::{Offset, Partition};
use millrace_schemas::export::Reached;
use millrace_schemas::{layout, topics};

use crate::bucket::Bucket;
use crate::error::Error;
use crate::seal::read_footer;
use crate::segment::Footer;
use crate::{limits, metrics};

pub(crate) struct Follower {
    bucket: Bucket,
    log_id: String,
    partitions: Vec<Followed>,
}

/// What is known of one partition's segments.
#[derive(Default)]
struct Followed {
    /// The start of the next segment.
    next: Offset,
    watermark_ms: i64,
    /// Start and [`Footer::latest_ms`] of the segments that may matter to someone who begins again.
    recent: VecDeque<(Offset, i64)>,
}

impl Follower {
    /// Begins at these starts of segments, one for each partition.
    pub(crate) fn new(bucket: Bucket, log_id: &str, from: &[Offset]) -> Self {
        let followed = |next: &Offset| Followed { next: *next, ..Followed::default() };
        Self { bucket, log_id: log_id.to_owned(), partitions: from.iter().map(followed).collect() }
    }

    /// Reads all segments that are there, many at once; for the start. Each is handed to `see` in the order of its partition.
    /// False: retention took one away before it was read; look again where to begin.
    pub(crate) async fn catch_up(&mut self, mut see: impl FnMut(&Footer)) -> Result<bool, Error> {
        let (bucket, log_id) = (&self.bucket.clone(), &self.log_id.clone());
        let from: Vec<Offset> = self.partitions.iter().map(|one| one.next).collect();
        let list = |(partition, from): (usize, Offset)| async move {
            let prefix = layout::segments_prefix(log_id, topics::ENRICHED, partition as Partition);
            let before = from.checked_sub(1).map(|before| key(log_id, partition, before));
            let keys = bucket.list(&prefix, before.as_deref()).await?;
            Ok::<_, Error>(stream::iter(keys.into_iter().map(move |key| Ok::<_, Error>((partition, key)))))
        };
        let read = |(partition, key): (usize, String)| async move { Ok((partition, read_footer(bucket, &key).await?)) };
        let keys = stream::iter(from.into_iter().enumerate()).map(list).buffered(limits::LISTS_AT_ONCE).try_flatten();
        let mut footers = keys.map_ok(read).try_buffered(limits::READS_AT_ONCE);
        while let Some((partition, footer)) = footers.try_next().await? {
            let Some(footer) = footer else { return Ok(false) };
            self.partitions[partition].add(&footer)?;
            see(&footer);
        }
        Ok(true)
    }

    /// Reads the segments that came since, of many partitions at once: what one look costs is paid once, not by partition.
    pub(crate) async fn poll(&mut self, mut see: impl FnMut(&Footer)) -> Result<(), Error> {
        let (bucket, log_id) = (&self.bucket.clone(), &self.log_id.clone());
        loop {
            let next: Vec<Offset> = self.partitions.iter().map(|one| one.next).collect();
            let look = |(partition, from): (usize, Offset)| async move {
                Ok::<_, Error>((partition, some_from(bucket, log_id, partition, from).await?))
            };
            let mut found =
                stream::iter(next.into_iter().enumerate()).map(look).buffer_unordered(limits::READS_AT_ONCE);
            let mut more = false;
            while let Some((partition, footers)) = found.try_next().await? {
                more |= footers.len() == limits::FOOTERS_AT_ONCE;
                for footer in &footers {
                    self.partitions[partition].add(footer)?;
                    see(footer);
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Every row with an earlier process timestamp is in a segment; 0 while a partition has promised nothing.
    pub(crate) fn watermark_ms(&self) -> i64 {
        self.partitions.iter().map(|one| one.watermark_ms).min().unwrap_or_default()
    }

    /// From where to read for all that belongs to `from_ms` or later.
    pub(crate) fn reached(&self, from_ms: i64) -> Vec<Reached> {
        let reached = |(partition, one): (usize, &Followed)| {
            let newest = one.recent.back().map_or(one.next, |(start, _)| *start);
            let from =
                one.recent.iter().find(|(_, latest_ms)| *latest_ms >= from_ms).map_or(newest, |(start, _)| *start);
            Reached { partition: partition as Partition, from, end: one.next, watermark_ms: one.watermark_ms }
        };
        self.partitions.iter().enumerate().map(reached).collect()
    }

    /// Forgets segments that hold nothing of `from_ms` or later.
    pub(crate) fn forget_before(&mut self, from_ms: i64) {
        for one in &mut self.partitions {
            while one.recent.len() > 1 && one.recent.front().is_some_and(|(_, latest_ms)| *latest_ms < from_ms) {
                one.recent.pop_front();
            }
        }
    }

    /// Says how far each partition's watermark is behind the clock: of every partition, since any that stalls holds all back.
    pub(crate) fn tell_lag(&self, now_ms: i64) {
        for (partition, one) in self.partitions.iter().enumerate().filter(|(_, one)| one.watermark_ms > 0) {
            let lag_ms = now_ms.saturating_sub(one.watermark_ms);
            ::metrics::gauge!(metrics::WATERMARK_LAG, "partition" => partition.to_string()).set(lag_ms as f64);
        }
    }
}

impl Drop for Follower {
    /// Whoever follows no more has nothing to say: a figure that stands still would be believed.
    fn drop(&mut self) {
        for partition in 0..self.partitions.len() {
            ::metrics::gauge!(metrics::WATERMARK_LAG, "partition" => partition.to_string()).set(0.0);
        }
    }
}

fn key(log_id: &str, partition: usize, start: Offset) -> String {
    layout::segment_key(log_id, topics::ENRICHED, partition as Partition, start)
}

/// The next segments of a partition, up to a bound.
async fn some_from(bucket: &Bucket, log_id: &str, partition: usize, from: Offset) -> Result<Vec<Footer>, Error> {
    let (mut footers, mut next) = (Vec::new(), from);
    while footers.len() < limits::FOOTERS_AT_ONCE {
        let Some(footer) = read_footer(bucket, &key(log_id, partition, next)).await? else { break };
        next = footer.end;
        footers.push(footer);
    }
    Ok(footers)
}

impl Followed {
    fn add(&mut self, footer: &Footer) -> Result<(), Error> {
        if footer.start != self.next {
            return Err(Error::Hole { partition: footer.partition, start: footer.start, end: self.next });
        }
        if footer.earliest_row_ms().is_some_and(|earliest_ms| earliest_ms < self.watermark_ms) {
            return Err(Error::Late {
                partition: footer.partition,
                start: footer.start,
                watermark_ms: self.watermark_ms,
            });
        }
        self.next = footer.end;
        self.watermark_ms = self.watermark_ms.max(footer.watermark_ms);
        self.recent.push_back((footer.start, footer.latest_ms()));
        Ok(())
    }
}
