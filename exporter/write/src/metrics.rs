//! The names of what the exporter measures.

/// Gauge, by `partition`: ms by which the sealed watermark is behind the exporter's clock. The alarm. Below zero where log time is ahead of it.
pub const WATERMARK_LAG: &str = "millrace_exporter_watermark_lag_ms";
/// Counter: segments sealed by this process.
pub const SEGMENTS: &str = "millrace_exporter_segments_total";
/// Counter: seals that another owner had won.
pub const SEGMENTS_REFUSED: &str = "millrace_exporter_segments_refused_total";
/// Counter: bytes of segments sealed by this process.
pub const SEALED_BYTES: &str = "millrace_exporter_sealed_bytes_total";
/// Counter: rows sealed by this process.
pub const SEALED_ROWS: &str = "millrace_exporter_sealed_rows_total";
/// Gauge: bytes of rows gathered and not sealed yet.
pub const GATHERED_BYTES: &str = "millrace_exporter_gathered_bytes";
/// Counter, by `type`: rows published by this process.
pub const PUBLISHED_ROWS: &str = "millrace_exporter_published_rows_total";
/// Counter, by `type`: files published by this process.
pub const PUBLISHED_FILES: &str = "millrace_exporter_published_files_total";
/// Counter, by `type`: bytes of files published by this process.
pub const PUBLISHED_BYTES: &str = "millrace_exporter_published_bytes_total";
/// Counter: days of an account and type closed by this process.
pub const CLOSED_DAYS: &str = "millrace_exporter_closed_days_total";
/// Counter, by `operation`: errors of the object store, each followed by another try.
pub const STORE_ERRORS: &str = "millrace_exporter_store_errors_total";
/// Counter: rows of before the first day of a log that took over a bucket: sealed, and not published.
pub const ROWS_TOO_EARLY: &str = "millrace_exporter_rows_too_early_total";
/// Counter: outcomes whose account id is none, so that they have no place to be published at.
pub const UNADDRESSED: &str = "millrace_exporter_unaddressed_total";
/// Counter, by `what`: objects that were old enough and are removed.
pub const RETIRED: &str = "millrace_exporter_retired_total";
