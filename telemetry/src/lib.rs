//! What every role shows of itself: request ids, one log line a request, and whether it is ready.

mod readiness;
mod request;

pub use readiness::Readiness;
pub use request::{RequestId, request_layer};
