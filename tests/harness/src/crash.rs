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

/// Kills the server `kills` times under load, takes a listing before each kill, and compares at the end.
///
/// Requests are small and many, so that some are on their way at every kill.
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
        server = launch.start().await;
    }
    let sent = load.stop().await;
    println!("{kills} kills, {} events acknowledged, {} requests sent again", sent.events().count(), sent.resent);
    assert!(sent.resent > 0, "no request was cut by a kill: nothing is shown");

    let export = Export::open(server.demo()).await.expect("credentials");
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(40)).await;
    sent.assert_attributed(&follower);
    follower.take_all_again(&export).await.expect("the gateway answers");
}
