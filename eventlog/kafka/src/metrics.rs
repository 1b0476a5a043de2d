//! The names of this crate's metrics.

/// Counter `{topic}`: records acknowledged by every in-sync replica.
pub const RECORDS: &str = "millrace_log_records_total";
/// Counter `{topic}`: bytes of those records, before compression.
pub const BYTES: &str = "millrace_log_bytes_total";
/// Counter `{reason}`: appends refused (`kafka`, `closed`).
pub const REFUSED: &str = "millrace_log_refused_total";
/// Counter: appends of which it is unknown whether the log took them.
pub const UNKNOWN: &str = "millrace_log_unknown_total";
/// Gauge: bytes of appends taken and not yet answered.
pub const IN_FLIGHT: &str = "millrace_log_in_flight_bytes";
/// Counter `{producer}`: producers made anew after a fatal error (`append`, `transaction`).
pub const PRODUCERS_REBUILT: &str = "millrace_log_producers_rebuilt_total";
/// Counter `{outcome}`: transactions (`committed`, `aborted`, `fenced`).
pub const TRANSACTIONS: &str = "millrace_log_transactions_total";
/// Histogram: seconds from a transaction's first record until its outputs can be read.
pub const TRANSACTION_SECONDS: &str = "millrace_log_transaction_seconds";
/// Counter `{reason}`: consumers made anew (`fenced`, `stalled`, `failed`, `requested`).
pub const CONSUMERS_RESTARTED: &str = "millrace_log_consumers_restarted_total";
/// Gauge: readers with a client of their own.
pub const READERS: &str = "millrace_log_readers";
