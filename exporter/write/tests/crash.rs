//! Crashes, zombies and failing stores: none shows outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_clock::ManualClock;
use millrace_exporter_write::{Account, Config};
use object_store::ObjectStore;
use proptest::prelude::*;
use support::script::Script;
use support::store::{Faults, FaultyStore};
use support::{DAY_1, DAY_MS, Exporter, Folder, account, published, until, with_time};

const HOUR: i64 = 3_600_000;
const THROUGH: i64 = DAY_1 + DAY_MS + HOUR;

/// An evening and the hours after midnight: slots, a day's close, slots again.
fn an_evening(seed: u64) -> Script {
    Script::random(2, seed, 40, DAY_1 + 22 * HOUR, THROUGH + HOUR)
}

fn accounts() -> Vec<Account> {
    vec![
        account("a", DAY_1),
        account("b", DAY_1),
        account("busy", DAY_1),
        account("slow", DAY_1),
        account("silent", DAY_1),
    ]
}

/// Small segments, so that there is much to be interrupted.
fn config() -> Config {
    Config { seal_bytes: 2_000, seal_age: Duration::from_secs(2), ..Config::default() }
}

fn start(script: &Script, store: Arc<dyn ObjectStore>, clock: &Arc<ManualClock>, writer: u8) -> Exporter {
    Exporter::start(&script.log(8), store, &accounts(), clock, config(), writer)
}

/// What comes out when nothing goes wrong, as far as it must be out, and how many store operations that takes.
async fn undisturbed(script: &Script) -> (BTreeMap<String, Bytes>, u64) {
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let store = FaultyStore::new(folder.store(), Faults::None);
    let exporter = start(script, Arc::clone(&store) as _, &clock, 1);
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();
    (out_by_then(folder.exported().await), store.operations())
}

/// Without the files of slots that may be out or not.
fn out_by_then(mut exported: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    exported.retain(|key, _| !key.contains("date=2026-03-11") || key.contains("/part-00"));
    exported
}

fn assert_same(found: &BTreeMap<String, Bytes>, expected: &BTreeMap<String, Bytes>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, bytes) in expected {
        assert_eq!(&found[key], bytes, "{key}");
    }
}

/// A listing that was seen must be part of every later one, bytes and all.
fn assert_grown(before: &BTreeMap<String, Bytes>, after: &BTreeMap<String, Bytes>) {
    for (key, bytes) in before {
        assert_eq!(after.get(key), Some(bytes), "{key} has changed or is gone");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_anywhere_and_another_publisher_make_the_same_keys_and_no_row_twice(
        seed in 0..1_000_u64,
        points in proptest::collection::vec((0.0..1.0_f64, any::<bool>()), 1..3),
    ) {
        block_on(async {
            let script = an_evening(seed);
            let (expected, operations) = undisturbed(&script).await;
            let (folder, clock) = (Folder::new(), ManualClock::at(0));
            let mut seen = BTreeMap::new();
            for (writer, (point, after_effect)) in points.into_iter().enumerate() {
                let operation = (point * operations as f64) as u64;
                let store = FaultyStore::new(folder.store(), Faults::DeadFrom { operation, after_effect });
                let exporter = start(&script, Arc::clone(&store) as _, &clock, writer as u8);
                until("dead or done", &clock, async || store.faults_made() > 0 || exporter.through() >= THROUGH).await;
                drop(exporter);
                let now = folder.exported().await;
                assert_grown(&seen, &now);
                seen = now;
            }
            let exporter = start(&script, folder.store(), &clock, 99);
            published(&exporter, &clock, THROUGH).await;
            exporter.stop().await.unwrap();
            let after = folder.exported().await;
            assert_grown(&seen, &after);
            assert_same(&out_by_then(after), &expected);
        });
    }

    #[test]
    fn a_publisher_that_wakes_up_after_another_has_done_everything_changes_nothing(
        seed in 0..1_000_u64,
        point in 0.0..1.0_f64,
    ) {
        block_on(async {
            let script = an_evening(seed);
            let (expected, operations) = undisturbed(&script).await;
            let (folder, clock) = (Folder::new(), ManualClock::at(0));
            let operation = (point * operations as f64) as u64;
            let store = FaultyStore::new(folder.store(), Faults::StalledAt { operation });
            let zombie = start(&script, Arc::clone(&store) as _, &clock, 1);
            until("stalled or done", &clock, async || store.faults_made() > 0 || zombie.through() >= THROUGH).await;
            let other = start(&script, folder.store(), &clock, 2);
            published(&other, &clock, THROUGH + HOUR - 60_000).await;
            let before = folder.exported().await;

            store.go_on();
            published(&zombie, &clock, THROUGH + HOUR - 60_000).await;
            zombie.stop().await.unwrap();
            other.stop().await.unwrap();
            let after = folder.exported().await;
            assert_same(&after, &before);
            assert_same(&out_by_then(after), &expected);
        });
    }

    #[test]
    fn a_store_that_fails_and_lies_delays_and_nothing_else(seed in 0..1_000_u64, one_in in 2..6_u64) {
        block_on(async {
            let script = an_evening(seed);
            let (expected, _) = undisturbed(&script).await;
            let (folder, clock) = (Folder::new(), ManualClock::at(0));
            let store = FaultyStore::new(folder.store(), Faults::Often { one_in, seed });
            let exporter = start(&script, Arc::clone(&store) as _, &clock, 1);
            let mut seen = BTreeMap::new();
            until("published", &clock, async || {
                let now = folder.exported().await;
                assert_grown(&seen, &now);
                seen = now;
                exporter.through() >= THROUGH
            })
            .await;
            exporter.stop().await.unwrap();
            assert!(store.faults_made() > 10, "{} faults are no test", store.faults_made());
            assert_same(&out_by_then(folder.exported().await), &expected);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_exporters_at_once_seal_every_range_once_and_publish_the_same() {
    let script = an_evening(7);
    let (expected, _) = undisturbed(&script).await;
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    // One log for both, written little by little, so that they race for every segment, and disagree on where it ends.
    let log = support::log::MemoryLog::new("test-log", 2, 8);
    let sizes = [(1, 600), (2, 2_500)];
    let exporters: Vec<Exporter> = sizes
        .map(|(writer, seal_bytes)| {
            let config = Config { seal_bytes, ..config() };
            Exporter::start(&log, folder.store(), &accounts(), &clock, config, writer)
        })
        .into();
    let writing = async {
        for at in 0..script.len() {
            script.write(&log, at..at + 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    with_time(&clock, writing).await;
    for exporter in &exporters {
        published(exporter, &clock, THROUGH).await;
    }
    for exporter in exporters {
        exporter.stop().await.unwrap();
    }
    assert_same(&out_by_then(folder.exported().await), &expected);

    // The segments alone, every one of them, say it all once more: none overlaps another, none is missing.
    let segments = Folder::new();
    for (key, bytes) in folder.everything().await {
        if key.starts_with("_millrace/segments/") {
            segments.put(&key, bytes).await;
        }
    }
    let third = Exporter::start(&log, segments.store(), &accounts(), &clock, config(), 3);
    published(&third, &clock, THROUGH).await;
    third.stop().await.unwrap();
    assert_same(&out_by_then(segments.exported().await), &expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_goes_and_comes_back_is_gone_on_with() {
    let script = an_evening(8);
    let (expected, _) = undisturbed(&script).await;
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let log = support::log::MemoryLog::new("test-log", 2, 8);
    let exporter = Exporter::start(&log, folder.store(), &accounts(), &clock, config(), 1);
    let writing = async {
        for at in 0..script.len() {
            script.write(&log, at..at + 1);
            if at % 20 == 0 {
                log.revoke(u32::from(at % 40 == 0));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    with_time(&clock, writing).await;
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();
    assert_same(&out_by_then(folder.exported().await), &expected);
}
