//! A log that cannot be read for a while, and a group that is balanced anew again and again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use millrace_clock::{Clock, ManualClock};
use millrace_eventlog::faults::FaultyLog;
use millrace_exporter_write::{Account, Config, PART};
use support::log::MemoryLog;
use support::script::Script;
use support::{DAY_1, DAY_MS, Exporter, Folder, account, published, until, with_time};

const HOUR: i64 = 3_600_000;
const THROUGH: i64 = DAY_1 + DAY_MS + HOUR;

fn accounts() -> Vec<Account> {
    ["a", "b", "busy", "slow"].map(|id| account(id, DAY_1)).into()
}

fn config() -> Config {
    Config { seal_bytes: 2_000, seal_age: Duration::from_secs(2), ..Config::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_away_for_minutes_ends_nothing_shows_in_readiness_and_is_gone_on_with() {
    let script = Script::random(2, 3, 60, DAY_1 + 22 * HOUR, THROUGH + HOUR);
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let log = MemoryLog::new("test-log", 2, 8);
    let faulty = FaultyLog::over(Arc::clone(&log) as _);
    // Away from the beginning: not even the group can be joined.
    faulty.set_readable(false);
    let exporter = Exporter::start_on(Arc::clone(&faulty) as _, folder.store(), &accounts(), &clock, config(), 1);
    let away = async || {
        let told = exporter.readiness.check().err().and_then(|wrong| wrong.into_iter().find(|(part, _)| *part == PART));
        told.is_some_and(|(_, reason)| reason.contains("the log cannot be read now"))
    };
    until("it says that the log is away", &clock, away).await;
    faulty.set_readable(true);
    until("it is ready", &clock, async || exporter.readiness.check().is_ok()).await;
    let half = script.len() / 2;
    script.write(&log, 0..half);
    until("something is sealed", &clock, async || !exporter.progress.snapshot().partitions.is_empty()).await;
    // Away in the middle, for longer than any member keeps its patience.
    faulty.set_readable(false);
    script.write(&log, half..script.len());
    let back_at = clock.elapsed() + Duration::from_secs(600);
    until("ten minutes have passed", &clock, async || clock.elapsed() >= back_at).await;
    assert!(away().await && !exporter.has_ended());
    faulty.set_readable(true);
    published(&exporter, &clock, THROUGH).await;
    assert_eq!(exporter.readiness.check(), Ok(()));
    exporter.stop().await.unwrap();

    let undisturbed = Folder::new();
    let exporter = Exporter::start(&script.log(8), undisturbed.store(), &accounts(), &clock, config(), 1);
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();
    let out = |mut exported: std::collections::BTreeMap<String, _>| {
        exported.retain(|key, _| !key.contains("date=2026-03-11") || key.contains("/part-00"));
        exported
    };
    assert!(out(folder.exported().await) == out(undisturbed.exported().await), "not the same files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_partitions_that_come_and_go_in_storms_are_sealed_and_published_once() {
    const PARTITIONS: u32 = 64;
    let script = Script::random(PARTITIONS, 5, 400, DAY_1 + 22 * HOUR, THROUGH + HOUR);
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let log = MemoryLog::new("test-log", PARTITIONS, 8);
    let exporter = Exporter::start(&log, folder.store(), &accounts(), &clock, config(), 1);
    let storms = async {
        for at in 0..script.len() {
            script.write(&log, at..at + 1);
            if at % 50 == 0 {
                (0..PARTITIONS).for_each(|partition| log.revoke(partition));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    with_time(&clock, storms).await;
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();

    let undisturbed = Folder::new();
    let exporter = Exporter::start(&script.log(8), undisturbed.store(), &accounts(), &clock, config(), 1);
    published(&exporter, &clock, THROUGH).await;
    exporter.stop().await.unwrap();
    let day = |mut exported: std::collections::BTreeMap<String, _>| {
        exported.retain(|key, _| key.contains("date=2026-03-10"));
        exported
    };
    let (stormy, calm) = (day(folder.exported().await), day(undisturbed.exported().await));
    assert_eq!(stormy.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
    assert!(stormy == calm, "the same keys, but not the same bytes");
}
