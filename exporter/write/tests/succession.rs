//! A new log over a bucket that holds another log's export.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use millrace_clock::ManualClock;
use millrace_exporter_write::{Config, Error};
use millrace_schemas::export::Manifest;
use support::log::MemoryLog;
use support::script::{Doing, Script};
use support::{DAY_1, DAY_MS, Exporter, Folder, account, parquet, published};

const HOUR: i64 = 3_600_000;
const DAY_2: i64 = DAY_1 + DAY_MS;
const DAY_3: i64 = DAY_2 + DAY_MS;

fn at(process_ms: i64, uuid: &'static str) -> Doing<'static> {
    Doing { account: "acme", visitor: "ann", uuid, timestamp_ms: process_ms - 6, process_ms }
}

/// Day 1 closed, day 2 out up to six in the morning.
async fn old_export(folder: &Folder) -> BTreeMap<String, Bytes> {
    let mut script = Script::new(2);
    script.converted(at(DAY_1 + HOUR, "old-1"), Some("purchase"));
    script.converted(at(DAY_2 + HOUR, "old-2"), Some("purchase"));
    script.watermarks(DAY_2 + 6 * HOUR);
    run_until(folder, &script.log(8), None, DAY_2 + 6 * HOUR).await;
    folder.exported().await
}

/// A log that began at eight in the morning of day 2.
fn new_log() -> Arc<MemoryLog> {
    log_from(DAY_2 + 8 * HOUR)
}

fn log_from(begins_ms: i64) -> Arc<MemoryLog> {
    let mut script = Script::new(2);
    script.converted(at(DAY_2 + 9 * HOUR, "early"), Some("purchase"));
    script.converted(at(DAY_3 + HOUR, "new"), Some("purchase"));
    script.watermarks(DAY_3 + DAY_MS);
    let log = script.log_named("new-log", 8);
    log.begins_ms.store(begins_ms, Ordering::SeqCst);
    log
}

fn start(folder: &Folder, log: &Arc<MemoryLog>, succeeds: Option<&str>, writer: u8) -> (Exporter, Arc<ManualClock>) {
    let clock = ManualClock::at(0);
    let config = Config { succeeds: succeeds.map(str::to_owned), ..Config::default() };
    let accounts = [account("acme", DAY_1)];
    (Exporter::start(log, folder.store(), &accounts, &clock, config, writer), clock)
}

async fn run_until(folder: &Folder, log: &Arc<MemoryLog>, succeeds: Option<&str>, through_ms: i64) {
    let (exporter, clock) = start(folder, log, succeeds, 1);
    published(&exporter, &clock, through_ms).await;
    exporter.stop().await.unwrap();
}

async fn refused(folder: &Folder, log: &Arc<MemoryLog>, succeeds: Option<&str>) -> Error {
    let before = folder.everything().await;
    let error = start(folder, log, succeeds, 9).0.ended().await;
    assert_eq!(folder.everything().await, before, "nothing is written");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_from_the_operator_it_is_a_hard_stop_that_names_both_and_says_what_to_do() {
    let folder = Folder::new();
    old_export(&folder).await;
    let error = refused(&folder, &new_log(), None).await;
    assert!(matches!(error, Error::OtherLog { .. }), "{error}");
    for part in ["test-log", "new-log", "export.succeeds = \"test-log\""] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_at_the_next_midnight_in_the_next_generation_and_touches_no_day_of_the_old_log() {
    begins_on_day_3(DAY_2 + 8 * HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_began_while_the_old_one_was_publishing_leaves_it_the_days_it_had_planned() {
    begins_on_day_3(DAY_1 + 8 * HOUR).await;
    begins_on_day_3(DAY_2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_at_a_midnight_begins_with_that_day() {
    begins_on_day_3(DAY_3).await;
}

async fn begins_on_day_3(begins_ms: i64) {
    let folder = Folder::new();
    let old = old_export(&folder).await;
    let log = log_from(begins_ms);
    let (one, clock) = start(&folder, &log, Some("test-log"), 2);
    let (other, other_clock) = start(&folder, &log, Some("test-log"), 3);
    published(&one, &clock, DAY_3 + DAY_MS).await;
    published(&other, &other_clock, DAY_3 + DAY_MS).await;
    one.stop().await.unwrap();
    other.stop().await.unwrap();

    let mut new = folder.exported().await;
    for (key, bytes) in &old {
        assert_eq!(new.remove(key).as_ref(), Some(bytes), "{key} has changed or is gone");
    }
    assert!(new.keys().all(|key| key.contains("/date=2026-03-12/")), "{:?}", new.keys());
    let files: Vec<_> = new.iter().filter(|(key, _)| key.ends_with(".parquet")).collect();
    let [(key, bytes)] = files[..] else { panic!("{:?}", new.keys()) };
    assert!(key.ends_with("-g1.snappy.parquet"), "{key}");
    assert_eq!(parquet::text(&parquet::rows(bytes)[0], "uuid").as_deref(), Some("new"));
    let manifest = Manifest::from_json(&new["v1/account_id=acme/type=events/date=2026-03-12/_manifest.json"]).unwrap();
    assert_eq!((manifest.generation, manifest.rows, manifest.log_id.as_str()), (1, 1, "new-log"));
    assert!(new.contains_key("v1/account_id=acme/type=events/date=2026-03-12/_SUCCESS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_it_has_taken_over_the_setting_may_go_and_the_old_logs_exporters_are_refused() {
    let folder = Folder::new();
    old_export(&folder).await;
    let log = new_log();
    run_until(&folder, &log, Some("test-log"), DAY_3 + DAY_MS).await;
    run_until(&folder, &log, None, DAY_3 + DAY_MS).await;
    let error = refused(&folder, &Script::new(2).log(8), None).await;
    assert!(matches!(&error, Error::TakenOver { by, .. } if by == "new-log"), "{error}");
    let error = refused(&folder, &log, Some("yet-another")).await;
    assert!(matches!(error, Error::Succeeds { .. }), "{error}");
    // The next in line has to name the last, not the first.
    let third = Script::new(2).log_named("third-log", 8);
    for (named, said) in [("test-log", "another log has taken over"), ("nobodys", "no export of that log")] {
        let error = refused(&folder, &third, Some(named)).await;
        assert!(error.to_string().contains(said), "{error}");
    }
    let mut script = Script::new(2);
    script.converted(at(DAY_3 + DAY_MS + HOUR, "third"), Some("purchase"));
    script.watermarks(DAY_3 + 2 * DAY_MS);
    run_until(&folder, &script.log_named("third-log", 8), Some("new-log"), DAY_3 + 2 * DAY_MS).await;
    let exported = folder.exported().await;
    assert!(
        exported.keys().any(|key| key.contains("date=2026-03-13") && key.contains("-g2.")),
        "{:?}",
        exported.keys()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_setting_over_a_bucket_without_that_export_is_refused() {
    let error = refused(&Folder::new(), &new_log(), Some("test-log")).await;
    assert!(matches!(error, Error::Succeeds { .. }), "{error}");
}
