//! The names of this crate's metrics.

/// Counter `{topic}`: records in the store, synced.
pub const RECORDS: &str = "millrace_log_records_total";
/// Counter `{topic}`: bytes of records in the store, synced, before compression.
pub const BYTES: &str = "millrace_log_bytes_total";
/// Counter: commits, each one fsync of the store's journal.
pub const COMMITS: &str = "millrace_log_commits_total";
/// Histogram: requests that shared one commit.
pub const COMMIT_REQUESTS: &str = "millrace_log_commit_requests";
/// Histogram: seconds from a commit's first byte to its fsync.
pub const COMMIT_SECONDS: &str = "millrace_log_commit_seconds";
/// Counter `{reason}`: appends refused (`clock`, `space`, `store`, `closed`).
pub const REFUSED: &str = "millrace_log_refused_total";
/// Counter: times the store was opened again after a failure.
pub const REOPENED: &str = "millrace_log_store_reopened_total";
/// Counter `{from}`: reads served from `memory` or `disk`.
pub const READS: &str = "millrace_log_reads_total";
