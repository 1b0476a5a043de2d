//! `kill -9` at random moments under load, also of a start: nothing acknowledged is lost, no row is twice, no key changes or goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use millrace_harness::Launch;
use millrace_harness::crash::kill_under_load;
use millrace_harness::wait::clock;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_load_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("MILLRACE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| clock().now_ms().unsigned_abs());
    println!("MILLRACE_SEED={seed}");
    let home = tempfile::tempdir().unwrap();

    kill_under_load(&Launch::new(BINARY, &home.path().join("data")).fast(), 10, seed).await;
}
