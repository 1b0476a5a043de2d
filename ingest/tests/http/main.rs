//! Ingest as its clients see it: requests in, answers and raw records out. The log is one in a folder, and fails on demand.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test that cannot go on panics; its files share what is pub")]

mod access;
mod event_api;
mod limits;
mod overload;
mod properties;
mod real_log;
mod sdks;
mod tracking;
mod world;
