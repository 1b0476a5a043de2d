//! The processor at work on a real log: crashes, zombies, recovery, ticks.
#![allow(clippy::unwrap_used, reason = "a test that meets one has failed")]

mod exactly_once;
mod recovery;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod ticks;
