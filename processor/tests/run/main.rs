//! The processor at work on a real log: crashes, zombies, recovery, ticks.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that meets one has failed; modules of one program share helpers"
)]

mod exactly_once;
mod recovery;
mod rig;
mod snapshots;
mod stops;
#[path = "../support/mod.rs"]
mod support;
mod ticks;
mod weather;
