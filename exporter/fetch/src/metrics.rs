//! Names of the metrics of this crate.

/// Counter: bytes of objects promised to clients.
pub const GATEWAY_BYTES: &str = "millrace_gateway_object_bytes_total";
/// Gauge: open connections of the gateway.
pub const GATEWAY_CONNECTIONS: &str = "millrace_gateway_connections";
/// Counter: answers cut in the middle because the store failed.
pub const GATEWAY_CUT: &str = "millrace_gateway_cut_answers_total";
/// Counter: requests for credentials, by `outcome` (`ok`, or the error's code).
pub const MINTS: &str = "millrace_export_credentials_total";
