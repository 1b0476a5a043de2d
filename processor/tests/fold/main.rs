//! The fold from outside: records in, outcomes out.
#![allow(clippy::unwrap_used, reason = "a test that meets one has failed")]

mod attribution;
mod log_time;
mod properties;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
