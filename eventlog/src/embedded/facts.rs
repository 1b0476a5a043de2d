//! What the log can say about itself, for `millrace status` and metrics.

use super::head::Span;
use super::opening;
use super::{EmbeddedLog, Lost};
use crate::{Committed, Offset, Partition, Topic};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub partition: Partition,
    /// The first position that can be read.
    pub start: Offset,
    /// The position after everything acknowledged.
    pub end: Offset,
    /// Records ever appended, those trimmed since included.
    pub records: u64,
    /// The append time of the last record, ms.
    pub last_append_ms: Option<i64>,
    /// Bytes of its tables on disk; what is still in the journal is not counted.
    pub bytes: u64,
}

/// The whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    /// Every partition, in the order of the log's topics.
    pub partitions: Vec<PartitionFacts>,
    /// Commits made since the log was opened; each is one sync of the store's journal.
    pub commits: u64,
    /// Bytes of the journals on disk, preallocated space included.
    pub journal_bytes: u64,
    /// Bytes free for the log on its file system.
    pub free_bytes: u64,
    /// Why appends are refused at present, if they are.
    pub trouble: Option<String>,
}

impl EmbeddedLog {
    /// What the log holds. Costs no reading of records.
    #[must_use]
    pub fn facts(&self) -> LogFacts {
        let shared = &self.shared;
        let count = shared.topics.count();
        let on_disk = shared.with_store(|store| {
            let bytes = (0..count).map(|index| store.bytes(index)).collect();
            (bytes, store.journal_bytes())
        });
        let (bytes, journal_bytes): (Vec<u64>, u64) = on_disk.unwrap_or_else(|_| (vec![0; count], 0));
        let partitions = shared.topics.all().zip(shared.spans()).zip(bytes);
        LogFacts {
            partitions: partitions.map(|((place, span), bytes)| partition_facts(place, span, bytes)).collect(),
            commits: shared.commits(),
            journal_bytes,
            free_bytes: rustix::fs::statvfs(&shared.folder).map_or(0, |fs| fs.f_bavail * fs.f_frsize),
            trouble: self.trouble(),
        }
    }

    /// A group's committed position, if it has one.
    #[must_use]
    pub fn committed(&self, group: &str, topic: Topic, partition: Partition) -> Option<Committed> {
        let key = super::group::GroupKey { group: group.to_owned(), topic };
        self.shared.groups().position(&key, partition)
    }

    /// Reads every stored record back, newest first, and checks the offset chain. Blocks; reads the whole log.
    ///
    /// # Errors
    /// Every partition with a loss, its first lost offset going back from its end, and what is wrong.
    pub fn verify(&self) -> Result<(), Vec<(Lost, String)>> {
        let mut losses = Vec::new();
        for (index, (topic, partition)) in self.shared.topics.all().enumerate() {
            let span = self.shared.span(index);
            let walked = self.shared.with_store(|store| opening::walk_back(store, index, span, usize::MAX));
            let loss = match walked {
                Ok(Ok(())) => continue,
                Ok(Err(loss)) => loss,
                Err(unavailable) => (span.start, unavailable.to_string()),
            };
            losses.push((Lost { topic, partition, first: loss.0, end: span.end }, loss.1));
        }
        if losses.is_empty() { Ok(()) } else { Err(losses) }
    }
}

fn partition_facts((topic, partition): (Topic, Partition), span: Span, bytes: u64) -> PartitionFacts {
    let Span { start, end, records, last_time_ms, .. } = span;
    PartitionFacts { topic, partition, start, end, records, last_append_ms: last_time_ms, bytes }
}
