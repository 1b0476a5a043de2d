//! What comes out, whatever way it was sealed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_clock::ManualClock;
use millrace_exporter_write::visible::Visible;
use millrace_exporter_write::{Account, Config, limits};
use millrace_schemas::export::Manifest;
use millrace_schemas::layout::{AccountId, ExportType};
use proptest::prelude::*;
use support::script::{Doing, RowId, Script};
use support::store::scramble;
use support::{DAY_1, DAY_MS, Exporter, Folder, account, parquet, published};
use tokio_util::sync::CancellationToken;

const HOUR: i64 = 3_600_000;

/// Three days with two midnights; the first begins late.
fn three_days(seed: u64) -> Script {
    Script::random(4, seed, 160, DAY_1 + 20 * HOUR, DAY_1 + 2 * DAY_MS + 3 * HOUR)
}

fn accounts() -> Vec<Account> {
    let mut accounts = vec![account("a", DAY_1 + HOUR), account("b", DAY_1 + HOUR), account("busy", DAY_1 + HOUR)];
    accounts.push(Account { slot_ms: Some(HOUR), ..account("slow", DAY_1 + HOUR) });
    accounts.push(account("silent", DAY_1 + HOUR));
    accounts
}

/// Everything that is exported of a script.
async fn export(script: &Script, batch: usize, config: Config) -> BTreeMap<String, Bytes> {
    let folder = Folder::new();
    let clock = ManualClock::at(0);
    let exporter = Exporter::start(&script.log(batch), folder.store(), &accounts(), &clock, config, 1);
    published(&exporter, &clock, DAY_1 + 2 * DAY_MS + 2 * HOUR).await;
    exporter.stop().await.unwrap();
    folder.exported().await
}

/// The start of the slot in a file's name, and its length, ms.
fn slot_of(key: &str) -> (i64, i64) {
    let parts: Vec<&str> = key.rsplit('/').next().unwrap().split('-').collect();
    let number = |text: &str| text.parse::<i64>().unwrap();
    let start = number(&parts[1][..2]) * 3600 + number(&parts[1][2..4]) * 60 + number(&parts[1][4..]);
    (start * 1000, number(parts[2]) * 1000)
}

/// Rows of each folder, from files whose slots are theirs and whose rows are in order.
fn rows_of(exported: &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<RowId>> {
    let mut rows: BTreeMap<String, Vec<RowId>> = BTreeMap::new();
    for (key, bytes) in exported.iter().filter(|(key, _)| key.ends_with(".parquet")) {
        let folder = &key[..=key.rfind('/').unwrap()];
        let rejects = key.starts_with("rejected/");
        let (start, length) = slot_of(key);
        let mut before: Option<(String, i64)> = None;
        for row in parquet::rows(bytes) {
            let process_ms = parquet::millis(&row, "process_timestamp");
            let in_day = process_ms.rem_euclid(DAY_MS);
            assert!((start..start + length).contains(&in_day), "{key} holds a row of another slot");
            let timestamp_ms = if rejects { process_ms } else { parquet::millis(&row, "timestamp") };
            let visitor = parquet::text(&row, "visitor_id").unwrap();
            let order = (visitor.clone(), timestamp_ms);
            assert!(before.is_none_or(|before| before <= order), "{key} is not in order");
            before = Some(order);
            let uuid = parquet::text(&row, "uuid").unwrap_or_default();
            rows.entry(folder.to_owned()).or_default().push((visitor, timestamp_ms, uuid, process_ms));
        }
    }
    rows
}

fn sorted(mut rows: BTreeMap<String, Vec<RowId>>) -> BTreeMap<String, Vec<RowId>> {
    rows.values_mut().for_each(|rows| rows.sort());
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_in_the_folder_of_its_name_and_day_and_in_no_other() {
    let script = three_days(1);
    let exported = export(&script, 50, Config::default()).await;
    let through = DAY_1 + 2 * DAY_MS + 2 * HOUR;
    let mut expected = script.rows.clone();
    let mut found = rows_of(&exported);
    // The last hours may be out or not; all before must be.
    for rows in expected.values_mut().chain(found.values_mut()) {
        rows.retain(|row| row.3 < through);
    }
    expected.retain(|_, rows| !rows.is_empty());
    found.retain(|_, rows| !rows.is_empty());
    assert_eq!(sorted(found), sorted(expected));
    for name in ["event=add%3Ato%3Acart", "event=%4EULL", "event=NULL", "event=a b", "event=naïve ☃", "event=%7Eother"]
    {
        assert!(exported.keys().any(|key| key.contains(&format!("/{name}/"))), "no key in {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_day_has_a_manifest_and_success_for_every_account_and_type_and_the_numbers_add_up() {
    let script = three_days(2);
    let exported = export(&script, 50, Config::default()).await;
    let mut rows_of_day: BTreeMap<String, u64> = BTreeMap::new();
    for (prefix, rows) in &script.rows {
        let day = prefix.find("date=").map(|at| &prefix[..at + "date=2026-03-10/".len()]).unwrap();
        *rows_of_day.entry(day.to_owned()).or_default() += rows.len() as u64;
    }
    let mut closed = 0;
    for account in accounts() {
        for date in ["2026-03-10", "2026-03-11"] {
            let root = format!("account_id={}", account.id);
            for of_type in ["v1/{}/type=decisions", "v1/{}/type=events", "rejected/v1/{}"] {
                let day = format!("{}/date={date}/", of_type.replace("{}", &root));
                let manifest =
                    exported.get(&format!("{day}_manifest.json")).unwrap_or_else(|| panic!("no manifest in {day}"));
                assert_eq!(exported.get(&format!("{day}_SUCCESS")).map(Bytes::len), Some(0), "{day}");
                let manifest = Manifest::from_json(manifest).unwrap();
                assert_eq!(manifest.rows, rows_of_day.get(&day).copied().unwrap_or_default(), "{day}");
                assert_files(&manifest, &day, &exported);
                closed += 1;
            }
        }
    }
    assert_eq!(closed, 30);
    assert!(!exported.keys().any(|key| key.contains("date=2026-03-12/_")), "the third day is not over");
}

/// The manifest lists exactly the day's files, with their sizes, sums and rows.
fn assert_files(manifest: &Manifest, day: &str, exported: &BTreeMap<String, Bytes>) {
    use sha2::{Digest, Sha256};
    let in_bucket: Vec<&String> =
        exported.keys().filter(|key| key.starts_with(day) && key.ends_with(".parquet")).collect();
    assert_eq!(manifest.files.iter().map(|file| &file.key).collect::<Vec<_>>(), in_bucket);
    for file in &manifest.files {
        let bytes = &exported[&file.key];
        assert_eq!((file.bytes, &file.sha256), (bytes.len() as u64, &hex::encode(Sha256::digest(bytes))));
        assert_eq!(file.rows, parquet::rows(bytes).len() as u64);
    }
    assert_eq!(manifest.files.iter().map(|file| file.rows).sum::<u64>(), manifest.rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_segments_makes_the_same_files_byte_for_byte(
        seed in 0..1_000_u64,
        batch in 1..40_usize,
        seal_bytes in 1..20_000_usize,
        seal_age_s in 0..120_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let script = three_days(seed);
            let whole = export(&script, 10_000, Config::default()).await;
            let config = Config { seal_bytes, seal_age: Duration::from_secs(seal_age_s), ..Config::default() };
            let split = export(&script, batch, config).await;
            let through = |exported: BTreeMap<String, Bytes>| {
                exported.into_iter().filter(|(key, _)| !is_late(key)).collect::<BTreeMap<_, _>>()
            };
            let (whole, split) = (through(whole), through(split));
            assert_eq!(whole.keys().collect::<Vec<_>>(), split.keys().collect::<Vec<_>>());
            for (key, bytes) in &whole {
                assert_eq!(bytes, &split[key], "{key}");
            }
            assert!(whole.len() > 50, "{} keys are no test", whole.len());
        });
    }
}

/// Whether a key belongs to the last hours, which need not be out yet.
fn is_late(key: &str) -> bool {
    key.contains("date=2026-03-12") && key.ends_with(".parquet") && {
        let (start, length) = slot_of(key);
        start + length > 2 * HOUR
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_larger_than_the_memory_is_merged_as_a_stream_to_the_same_bytes() {
    let mut script = Script::new(2);
    let visitors: Vec<String> = (0..40).map(|number| format!("visitor-{number}")).collect();
    for number in 0..1_200_u64 {
        // Names that do not compress, so that segments have many blocks.
        let noise: String = (0..40).map(|part| format!("{:016x}", scramble(number * 100 + part))).collect();
        let process_ms = DAY_1 + i64::try_from(number).unwrap() * 60_000;
        let visitor = &visitors[usize::try_from(scramble(number) % 40).unwrap()];
        let doing = Doing { account: "busy", visitor, uuid: &noise, timestamp_ms: process_ms, process_ms };
        script.converted(doing, Some(["x", "y"][usize::try_from(number % 2).unwrap()]));
    }
    script.watermarks(DAY_1 + DAY_MS);
    let slot = |seconds| Some(Duration::from_secs(seconds));
    let run = async |config: Config| {
        let (folder, clock) = (Folder::new(), ManualClock::at(0));
        let exporter = Exporter::start(&script.log(100), folder.store(), &[account("busy", DAY_1)], &clock, config, 1);
        published(&exporter, &clock, DAY_1 + DAY_MS).await;
        exporter.stop().await.unwrap();
        folder.exported().await
    };
    for slot in [slot(21_600), slot(600)] {
        let config = Config { slot, rows_per_file: 70, ..Config::default() };
        let roomy = run(config.clone()).await;
        let tight = run(Config { memory_bytes: limits::MEMORY_BYTES_MIN, ..config }).await;
        assert_eq!(roomy.keys().collect::<Vec<_>>(), tight.keys().collect::<Vec<_>>());
        assert!(roomy == tight, "the same keys, but not the same bytes");
        assert_eq!(rows_of(&roomy).values().map(Vec::len).sum::<usize>(), 1_200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_learn_what_is_complete_and_which_days_are_closed() {
    let mut script = Script::new(2);
    let doing = Doing { account: "slow", visitor: "v", uuid: "u", timestamp_ms: DAY_1, process_ms: DAY_1 + 5 };
    script.converted(doing, Some("x"));
    script.watermarks(DAY_1 + DAY_MS);
    script.watermarks(DAY_1 + DAY_MS + 90 * 60_000 + 30_000);
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let exporter = Exporter::start(&script.log(1), folder.store(), &accounts(), &clock, Config::default(), 1);
    published(&exporter, &clock, DAY_1 + DAY_MS + 90 * 60_000).await;
    exporter.stop().await.unwrap();

    let visible = Visible::new(folder.store(), clock, CancellationToken::new(), "test-log", 2);
    let complete = async |id: &str| visible.complete_through(&AccountId::parse(id).unwrap()).await.unwrap();
    assert_eq!(complete("a").await, Some(DAY_1 + DAY_MS + 90 * 60_000));
    assert_eq!(complete("slow").await, Some(DAY_1 + DAY_MS + HOUR), "its slots are an hour long");
    let nothing = Visible::new(folder.store(), ManualClock::at(0), CancellationToken::new(), "no-log", 2);
    assert_eq!(nothing.complete_through(&AccountId::parse("a").unwrap()).await.unwrap(), None);
    for of_type in [ExportType::Decisions, ExportType::Events, ExportType::Rejected] {
        let days = visible.closed_days(&AccountId::parse("silent").unwrap(), of_type).await.unwrap();
        assert_eq!(days.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2026-03-10"]);
    }
}
