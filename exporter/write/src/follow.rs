//! Follows the segments of all partitions, whoever sealed them. A segment's key is the end of the one before, so following
//! needs no listing; only the start lists.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt, stream};
use millrace_eventlog::{Offset, Partition};
use millrace_schemas::export::Reached;
use millrace_schemas::{layout, topics};

use crate::bucket::{Bucket, gone};
use crate::error::Error;
use crate::limits;
use crate::seal::read_footer;
use crate::segment::Footer;

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
    pub(crate) async fn catch_up(&mut self, mut see: impl FnMut(&Footer)) -> Result<(), Error> {
        for partition in 0..self.partitions.len() {
            let number = partition as Partition;
            let prefix = layout::segments_prefix(&self.log_id, topics::ENRICHED, number);
            let from = self.partitions[partition].next;
            let before = from.checked_sub(1).map(|before| self.key(number, before));
            let keys = self.bucket.list(&prefix, before.as_deref()).await?;
            let bucket = &self.bucket;
            let read = |key: String| async move { read_footer(bucket, &key).await?.ok_or_else(|| gone(&key)) };
            let mut footers = stream::iter(keys).map(read).buffered(limits::READS_AT_ONCE);
            while let Some(footer) = footers.try_next().await? {
                self.partitions[partition].add(&footer)?;
                see(&footer);
            }
        }
        Ok(())
    }

    /// Reads the segments that came since.
    pub(crate) async fn poll(&mut self, mut see: impl FnMut(&Footer)) -> Result<(), Error> {
        for partition in 0..self.partitions.len() {
            loop {
                let key = self.key(partition as Partition, self.partitions[partition].next);
                let Some(footer) = read_footer(&self.bucket, &key).await? else { break };
                self.partitions[partition].add(&footer)?;
                see(&footer);
            }
        }
        Ok(())
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

    fn key(&self, partition: Partition, start: Offset) -> String {
        layout::segment_key(&self.log_id, topics::ENRICHED, partition, start)
    }
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
