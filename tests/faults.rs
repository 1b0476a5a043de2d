//! Exactly once on three brokers, two of each role, while a seed decides what breaks and when.
//!
//! `tests/faults --seeds 20` is the long run; `MILLRACE_SEEDS`, `MILLRACE_FIRST_SEED` and `MILLRACE_AWAY_SECONDS` are what it sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use millrace_harness::Export;
use millrace_harness::Follower;
use millrace_harness::deployment::{Deployment, Size};
use millrace_harness::events::{batch, decision};
use millrace_harness::faults::Trial;
use millrace_harness::load::{Load, Plan};
use millrace_harness::role::Kind;
use millrace_harness::wait::{clock, pause};
use tokio::sync::Mutex;

#[path = "support/ledger.rs"]
mod ledger;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const SIZE: Size = Size { brokers: 3, partitions: 6, of_each: 2 };
/// Events a second; the brokers share two cores with everything else.
const RATE: u64 = 200;

/// Two clusters at once are too much for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_every_acknowledged_event_is_visible_once() {
    let _turn = ONE_AT_A_TIME.lock().await;
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

/// What a role may grow by while no broker is there, however long that is: buffers that fill once.
const GROWTH_BYTES: u64 = 160 << 20;
/// After a minute without a broker, or half of the time, buffers are full; from then on a role may grow by what allocators do.
const FULL_AFTER: Duration = Duration::from_secs(60);
const FLAT_BYTES: u64 = 24 << 20;
/// Ingest answers within 4 s of the last byte of a body; the rest is this machine's.
const ANSWERED_WITHIN: Duration = Duration::from_millis(4_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_broker_is_there_senders_hear_503_in_time_and_memory_is_bounded() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let away = Duration::from_secs(from_environment("MILLRACE_AWAY_SECONDS", 25));
    let home = tempfile::tempdir().unwrap();
    let size = Size { brokers: 1, partitions: 4, of_each: 1 };
    let Some(mut deployment) = Deployment::start(BINARY, &tests, home.path(), size).await else { return };
    let (account, apis) = (deployment.account().to_owned(), deployment.apis());
    let plan =
        Plan { account: account.clone(), name: "away".into(), rate: 400, per_request: 4, senders: 32, visitors: 300 };
    let load = Load::start_on(plan, apis.clone());
    pause(Duration::from_secs(5)).await;
    let memory = |deployment: &Deployment| -> Vec<(Kind, u64)> {
        deployment.roles.iter().map(|role| (role.kind(), role.memory_bytes())).collect()
    };
    let before = memory(&deployment);
    let mut full = None;

    deployment.brokers.kill(1);
    let (began, mut refused) = (clock().elapsed(), 0);
    while clock().elapsed() - began < away {
        let body = batch(&account, vec![decision("ann", &format!("away-{refused}"), "9300", "9302", clock().now_ms())]);
        let asked = clock().elapsed();
        let answer = apis[0].post(&body).await.expect("an answer, whatever it is");
        let took = clock().elapsed() - asked;
        assert!(took <= ANSWERED_WITHIN, "answered after {took:?}");
        assert_eq!((answer.status, answer.header("retry-after").is_empty()), (503, false), "{}", answer.text());
        refused += 1;
        for ((kind, then), (_, now)) in before.iter().zip(memory(&deployment)) {
            assert!(now <= then + GROWTH_BYTES, "{kind:?} grew from {then} to {now} bytes");
        }
        if clock().elapsed() - began >= FULL_AFTER.min(away / 2) {
            let full = full.get_or_insert_with(|| memory(&deployment));
            for ((kind, then), (_, now)) in full.iter().zip(memory(&deployment)) {
                assert!(now <= then + FLAT_BYTES, "{kind:?} grew from {then} to {now} bytes without a broker");
            }
        }
    }
    println!(
        "{refused} probes refused in {away:?}; memory before {before:?}, full {full:?}, after {:?}",
        memory(&deployment)
    );

    deployment.brokers.start_again(1).await;
    deployment.wait_ready().await;
    let sent = load.stop().await;
    let (export, mut follower) = (Export::open(&deployment.team(0)).await.unwrap(), Follower::default());
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(120)).await;
    sent.assert_attributed(&follower);
}
