//! The exporter on a real S3 server, which is killed and comes back: the same keys and bytes as in a folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use millrace_clock::ManualClock;
use millrace_exporter_write::{Account, Config};
use millrace_harness::s3::S3;
use object_store::{ObjectStore, ObjectStoreExt};
use support::script::Script;
use support::{DAY_1, DAY_MS, Exporter, Folder, account, published, until};

const HOUR: i64 = 3_600_000;
const THROUGH: i64 = DAY_1 + DAY_MS + HOUR;

fn accounts() -> Vec<Account> {
    ["a", "b", "busy", "slow", "silent"].map(|id| account(id, DAY_1)).into()
}

fn config(seal_bytes: usize) -> Config {
    Config { seal_bytes, seal_age: Duration::from_secs(2), ..Config::default() }
}

async fn exported(store: &dyn ObjectStore) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for meta in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let key = meta.location.to_string();
        let is_late = key.contains("date=2026-03-11") && !key.contains("/part-00");
        if !key.starts_with("_millrace/") && !is_late {
            objects.insert(key, store.get(&meta.location).await.unwrap().bytes().await.unwrap());
        }
    }
    objects
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_exporters_on_a_store_that_is_killed_on_the_way_make_what_one_makes_in_a_folder() {
    let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests"));
    let home = tempfile::tempdir().unwrap();
    let Some(mut server) = S3::start(tests, home.path()).await else { return };
    let script = Script::random(2, 11, 40, DAY_1 + 22 * HOUR, THROUGH + HOUR);
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let exporter = Exporter::start(&script.log(8), folder.store(), &accounts(), &clock, config(2_000), 9);
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();
    let expected = exported(&*folder.store()).await;

    let (log, clock) = (script.log(8), ManualClock::at(0));
    // Each with a client of its own, and another opinion on where segments end: they race for every key.
    let [one, other] = [(1, 700), (2, 2_500)].map(|(writer, seal_bytes)| {
        Exporter::start(&log, server.store(), &accounts(), &clock, config(seal_bytes), writer)
    });
    until("something is out", &clock, async || one.through() > 0 || other.through() > 0).await;
    server.kill();
    server.start_again().await;
    published(&one, &clock, THROUGH).await;
    published(&other, &clock, THROUGH).await;
    one.stop().await.unwrap();
    other.stop().await.unwrap();
    let found = exported(&*server.store()).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "the same keys, but not the same bytes");

    // A third finds everything in place and changes nothing.
    let third = Exporter::start(&log, server.store(), &accounts(), &clock, config(50), 3);
    published(&third, &clock, THROUGH).await;
    third.stop().await.unwrap();
    assert!(exported(&*server.store()).await == expected);
}
