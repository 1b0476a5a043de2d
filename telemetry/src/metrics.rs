//! The names of this crate's metrics.

/// Requests answered, by `route` and `status`.
pub const REQUESTS: &str = "millrace_http_requests_total";
/// Time from the request's head to the answer's head, in seconds, by `route`.
pub const REQUEST_SECONDS: &str = "millrace_http_request_seconds";
/// 1 where a `part` is ready, else 0.
pub const READY: &str = "millrace_ready";
