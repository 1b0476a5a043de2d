//! Each raw event has exactly one outcome, whatever is killed and whoever else believes to own a partition.

use std::time::Duration;

use millrace_clock::Clock;
use millrace_processor::{GROUP, change_settings, settings_in_force};
use millrace_schemas::raw::Event;

use crate::rig::*;
use crate::support::*;

/// Decisions and conversions of a few visitors, some of them sent before.
fn some_events(dice: &Dice, now_ms: i64) -> Vec<Event> {
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
    // Two members share the partitions again: the zombie never lets go of what it is given, so it leaves.
    zombie.kill().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_release_larger_than_a_transaction_is_committed_bit_by_bit() {
    let rig = Rig::new().await;
    // Held while nothing is released: time stands still, in the log too.
    let large = |n: usize| {
        let mut event = converts(&format!("v{}", n % 50), &n.to_string(), T0);
        event.unknown_fields = "x".repeat(40_000);
        event
    };
    let running = rig.start();
    running.recovered().await;
    for batch in 0..10 {
        rig.events((batch * 40..batch * 40 + 40).map(large).collect()).await;
    }
    until("all are held", || running.progress.partitions().values().map(|at| at.held).sum::<usize>() == 400).await;
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
    for partition in 0..PARTITIONS {
        let (_, watermarks) = rig.enriched(partition).await;
        let partly = watermarks.iter().filter(|mark| mark.released < mark.folded).count();
        assert!(partly > 0, "some watermark says that some are held");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_committed_when_it_stops() {
    let rig = Rig::new().await;
    let running = rig.start();
    running.recovered().await;
    rig.events(vec![decides("v", "u", T0, "e", "a")]).await;
    rig.settle(&running).await;
    let folded: Vec<_> = running.progress.partitions().values().map(|at| at.folded).collect();
    running.stop().await.unwrap();
    for partition in 0..PARTITIONS {
        let (_, watermarks) = rig.enriched(partition).await;
        assert!(watermarks.last().unwrap().folded >= folded[partition as usize]);
    }
}
