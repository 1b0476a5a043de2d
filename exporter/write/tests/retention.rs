//! What goes when it is old, by log time, and what stays whatever its age.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_clock::ManualClock;
use millrace_exporter_write::{Account, Config};
use millrace_schemas::export::Published;
use millrace_schemas::layout::date_of;
use millrace_schemas::partition::{of_account, of_visitor};
use support::log::MemoryLog;
use support::script::{Doing, Script};
use support::{DAY_1, DAY_MS, Exporter, Folder, account, published, until};

const HOUR: i64 = 3_600_000;
const DAYS: i64 = 12;

fn config() -> Config {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    Config { segments_retention: days(2), export_retention: days(5), ..Config::default() }
}

/// Days with a row and a watermark every six hours, each sealed alone.
fn days(script: &mut Script, days: std::ops::Range<i64>, id: &'static str) {
    for quarter in days.start * 4..days.end * 4 {
        let process_ms = DAY_1 + quarter * 6 * HOUR;
        // One in either partition, so that both have segments to lose.
        for partition in 0..2 {
            let visitor = ["a", "b", "c", "d", "e"].into_iter().find(|visitor| of_visitor(id, visitor, 2) == partition);
            let visitor = visitor.unwrap();
            script.converted(
                Doing { account: id, visitor, uuid: "u", timestamp_ms: process_ms, process_ms },
                Some("purchase"),
            );
        }
        script.watermarks(process_ms + 6 * HOUR);
    }
}

fn start(log: &Arc<MemoryLog>, folder: &Folder, accounts: &[Account], config: Config) -> (Exporter, Arc<ManualClock>) {
    let clock = ManualClock::at(0);
    (Exporter::start(log, folder.store(), accounts, &clock, Config { seal_bytes: 1, ..config }, 1), clock)
}

async fn keys(folder: &Folder, prefix: &str) -> Vec<String> {
    folder.keys().await.into_iter().filter(|key| key.starts_with(prefix)).collect()
}

/// The days that an account has anything of.
async fn dates(folder: &Folder, prefix: &str) -> Vec<String> {
    let date = |key: &String| key.split('/').find_map(|part| part.strip_prefix("date=")).map(str::to_owned);
    keys(folder, prefix).await.iter().filter_map(date).collect::<BTreeSet<_>>().into_iter().collect()
}

fn text(day: i64) -> String {
    date_of(DAY_1 + day * DAY_MS).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_days_segments_records_and_plans_go_and_what_is_needed_stays() {
    let mut script = Script::new(2);
    days(&mut script, 0..DAYS, "acme");
    let (folder, log) = (Folder::new(), script.log(2));
    let (exporter, clock) = start(&log, &folder, &[account("acme", DAY_1)], config());
    published(&exporter, &clock, DAY_1 + DAYS * DAY_MS).await;
    // Twelve days have passed and five are kept.
    let kept: Vec<String> = (DAYS - 5..DAYS).map(text).collect();
    until("the old days to go", &clock, async || dates(&folder, "v1/account_id=acme/type=events/").await == kept).await;
    until("the rejects' days to go", &clock, async || dates(&folder, "rejected/").await == kept).await;
    until("their plans to go", &clock, async || {
        let plans = keys(&folder, "_millrace/plan/").await;
        let days: BTreeSet<&str> = plans.iter().filter_map(|key| key.split('/').nth(3)).collect();
        days.into_iter().collect::<Vec<_>>() == kept
    })
    .await;
    exporter.stop().await.unwrap();
    for day in &kept {
        let exported = keys(&folder, &format!("v1/account_id=acme/type=events/date={day}/")).await;
        assert!(exported.iter().any(|key| key.ends_with("/_SUCCESS")), "{exported:?}");
        assert_eq!(exported.len(), 4 + 2, "four files, a manifest, _SUCCESS: {exported:?}");
    }
    for partition in 0..2 {
        let prefix = format!("_millrace/segments/test-log/millrace.enriched/{partition:05}/");
        let segments = keys(&folder, &prefix).await;
        assert!(!segments.is_empty() && !segments.contains(&format!("{prefix}{:020}", 0)), "{segments:?}");
    }
    let shard = of_account("acme", 2);
    let records = keys(&folder, &format!("_millrace/published/test-log/{shard:05}/")).await;
    let oldest = Published::through_of_key(&records[0]).unwrap();
    assert_eq!(date_of(oldest).to_string(), text(DAYS - 5), "two days of segments, and three");

    // A new process goes on from what is left, and an account whose shard never published before is served too.
    let other = ["x", "y", "z"].into_iter().find(|id| of_account(id, 2) != shard).unwrap();
    let mut more = Script::new(2);
    days(&mut more, DAYS..DAYS + 2, other);
    more.write(&log, 0..more.len());
    let accounts = [account("acme", DAY_1), account(other, DAY_1 + DAYS * DAY_MS)];
    let (exporter, clock) = start(&log, &folder, &accounts, config());
    published(&exporter, &clock, DAY_1 + (DAYS + 2) * DAY_MS).await;
    exporter.stop().await.unwrap();
    assert_eq!(dates(&folder, &format!("v1/account_id={other}/type=events/")).await, [text(DAYS), text(DAYS + 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_last_account_is_closed_goes_on_and_keeps_nothing_from_going() {
    let other = ["x", "y", "z"].into_iter().find(|id| of_account(id, 2) != of_account("acme", 2)).unwrap();
    let mut script = Script::new(2);
    days(&mut script, 0..1, other);
    days(&mut script, 1..DAYS, "acme");
    let closed = Account { closed_ms: Some(DAY_1 + 20 * HOUR), ..account(other, DAY_1) };
    let (folder, log) = (Folder::new(), script.log(2));
    let (exporter, clock) = start(&log, &folder, &[account("acme", DAY_1), closed], config());
    published(&exporter, &clock, DAY_1 + DAYS * DAY_MS).await;
    until("the closed account's day to go", &clock, async || {
        keys(&folder, &format!("v1/account_id={other}/")).await.is_empty()
    })
    .await;
    for partition in 0..2 {
        let first = format!("_millrace/segments/test-log/millrace.enriched/{partition:05}/{:020}", 0);
        until("the first segments to go", &clock, async || !folder.has(&first).await).await;
    }
    exporter.stop().await.unwrap();

    // Opened again, so to speak: an account of that shard is served from its first day on.
    let mut more = Script::new(2);
    let late =
        ["x", "y", "z", "u", "v", "w"].into_iter().find(|id| *id != other && of_account(id, 2) == of_account(other, 2));
    let late = late.unwrap();
    days(&mut more, DAYS..DAYS + 2, late);
    more.write(&log, 0..more.len());
    let accounts = [account("acme", DAY_1), account(late, DAY_1 + DAYS * DAY_MS)];
    let (exporter, clock) = start(&log, &folder, &accounts, config());
    published(&exporter, &clock, DAY_1 + (DAYS + 2) * DAY_MS).await;
    exporter.stop().await.unwrap();
    assert_eq!(dates(&folder, &format!("v1/account_id={late}/type=events/")).await, [text(DAYS), text(DAYS + 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_clock_removes_nothing_and_a_partition_that_stalls_keeps_everything() {
    let mut script = Script::new(2);
    days(&mut script, 0..1, "acme");
    for hour in 0..DAYS * 24 {
        script.watermark(0, DAY_1 + DAY_MS + hour * HOUR);
    }
    let (folder, clock) = (Folder::new(), ManualClock::at(DAY_1 + 400 * DAY_MS));
    let exporter = Exporter::start(&script.log(2), folder.store(), &[account("acme", DAY_1)], &clock, config(), 1);
    published(&exporter, &clock, DAY_1 + DAY_MS).await;
    let before = folder.everything().await;
    let mut looks = 0;
    until("many looks at it", &clock, async || {
        looks += 1;
        looks > 50
    })
    .await;
    exporter.stop().await.unwrap();
    let after = folder.everything().await;
    assert!(before.keys().all(|key| after.contains_key(key)));
}
