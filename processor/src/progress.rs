//! How far each partition is, readable at any time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_eventlog::{Offset, Partition};
use serde::Serialize;

/// How far the partitions this process owns are.
#[derive(Debug, Default)]
pub struct Progress {
    partitions: Mutex<BTreeMap<Partition, PartitionProgress>>,
}

/// How far one partition is, as of its last committed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartitionProgress {
    /// Log time, ms since 1970; 0 before the first record.
    pub log_time_ms: i64,
    /// No row with an earlier `process_timestamp` follows.
    pub watermark_ms: i64,
    /// Raw position up to which records are in the state.
    pub folded: Offset,
    /// Raw position up to which every conversion has been emitted.
    pub released: Offset,
    /// How many conversions wait.
    pub held: usize,
    /// The version of the settings in force.
    pub settings_version: u64,
}

impl Progress {
    /// All partitions this process owns and has recovered.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<Partition, PartitionProgress> {
        self.lock().clone()
    }

    /// One of them.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> Option<PartitionProgress> {
        self.lock().get(&partition).copied()
    }

    pub(crate) fn set(&self, partition: Partition, progress: PartitionProgress) {
        self.lock().insert(partition, progress);
    }

    pub(crate) fn remove(&self, partition: Partition) {
        self.lock().remove(&partition);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, PartitionProgress>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
