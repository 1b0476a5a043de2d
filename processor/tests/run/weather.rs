//! Brokers that go away for long, and readiness.

use std::time::Duration;

use millrace_clock::Clock;
use millrace_processor::limits::RECOVERIES_AT_ONCE;
use millrace_processor::{GROUP, PartitionProgress};

use crate::exactly_once::some_events;
use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_away_for_long_costs_no_state_and_no_membership() {
    let (rig, dice) = (Rig::new().await, Dice::new(40));
    let running = rig.start();
    running.recovered().await;
    for _ in 0..3 {
        running.faults.log_away(true);
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        until("it says so", || running.readiness.check().is_err()).await;
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(600));
        assert_eq!(running.progress.partitions().len(), PARTITIONS as usize, "the state is there still");
        running.faults.log_away(false);
        rig.settle(&running).await;
        until("it is ready again", || running.readiness.check().is_ok()).await;
    }
    assert_eq!(running.faults.joined(), 1);
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_away_while_state_is_recovered_is_waited_for() {
    let (rig, dice) = (Rig::new().await, Dice::new(41));
    let running = rig.start();
    rig.events(some_events(&dice, rig.clock.now_ms())).await;
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.faults.reads_away(true);
    let running = rig.start();
    until("it says so", || format!("{:?}", running.readiness.check()).contains("no broker answers")).await;
    running.faults.reads_away(false);
    rig.settle(&running).await;
    assert_eq!(running.faults.joined(), 1);
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_and_go_in_storms_are_folded_once() {
    let (rig, dice) = (Rig::new().await, Dice::new(42));
    let running = rig.start();
    for _ in 0..40 {
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        for partition in 0..PARTITIONS {
            match dice.roll(3) {
                0 => rig.log.levers().revoke(GROUP, RAW, partition),
                1 => rig.log.levers().lose(GROUP, RAW, partition),
                _ => true,
            };
        }
        rig.clock.advance(Duration::from_millis(dice.roll(2_000)));
        tokio::task::yield_now().await;
    }
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_of_ours_is_found_with_few_reads() {
    let rig = Rig::new().await;
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    let running = rig.start();
    running.recovered().await;
    // One for the record, one that shows that raw is what it was.
    let reads = running.faults.reads();
    assert!(reads <= 2 * u64::from(PARTITIONS), "{reads} reads for {PARTITIONS} partitions");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_before_all_it_was_given_is_recovered() {
    let rig = Rig::new().await;
    rig.faults.silent(true);
    // From the call on, whether or not anything has run yet.
    let running = rig.start();
    assert!(running.readiness.check().is_err());
    until("it waits", || format!("{:?}", running.readiness.check()).contains("waiting for partitions")).await;
    running.faults.silent(false);
    until("it is ready", || running.readiness.check().is_ok()).await;
    assert_eq!(running.progress.partitions().len(), PARTITIONS as usize);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_given_nothing_is_ready_in_the_end() {
    let rig = Rig::new().await;
    let owners: Vec<_> = (0..PARTITIONS).map(|n| rig.start_in(rig.folder.path().join(format!("owner{n}")))).collect();
    until("everything has an owner", || {
        owners.iter().all(|owner| owner.progress.partitions().len() == 1 && owner.readiness.check().is_ok())
    })
    .await;
    let idle = rig.start_in(rig.folder.path().join("idle"));
    assert!(idle.readiness.check().is_err());
    until("it is ready", || idle.readiness.check().is_ok()).await;
    assert!(idle.progress.partitions().is_empty());
    for running in owners.into_iter().chain([idle]) {
        running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_partitions_are_recovered_few_at_once_and_live_together() {
    let rig = Rig::with_64_partitions().await;
    for _ in 0..2 {
        let running = rig.start();
        let all = |so: &dyn Fn(&PartitionProgress) -> bool| {
            let partitions = running.progress.partitions();
            partitions.len() == 64 && partitions.values().all(so)
        };
        until("all are recovered", || all(&|_| true)).await;
        let at_once = running.faults.asked_at_once_max();
        assert!((1..=RECOVERIES_AT_ONCE).contains(&at_once), "{at_once} at once");
        for _ in 0..3 {
            for partition in 0..64 {
                match partition % 3 {
                    0 => rig.log.levers().revoke(GROUP, RAW, partition),
                    1 => rig.log.levers().lose(GROUP, RAW, partition),
                    _ => true,
                };
            }
            let due = rig.clock.now_ms() + 2_000;
            until("time has passed in all", || {
                rig.clock.advance(Duration::from_millis(100));
                all(&|at| at.log_time_ms >= due)
            })
            .await;
        }
        running.stop().await.unwrap();
    }
}
