//! Why the processor must not go on: what is there contradicts itself, and a person has to look.

use std::fmt;

use millrace_eventlog::{Offset, Partition};
use millrace_schemas::topics::{ENRICHED, RAW};

/// What contradicts what. Every message names the log, the partition and the positions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Two logs' folders were mixed up.
    #[error(
        "the local state belongs to log {stored}, but the log here is {here}; give each log a state folder of its own"
    )]
    StateOfOtherLog {
        /// The log the state was made from.
        stored: String,
        /// The log that is connected.
        here: String,
    },
    /// Two logs' buckets were mixed up.
    #[error("snapshot {key} belongs to log {stored}, but the log here is {here}")]
    SnapshotOfOtherLog {
        /// The snapshot.
        key: String,
        /// The log it was made from.
        stored: String,
        /// The log that is connected.
        here: String,
    },
    /// Something was folded once that the enriched topic does not know: it lost records, was made anew, or is another log's.
    #[error(
        "{witness} {RAW}/{partition} to offset {folded}, but {}: log {log_id} lost records, was made anew or is \
         another log", recorded(*partition, *watermark)
    )]
    Unrecorded {
        /// Who remembers.
        witness: Witness,
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// The raw position that is remembered.
        folded: Offset,
        /// The raw position of the last watermark record, if there is one.
        watermark: Option<Offset>,
    },
    /// The enriched partition was written by something else.
    #[error(
        "{ENRICHED}/{partition} of log {log_id} holds records but no watermark record: they are not this processor's"
    )]
    ForeignOutcomes {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
    },
    /// Nothing says how far the partition was folded, and what could say so is gone.
    #[error(
        "{ENRICHED}/{partition} of log {log_id} begins at offset {start} and holds no watermark record: how far \
         {RAW}/{partition} was folded cannot be known"
    )]
    OutcomesGone {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// Where it begins.
        start: Offset,
    },
    /// Raw records are gone that were never folded, or whose state is lost.
    #[error(
        "{RAW}/{partition} of log {log_id} begins at offset {start}: the records from {needed} on are gone, and neither a \
         local state nor a snapshot has them folded"
    )]
    RawGone {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// Where it begins.
        start: Offset,
        /// The first offset that is needed.
        needed: Offset,
    },
    /// What was committed was put before what had been committed earlier.
    #[error(
        "{ENRICHED}/{partition} of log {log_id} put a record at offset {offset}, but has put one at {before} already: it was made anew"
    )]
    OutcomesAnew {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// Where the record was put.
        offset: Offset,
        /// The latest offset before.
        before: Offset,
    },
    /// The raw partition is shorter than it was.
    #[error(
        "{RAW}/{partition} of log {log_id} ends at offset {end}, but was folded to {folded} once: the log lost records or \
         was made anew"
    )]
    RawEnds {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// Where it ends.
        end: Offset,
        /// How far it was folded.
        folded: Offset,
    },
    /// The raw partition holds other records than it did.
    #[error(
        "{RAW}/{partition} of log {log_id} folded to offset {folded} gives log time {here_ms}, but it was {recorded_ms} once: \
         it was made anew or is another log"
    )]
    OtherRecords {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// The position.
        folded: Offset,
        /// Log time as the records give it, ms.
        here_ms: i64,
        /// Log time as the watermark record has it, ms.
        recorded_ms: i64,
    },
    /// The raw partition does not begin as Millrace makes it begin.
    #[error(
        "{RAW}/{partition} of log {log_id} holds no settings record before offset {offset}: something else made it, or made it \
         anew"
    )]
    NoSettings {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// The first record that should have come after them.
        offset: Offset,
    },
    /// A record of ours cannot be read.
    #[error("{ENRICHED}/{partition} of log {log_id}, offset {offset}: {reason}")]
    Unreadable {
        /// The log.
        log_id: String,
        /// The partition.
        partition: Partition,
        /// The record.
        offset: Offset,
        /// What is wrong with it: a later release's version, mostly.
        reason: String,
    },
}

/// Who remembers that something was folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// The group's committed position.
    Group,
    /// The local store.
    LocalState,
    /// The snapshot of this key.
    Snapshot(String),
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("the group has committed"),
            Self::LocalState => f.write_str("the local state has folded"),
            Self::Snapshot(key) => write!(f, "snapshot {key} has folded"),
        }
    }
}

fn recorded(partition: Partition, watermark: Option<Offset>) -> String {
    match watermark {
        Some(folded) => format!("the last watermark record in {ENRICHED}/{partition} says {folded}"),
        None => format!("{ENRICHED}/{partition} holds no watermark record"),
    }
}
