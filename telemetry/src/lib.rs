//! What every role shows of itself: request ids, one log line a request, readiness, metrics.
//!
//! | file | does |
//! |---|---|
//! | `request_id` | the id a request is known by, echoed or made |
//! | `requests` | the axum layer: id, log line, metrics |
//! | `readiness` | which parts work, and what is wrong with those that do not |
//! | `ops` | `/livez`, `/readyz`, `/metrics` |
//! | `recorder` | the Prometheus recorder behind `/metrics` |
//! | `logs` | where log lines go and in which form |

pub mod limits;
mod logs;
pub mod metrics;
mod ops;
mod readiness;
mod recorder;
mod request_id;
mod requests;

pub use logs::{LogError, LogFormat, check_filter, start_logs};
pub use ops::ops_router;
pub use readiness::Readiness;
pub use recorder::{Recorder, RecorderError};
pub use request_id::{REQUEST_ID, RequestId};
pub use requests::{Observed, Requests, request_layer};
