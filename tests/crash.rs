//! `kill -9` at random moments under load: nothing acknowledged is lost, no row is twice, no key changes or goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use millrace_harness::load::{Load, Plan};
use millrace_harness::wait::{clock, pause};
use millrace_harness::{Export, Follower, Launch, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const KILLS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_load_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("MILLRACE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| clock().now_ms().unsigned_abs());
    eprintln!("MILLRACE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let launch = Launch::new(BINARY, &home.path().join("data")).fast();
    let mut server = launch.start().await;
    let plan = Plan {
        account: server.demo().account().to_owned(),
        name: "crash".into(),
        rate: 400,
        per_request: 10,
        senders: 4,
        visitors: 500,
    };
    let load = Load::start(plan, &server.api());
    let mut follower = Follower::default();

    for kill in 1..=KILLS {
        let before = load.acknowledged();
        pause(Duration::from_millis(random.random_range(200..3_000))).await;
        // A listing on the way; the moment of the kill does not wait for it to be complete.
        let export = Export::open(server.demo()).await.expect("credentials");
        follower.take(&export).await.expect("a listing while the server runs");
        until("events to be taken after the last kill", Duration::from_secs(20), async || {
            let now = load.acknowledged();
            if now > before { Ok(()) } else { Err(format!("{now} acknowledged, kill {kill}")) }
        })
        .await;
        server.kill_9();
        server = launch.start().await;
    }
    let sent = load.stop().await;
    eprintln!("{} events acknowledged, {} requests sent again", sent.events().count(), sent.resent);
    assert!(sent.resent > 0, "no request was cut by a kill: the load was too small to show anything");

    let export = Export::open(server.demo()).await.expect("credentials");
    until("every acknowledged event to be visible", Duration::from_secs(40), async || {
        follower.take(&export).await.map_err(|error| error.to_string())?;
        sent.missing(&follower).map_or(Ok(()), |(first, count)| Err(format!("{count} missing, the first is {first}")))
    })
    .await;
    sent.assert_attributed(&follower);
    follower.take_all_again(&export).await.expect("the gateway answers");
}
