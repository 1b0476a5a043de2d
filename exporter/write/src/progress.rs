//! How far sealing and publishing are, readable at any time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDate;
use millrace_eventlog::{Offset, Partition};
use serde::Serialize;

/// How far this process is.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Snapshot>);

/// [`Progress`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// By partition of the enriched topic.
    pub partitions: BTreeMap<Partition, SealedThrough>,
    /// By shard: log time, ms, up to which every slot is out. A shard that never had an account is not among them.
    pub published_through_ms: BTreeMap<u32, i64>,
    /// By shard: what became of the events of the day at hand, as far as it is sealed.
    pub counted: BTreeMap<u32, Counted>,
}

/// Events (not rows) of one day of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The day.
    pub date: NaiveDate,
    /// They make rows.
    pub accepted: u64,
    /// Sent again within the window, and dropped.
    pub duplicate: u64,
    /// Kept with a reason; what did not decode included.
    pub rejected: u64,
}

/// How far a partition is sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SealedThrough {
    /// The start of the next segment.
    pub position: Offset,
    /// The newest segment's watermark, ms; 0 if there is none.
    pub watermark_ms: i64,
}

impl Progress {
    /// How far it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn sealed(&self, partition: Partition, position: Offset, watermark_ms: i64) {
        self.change(|now| now.partitions.insert(partition, SealedThrough { position, watermark_ms }));
    }

    /// The partition, and the shard of its number, are not ours any more.
    pub(crate) fn gone(&self, partition: Partition) {
        self.change(|now| {
            now.partitions.remove(&partition);
            now.published_through_ms.remove(&partition);
        });
    }

    pub(crate) fn published(&self, shard: u32, through_ms: i64) {
        self.change(|now| now.published_through_ms.insert(shard, through_ms));
    }

    pub(crate) fn counted(&self, shard: u32, counted: Counted) {
        self.change(|now| now.counted.insert(shard, counted));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
