//! The names of ingest's metrics.

/// Events that are in the log, by `api` (`events`, `tracking`).
pub const ACCEPTED: &str = "millrace_ingest_accepted_total";
/// Rejects that are in the log, by `reason`.
pub const REJECTED: &str = "millrace_ingest_rejected_total";
/// Requests refused as a whole, by `status` and `reason`.
pub const REFUSED: &str = "millrace_ingest_refused_total";
/// Bytes of bodies, by `form`: `sent` and `expanded`.
pub const BODY_BYTES: &str = "millrace_ingest_body_bytes_total";
/// Bytes that requests hold while they are in flight.
pub const IN_FLIGHT_BYTES: &str = "millrace_ingest_in_flight_bytes";
/// Requests that wait for room.
pub const WAITING: &str = "millrace_ingest_waiting_requests";
/// How long the log took to take a request's records, in seconds, by `outcome`: `ok`, `refused`, `unknown`, `too_large`.
pub const APPEND_SECONDS: &str = "millrace_ingest_append_seconds";
