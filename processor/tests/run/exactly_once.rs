//! Each raw event has exactly one outcome, whatever is killed and whoever else believes to own a partition.

use std::time::Duration;

use millrace_clock::Clock;
use millrace_processor::limits::TRANSACTION_BYTES_MAX;
use millrace_processor::{GROUP, change_settings, settings_in_force};
use millrace_schemas::raw::Event;

use crate::rig::*;
use crate::support::*;

/// Decisions and conversions of a few visitors, some of them sent before.
pub fn some_events(dice: &Dice, now_ms: i64) -> Vec<Event> {
    let one = |_| {
        let (visitor, uuid) = (format!("v{}", dice.roll(20)), format!("u{}", dice.roll(5_000)));
        let at = now_ms - dice.roll(3_000) as i64;
        match dice.roll(2) {
            0 => decides(&visitor, &uuid, at, &format!("e{}", dice.roll(4)), &format!("x{}", dice.roll(2))),
            _ => converts(&visitor, &uuid, at),
        }
    };
    (0..=dice.roll(40)).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_killed_at_any_moment_of_a_commit_loses_and_doubles_nothing() {
    let (rig, dice) = (Rig::new().await, Dice::new(7));
    for round in 0..14 {
        let mut running = rig.start();
        running.recovered().await;
        for _ in 0..dice.roll(3) {
            rig.events(some_events(&dice, rig.clock.now_ms())).await;
            rig.clock.advance(Duration::from_millis(dice.roll(4_000)));
        }
        running.hang([Hang::BeforeCommit, Hang::AfterCommit][round % 2]);
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        running.hung().await;
        running.kill().await;
        if round % 5 == 4 {
            // A lost store costs time, nothing else.
            std::fs::remove_dir_all(rig.state_dir()).unwrap();
        }
    }
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_is_made_again() {
    let (rig, dice) = (Rig::new().await, Dice::new(8));
    let running = rig.start();
    running.recovered().await;
    for _ in 0..6 {
        rig.log.levers().abort_next_commit();
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(2));
    }
    rig.settle(&running).await;
    until("it is ready again", || running.readiness.check().is_ok()).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_change_hands_between_two_processors_are_folded_once() {
    let (rig, dice) = (Rig::new().await, Dice::new(9));
    let one = rig.start_in(rig.folder.path().join("one"));
    let two = rig.start_in(rig.folder.path().join("two"));
    for _ in 0..15 {
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        let partition = dice.roll(u64::from(PARTITIONS)) as u32;
        match dice.roll(3) {
            0 => rig.log.levers().revoke(GROUP, RAW, partition),
            1 => rig.log.levers().lose(GROUP, RAW, partition),
            _ => true,
        };
        rig.clock.advance(Duration::from_millis(dice.roll(3_000)));
        tokio::task::yield_now().await;
    }
    two.stop().await.unwrap();
    rig.settle(&one).await;
    one.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_wakes_up_within_a_commit_is_fenced() {
    let rig = Rig::new().await;
    let mut zombie = rig.start_in(rig.folder.path().join("zombie"));
    zombie.recovered().await;
    zombie.hang(Hang::BeforeCommit);
    rig.events(vec![decides("v", "u", T0, "e", "a"), converts("v", "c", T0)]).await;
    zombie.hung().await;
    let successor = rig.start_in(rig.folder.path().join("successor"));
    for partition in 0..PARTITIONS {
        until("the zombie's partition is taken from it", || rig.log.levers().lose(GROUP, RAW, partition)).await;
    }
    // It goes on with the transaction it had begun, and then leaves in good order.
    zombie.hang(Hang::Never);
    until("the zombie learns that it was fenced", || zombie.fenced()).await;
    zombie.stop().await.unwrap();
    rig.settle(&successor).await;
    successor.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_grace_and_back_loses_and_doubles_nothing() {
    let (rig, dice) = (Rig::new().await, Dice::new(10));
    for (round, grace_ms) in [10_000, 2_000, 10_000, 2_000].into_iter().enumerate() {
        let mut running = rig.start();
        running.recovered().await;
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(1));
        let version =
            change_settings(&*rig.log, &*rig.clock, |settings| settings.attribution_grace_ms = grace_ms).await;
        assert_eq!(version.unwrap(), Some(round as u64 + 2));
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(3));
        running.hang([Hang::AfterCommit, Hang::BeforeCommit][round % 2]);
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        running.hung().await;
        running.kill().await;
        assert_eq!(settings_in_force(&*rig.log).await.unwrap().attribution_grace_ms, grace_ms);
    }
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

/// Sixteen megabytes of conversions of one visitor, all due at once.
async fn hold_much(rig: &Rig, running: &Running) {
    let large = |n: usize| {
        let mut event = converts("v", &n.to_string(), T0);
        event.unknown_fields = "x".repeat(40_000);
        event
    };
    running.recovered().await;
    for batch in 0..10 {
        rig.events((batch * 40..batch * 40 + 40).map(large).collect()).await;
    }
    // Held while nothing is released: time stands still, in the log too.
    until("all are held", || running.progress.partitions().values().map(|at| at.held).sum::<usize>() == 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_killed_within_a_large_release_emits_the_rest_once() {
    let rig = Rig::new().await;
    let mut running = rig.start();
    hold_much(&rig, &running).await;
    running.hang(Hang::AfterCommit);
    rig.clock.advance(Duration::from_secs(6));
    running.hung().await;
    running.kill().await;
    let partition = millrace_schemas::partition::of_visitor(ACCOUNT, "v", PARTITIONS);
    let (emitted, watermarks) = rig.enriched(partition).await;
    let last = watermarks.last().unwrap();
    assert!(!emitted.is_empty() && emitted.len() < 400 && last.released < last.folded, "killed half-way");
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_larger_than_a_transaction_is_committed_bit_by_bit() {
    let rig = Rig::new().await;
    let partition = millrace_schemas::partition::of_visitor(ACCOUNT, "v", PARTITIONS);
    let running = rig.start();
    hold_much(&rig, &running).await;
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
    let mut transactions = 0;
    let is_watermark = |record: &millrace_eventlog::Record| record.key.is_empty();
    for transaction in rig.records(ENRICHED, partition).await.split(is_watermark) {
        let bytes: usize = transaction.iter().map(|record| record.value.len()).sum();
        assert!(bytes <= TRANSACTION_BYTES_MAX + 50_000, "a transaction of {bytes} bytes");
        transactions += usize::from(bytes > 0);
    }
    assert!(transactions >= 3, "16 MB went out in {transactions} transactions");
}
