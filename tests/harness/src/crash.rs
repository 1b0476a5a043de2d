//! `kill -9` at random moments under load.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::export::Export;
use crate::follow::Follower;
use crate::load::{Load, Plan};
use crate::process::Launch;
use crate::wait::{pause, until};

/// How long the process lives between two kills.
const LIFE: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_secs(3);

/// How long after its spawn a start is killed: before it has opened anything, while it recovers, or just when it is ready.
const START: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(900);

/// Kills the server `kills` times under load, takes a listing before each kill, and compares at the end.
///
/// Requests are small and many, so that some are on their way at every kill. After about every other kill the next
/// start is killed too.
///
/// # Panics
/// An acknowledged event has no row, a row is twice in any listing taken on the way, a key has changed or is gone, or a
/// conversion does not carry its visitor's experiment.
pub async fn kill_under_load(launch: &Launch, kills: u32, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = launch.start().await;
    let account = server.demo().account().to_owned();
    let plan = Plan { account, name: "crash".into(), rate: 2_000, per_request: 4, senders: 16, visitors: 500 };
    let load = Load::start(plan, &server.api());
    let mut follower = Follower::default();
    let mut starts_killed = 0;

    for kill in 1..=kills {
        let before = load.acknowledged();
        pause(random.random_range(LIFE)).await;
        // A listing on the way; the moment of the kill does not wait for it to be complete.
        let export = Export::open(server.demo()).await.expect("credentials");
        follower.take(&export).await.expect("a listing while the server runs");
        until("events to be taken after the last kill", Duration::from_secs(20), async || {
            let now = load.acknowledged();
            if now > before { Ok(()) } else { Err(format!("{now} acknowledged, kill {kill}")) }
        })
        .await;
        server.kill_9();
        // Whoever is to recover may be killed as well: a recovery that was cut is recovered from like any other end.
        if random.random_bool(0.5) {
            launch.start_and_kill(random.random_range(START)).await;
            starts_killed += 1;
        }
        server = launch.start().await;
    }
    let sent = load.stop().await;
    let (acknowledged, resent) = (sent.events().count(), sent.resent);
    println!(
        "{kills} kills and {starts_killed} of a start, {acknowledged} events acknowledged, {resent} requests resent"
    );
    assert!(resent > 0, "no request was cut by a kill: nothing is shown");

    let export = Export::open(server.demo()).await.expect("credentials");
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(40)).await;
    sent.assert_attributed(&follower);
    follower.take_all_again(&export).await.expect("the gateway answers");
}
