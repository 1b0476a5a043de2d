//! What every role shows of itself: request ids, request logs, readiness.
