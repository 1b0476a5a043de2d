//! Exactly once on three brokers, two of each role, while a seed decides what breaks and when.
//!
//! `tests/faults --seeds 20` is the long run; `MILLRACE_SEEDS` and `MILLRACE_FIRST_SEED` are what it sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use millrace_harness::deployment::{Deployment, Size};
use millrace_harness::faults::Trial;

#[path = "support/ledger.rs"]
mod ledger;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const SIZE: Size = Size { brokers: 3, partitions: 6, of_each: 2 };
/// Events a second; the brokers share two cores with everything else.
const RATE: u64 = 200;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_every_acknowledged_event_is_visible_once() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let first = from_environment("MILLRACE_FIRST_SEED", 1);
    for seed in first..first + from_environment("MILLRACE_SEEDS", 2) {
        println!("seed {seed}");
        let home = tempfile::tempdir().unwrap();
        let Some(mut deployment) = Deployment::start(BINARY, &tests, home.path(), SIZE).await else { return };
        let mut trial = Trial::start(&mut deployment, seed, RATE);
        trial.every_fault().await;
        trial.finish().await;
        ledger::assert_adds_up(&deployment.brokers.bootstrap()).await;
    }
}
