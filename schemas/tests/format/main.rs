//! The formats that must not change: bytes of records, partitions, folders, columns.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test that cannot go on panics; its files share what is pub")]

mod columns;
mod documents;
mod golden;
mod layout;
mod partition;
mod samples;
