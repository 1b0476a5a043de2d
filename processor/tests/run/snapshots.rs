//! State outlives its machine: a lost local store costs time, nothing else.

use std::time::Duration;

use bytes::Bytes;
use millrace_clock::Clock;
use millrace_eventlog::{Log, Record};
use millrace_processor::change_settings;
use millrace_schemas::layout::SnapshotName;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::exactly_once::some_events;
use crate::rig::*;
use crate::support::*;

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// Events in each of some hours of log time, each hour with a snapshot of every partition.
async fn some_hours(rig: &Rig, dice: &Dice, hours: usize) {
    let running = rig.start();
    running.recovered().await;
    for _ in 0..hours {
        rig.events(some_events(dice, rig.clock.now_ms())).await;
        rig.settle(&running).await;
        rig.snapshots_are_there().await;
        rig.clock.advance(AN_HOUR);
    }
    rig.events(some_events(dice, rig.clock.now_ms())).await;
    rig.settle(&running).await;
    running.stop().await.unwrap();
}

/// Raw no longer reaches back to before the newest snapshot but `newest` of each partition.
async fn trim(rig: &Rig, newest: usize) -> Vec<Vec<Record>> {
    let raw = rig.raw().await;
    for partition in 0..PARTITIONS {
        let keys = rig.snapshot_keys(partition).await;
        let name = SnapshotName::of_key(&keys[keys.len() - 1 - newest]).unwrap();
        rig.log.trim(RAW, partition, name.folded).await.unwrap();
    }
    raw
}

async fn goes_on(rig: &Rig, dice: &Dice, mut raw: Vec<Vec<Record>>) {
    let running = rig.start();
    running.recovered().await;
    // Some of these were sent before.
    rig.events(some_events(dice, rig.clock.now_ms())).await;
    rig.settle(&running).await;
    running.stop().await.unwrap();
    for (known, now) in raw.iter_mut().zip(rig.raw().await) {
        let last = known.last().map_or(0, |record| record.offset);
        known.extend(now.into_iter().filter(|record| record.offset > last));
    }
    rig.check_outcomes_of(raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_local_store_costs_time_only_also_when_raw_reaches_back_no_further_than_the_snapshot() {
    let (rig, dice) = (Rig::new().await, Dice::new(20));
    some_hours(&rig, &dice, 3).await;
    let raw = trim(&rig, 0).await;
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    goes_on(&rig, &dice, raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_and_one_of_another_version_give_way_to_the_one_before() {
    let (rig, dice) = (Rig::new().await, Dice::new(21));
    some_hours(&rig, &dice, 3).await;
    let raw = trim(&rig, 1).await;
    let keys = rig.snapshot_keys(0).await;
    let newest = keys.last().unwrap();
    rig.bucket.put(&Path::parse(newest).unwrap(), Bytes::from_static(b"torn").into()).await.unwrap();
    let keys = rig.snapshot_keys(1).await;
    let newest = SnapshotName::of_key(keys.last().unwrap()).unwrap();
    let other = SnapshotName { state_version: newest.state_version + 1, ..newest }.key(rig.log.id(), 1);
    let bytes = rig.bucket.get(&Path::parse(keys.last().unwrap()).unwrap()).await.unwrap().bytes().await.unwrap();
    rig.bucket.put(&Path::parse(other).unwrap(), bytes.into()).await.unwrap();
    rig.bucket.delete(&Path::parse(keys.last().unwrap()).unwrap()).await.unwrap();
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    goes_on(&rig, &dice, raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_store_that_is_older_than_the_snapshot_gives_way_to_it() {
    let (rig, dice) = (Rig::new().await, Dice::new(22));
    some_hours(&rig, &dice, 1).await;
    let old = rig.folder.path().join("old");
    std::fs::rename(rig.state_dir(), &old).unwrap();
    some_hours(&rig, &dice, 2).await;
    let raw = trim(&rig, 0).await;
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    std::fs::rename(&old, rig.state_dir()).unwrap();
    goes_on(&rig, &dice, raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_stops_no_fold_and_snapshots_come_once_it_is_back() {
    let (rig, dice) = (Rig::new().await, Dice::new(23));
    let running = rig.start();
    running.recovered().await;
    running.faults.bucket_away(true);
    for _ in 0..3 {
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(AN_HOUR);
        rig.settle(&running).await;
    }
    assert!(running.readiness.check().is_ok(), "{:?}", running.readiness.check());
    running.faults.bucket_away(false);
    rig.clock.advance(AN_HOUR);
    rig.settle(&running).await;
    let hour = rig.clock.now_ms() / HOUR;
    for partition in 0..PARTITIONS {
        let deadline = std::pin::pin!(tokio::time::sleep(DEADLINE));
        let mut deadline = deadline;
        loop {
            let newest = rig.snapshot_keys(partition).await.pop().and_then(|key| SnapshotName::of_key(&key));
            if newest.is_some_and(|name| name.log_time_ms / HOUR == hour) {
                break;
            }
            tokio::select! {
                () = &mut deadline => panic!("no snapshot of partition {partition}"),
                () = tokio::time::sleep(Duration::from_millis(10)) => rig.clock.advance(Duration::from_millis(100)),
            }
        }
    }
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_its_local_store_needs_no_bucket_and_one_without_waits_for_it() {
    let (rig, dice) = (Rig::new().await, Dice::new(24));
    some_hours(&rig, &dice, 1).await;
    rig.faults.bucket_away(true);
    let running = rig.start();
    running.recovered().await;
    running.stop().await.unwrap();
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    let running = rig.start();
    until("it says that it waits", || format!("{:?}", running.readiness.check()).contains("503 Slow Down")).await;
    assert!(running.progress.partitions().is_empty(), "nothing is folded from the very start");
    running.faults.bucket_away(false);
    running.recovered().await;
    rig.settle(&running).await;
    assert_eq!(running.faults.joined(), 1, "it waited as a member of the group");
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}

/// What is there after a crash besides the log.
#[derive(Debug, Clone, Copy)]
enum Left {
    Everything,
    Snapshots,
    LocalStore,
    Nothing,
}

/// Settings travel in the log; what was due under them when it was committed is in the watermark record.
#[tokio::test(flavor = "multi_thread")]
async fn a_grace_that_changed_between_commit_and_recovery_loses_and_doubles_nothing() {
    let lefts = [Left::Everything, Left::Snapshots, Left::LocalStore, Left::Nothing];
    let cases = lefts.into_iter().flat_map(|left| {
        [Hang::BeforeCommit, Hang::AfterCommit].into_iter().map(move |hang| another_grace(left, hang))
    });
    futures::future::join_all(cases).await;
}

async fn another_grace(left: Left, hang: Hang) {
    let (mut rig, dice) = (Rig::new().await, Dice::new(30 + hang as u64));
    // 10 s, 2 s and back, the change before the commit that hangs, and after it.
    for (round, grace_ms) in [10_000, 2_000, 10_000, 2_000, 10_000].into_iter().enumerate() {
        let mut running = rig.start();
        running.recovered().await;
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(1));
        let change = async || {
            let version = change_settings(&*rig.log, &*rig.clock, |now| now.attribution_grace_ms = grace_ms).await;
            assert_eq!(version.unwrap(), Some(round as u64 + 2));
        };
        if round % 2 == 0 {
            change().await;
        }
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        rig.clock.advance(Duration::from_secs(3));
        rig.snapshots_are_there().await;
        // Some of what the snapshots hold is released before the crash.
        let due = rig.clock.now_ms() + 3_000;
        until("time has passed in the log", || {
            rig.clock.advance(Duration::from_millis(100));
            running.progress.partitions().values().all(|at| at.log_time_ms >= due)
        })
        .await;
        running.hang(hang);
        rig.events(some_events(&dice, rig.clock.now_ms())).await;
        running.hung().await;
        if round % 2 == 1 {
            change().await;
        }
        rig.clock.advance(Duration::from_secs(dice.roll(12)));
        running.kill().await;
        if matches!(left, Left::Snapshots | Left::Nothing) {
            std::fs::remove_dir_all(rig.state_dir()).unwrap();
        }
        if matches!(left, Left::LocalStore | Left::Nothing) {
            rig.bucket = Default::default();
        }
        // So that the next round has a snapshot with conversions held.
        rig.clock.advance(AN_HOUR);
    }
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    rig.check_outcomes().await;
}
