//! Why the exporter ends.

use millrace_eventlog::{Offset, Partition, ReadError};
use millrace_schemas::topics::ENRICHED;

/// Why the exporter ended. The store's failures are not among them: those are tried again until it is stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was asked to stop; [`crate::run`] does not answer so.
    #[error("stopped")]
    Stopped,
    /// The configuration cannot be used.
    #[error("the exporter's configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The log cannot be read, or is not the log its segments were made from.
    #[error("the enriched topic cannot be exported: {0}")]
    Log(#[source] ReadError),
    /// The access topic cannot be folded to its end.
    #[error("the accounts are not known: {0}")]
    Accounts(#[source] ReadError),
    /// There is no segment of ours, and the topic no longer begins at 0: rows would be missing.
    #[error("partition {partition}: no segment in the store, and the enriched topic begins at {start}, not 0")]
    Beginning {
        /// The partition of the enriched topic.
        partition: Partition,
        /// The first offset that can be read.
        start: Offset,
    },
    /// The enriched partition does not hold what its newest segment was made from: outcomes would be in no segment.
    #[error(
        "{ENRICHED}/{partition} of log {log_id}: the newest segment ends at offset {end} with the watermark {watermark_ms}, but \
         in the topic {}. It was made anew or is another log's, and what it holds before offset {end} is in no segment; nothing \
         was sealed. Restore the topic; or begin a new log and let it take over this store: export.succeeds = \"{log_id}\"",
        told(*found)
    )]
    OtherRecords {
        /// Our log.
        log_id: String,
        /// The partition of the enriched topic.
        partition: Partition,
        /// Where its newest segment ends.
        end: Offset,
        /// That segment's watermark, ms.
        watermark_ms: i64,
        /// The last watermark record before `end`, if there is one: its offset and watermark, ms.
        found: Option<(Offset, i64)>,
    },
    /// The store holds the export of another log, and nobody said that ours takes over.
    #[error(
        "the store holds the export of log {found}, but this is log {log_id}: its rows would mix with the other's. Either give \
         this log a bucket of its own; or, if log {found} has ended for good and its exporters are stopped, let this one take \
         over from the next UTC midnight on: export.succeeds = \"{found}\""
    )]
    OtherLog {
        /// Our log.
        log_id: String,
        /// The logs found.
        found: String,
    },
    /// `export.succeeds` does not name the log whose export is there.
    #[error("export.succeeds = \"{old}\" cannot be followed for log {log_id}: {reason}")]
    Succeeds {
        /// Our log.
        log_id: String,
        /// What was said.
        old: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another log exports into this store now.
    #[error("log {by} has taken over this store from log {log_id}: stop the exporters of log {log_id}")]
    TakenOver {
        /// Our log.
        log_id: String,
        /// The one that exports now.
        by: String,
    },
    /// The store cannot be the fence that it has to be.
    #[error("the object store let {won} of several creates of one key win: it cannot keep two exporters apart")]
    InexactStore {
        /// How many creates of one key it took.
        won: usize,
    },
    /// A record of the enriched topic cannot be exported. A newer version: upgrade this process.
    #[error("partition {partition}, offset {offset}: {reason}")]
    Record {
        /// The partition of the enriched topic.
        partition: Partition,
        /// The record's offset.
        offset: Offset,
        /// What is wrong with it.
        reason: String,
    },
    /// An object of ours is not what it must be.
    #[error("{key}: {reason}")]
    Object {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Segments of a partition do not follow each other.
    #[error("partition {partition}: a segment starts at {start}, but the one before ends at {end}")]
    Hole {
        /// The partition of the enriched topic.
        partition: Partition,
        /// Where the later one starts.
        start: Offset,
        /// Where the earlier one ends.
        end: Offset,
    },
    /// A segment holds rows that an earlier watermark of the partition had promised not to come.
    #[error(
        "partition {partition}: the segment that starts at {start} holds rows of before the watermark {watermark_ms}"
    )]
    Late {
        /// The partition of the enriched topic.
        partition: Partition,
        /// Where the segment starts.
        start: Offset,
        /// The watermark of the segments before it, ms.
        watermark_ms: i64,
    },
    /// A day's files do not hold the rows its segments counted; the day is left open.
    #[error("account {account}, {of_type}, {date}: the files hold {files} rows, the segments {segments}")]
    Miscounted {
        /// The account.
        account: String,
        /// The type's name.
        of_type: &'static str,
        /// The day.
        date: chrono::NaiveDate,
        /// Rows in the files.
        files: u64,
        /// Rows in the segments.
        segments: u64,
    },
    /// Rows cannot be made into a file.
    #[error("rows cannot be encoded: {0}")]
    Encode(String),
}

fn told(found: Option<(Offset, i64)>) -> String {
    match found {
        Some((offset, watermark_ms)) => format!("the last watermark before it, at offset {offset}, is {watermark_ms}"),
        None => "no watermark comes before it".to_owned(),
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Encode(error.to_string())
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Encode(error.to_string())
    }
}
