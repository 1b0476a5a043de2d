//! The bounds of this crate, on one page.

use std::time::Duration;

/// The longest `X-Request-ID` of a client that is echoed, in bytes; a longer one is replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// How often gathered histogram samples are folded into buckets, so that they take no memory when nobody scrapes.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);
