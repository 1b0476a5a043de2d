//! Three days across two midnights, in process, on a clock that is moved by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace::{App, Config, Listeners};
use millrace_clock::ManualClock;
use millrace_harness::day::{key, manifest_of_closed, manifest_of_listed};
use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::export::Listed;
use millrace_harness::rows::Row;
use millrace_harness::{Api, Demo, Export, rows, until};
use millrace_schemas::partition;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// 2026-03-01T23:50:00Z: ten minutes before a midnight.
const START_MS: i64 = 1_772_409_000_000;
const DAYS: [&str; 3] = ["2026-03-01", "2026-03-02", "2026-03-03"];
const TYPES: [&str; 3] = ["decisions", "events", "rejected"];
/// The first moment of the year 10000: no event may be as late.
const TOO_LATE_MS: i64 = 253_402_300_800_000;
const REAL_TIME: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_close_by_ticks_alone_and_add_up_and_never_change_after() {
    let home = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(START_MS);
    let running = start(home.path(), &clock).await;
    let (api, account) = (Api::of(&running.demo), running.demo.account().to_owned());
    // Partition 2 falls silent after the first minute, partition 3 stays empty for good.
    let in_partition = |wanted: u32, count: usize| -> Vec<String> {
        let names = (0..).map(|n| format!("visitor-{n}"));
        names.filter(|name| partition::of_visitor(&account, name, 4) == wanted).take(count).collect()
    };
    let visitors = [in_partition(0, 5), in_partition(1, 5), in_partition(2, 1)].concat();
    let mut first: Vec<Value> = visitors.iter().flat_map(|name| day_of(name, "day1", START_MS)).collect();
    // Two bad events in the batch: sent twice like the good ones, they are rejects once and duplicates once.
    first.push(conversion(&visitors[0], "before-1970", "purchase", -1));
    first.push(conversion(&visitors[5], "after-9999", "purchase", TOO_LATE_MS));
    let first = batch(&account, first);
    api.post_taken(&first).await;
    api.post_taken(&first).await;
    clock.advance(Duration::from_secs(9 * 60 + 58));
    // Arrives two seconds before midnight and is held beyond it: it belongs to the day it arrived in.
    let last = conversion(&visitors[0], "before-midnight", "purchase", START_MS + 1);
    api.post_taken(&batch(&account, vec![last])).await;

    let store = home.path().join("data/store");
    let export = Export::of_folder(&store, &account).unwrap();
    pass_until_closed(&clock, &export, DAYS[0]).await;
    // By now there is the root of the rejects, which the account's scope does not show.
    let rejects = Export::of_folder(&store.join("rejected"), &account).unwrap();
    let closed_first = day(&export, &rejects, DAYS[0]).await;
    let mut second: Vec<Value> = visitors[..3].iter().flat_map(|name| day_of(name, "day2", START_MS + 2)).collect();
    // Two visitors without a decision before them.
    let stranger = in_partition(0, 6).pop().unwrap();
    second.push(conversion(&stranger, "no-decision", "purchase", START_MS));
    second.push(conversion(&visitors[1], "too-early", "purchase", START_MS - 1_000));
    let second = batch(&account, second);
    api.post_taken(&second).await;
    pass_until_closed(&clock, &export, DAYS[1]).await;
    let closed_second = day(&export, &rejects, DAYS[1]).await;
    pass_until_closed(&clock, &export, DAYS[2]).await;

    let none = json!({"no_decision": 0, "decision_later": 0, "outside_window": 0});
    let two = json!({"no_decision": 1, "decision_later": 1, "outside_window": 0});
    adds_up(&export, DAYS[0], "decisions", 11, 11, &none).await;
    adds_up(&export, DAYS[0], "events", 12, 11, &none).await;
    adds_up(&export, DAYS[1], "decisions", 3, 0, &none).await;
    adds_up(&export, DAYS[1], "events", 5, 0, &two).await;
    adds_up(&export, DAYS[2], "events", 0, 0, &none).await;
    two_were_rejected(&export, &rejects, [&visitors[0], &visitors[5]]).await;
    for (date, sent) in DAYS.into_iter().zip([2 * events_in(&first) + 1, events_in(&second), 0]) {
        let told = events_told_of(&export, &rejects, date).await;
        assert_eq!(told, sent, "every event sent on {date} is in one of its three manifests");
    }
    assert_eq!(day(&export, &rejects, DAYS[0]).await, closed_first, "nothing changes after _SUCCESS");
    assert_eq!(day(&export, &rejects, DAYS[1]).await, closed_second, "nothing changes after _SUCCESS");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_is_refused_and_believed_again_once_it_is_right() {
    let home = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(START_MS);
    let running = start(home.path(), &clock).await;
    let (api, account) = (Api::of(&running.demo), running.demo.account());
    let event = |uuid: &str| batch(account, vec![conversion("ann", uuid, "purchase", START_MS)]);
    api.post_taken(&event("before")).await;

    clock.set_wall(START_MS + 30 * 24 * 3_600_000);
    // It waits a little for the clock to be mended before it refuses: time has to go on.
    let (api_too, body) = (api.clone(), event("ahead"));
    let refused = tokio::spawn(async move { api_too.post(&body).await });
    until("an answer", REAL_TIME, async || {
        clock.advance(Duration::from_millis(50));
        if refused.is_finished() { Ok(()) } else { Err("none yet") }
    })
    .await;
    let answer = refused.await.unwrap().unwrap();
    assert_eq!(answer.status, 503, "a clock a month ahead would close a month of days: {}", answer.text());
    assert!(!answer.header("Retry-After").is_empty());

    clock.set_wall(START_MS + 10_000);
    api.post_taken(&event("after")).await;
    let export = Export::of_folder(&home.path().join("data/store"), account).unwrap();
    until("both rows, of one day", REAL_TIME, async || {
        clock.advance(Duration::from_secs(1));
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        let uuids: Vec<String> = rows.iter().map(|row| rows::text(&row["uuid"])).collect();
        assert!(rows.iter().all(|row| rows::text(&row["_key"]).contains(DAYS[0])), "{rows:?}");
        if uuids.len() == 2 { Ok(()) } else { Err(format!("{uuids:?}")) }
    })
    .await;
    running.stop().await;
}

/// Millrace in this process.
struct Running {
    app: App,
    demo: Demo,
    stop: CancellationToken,
}

async fn start(home: &Path, clock: &Arc<ManualClock>) -> Running {
    let mut config = Config::load(None, Vec::new(), &[]).expect("the defaults are a configuration");
    config.data = home.join("data");
    let listeners = Listeners::on_free_ports().await.unwrap();
    let stop = CancellationToken::new();
    let shared: Arc<ManualClock> = Arc::clone(clock);
    let app = App::start(config, shared, listeners, stop.clone()).await.expect("it starts");
    until("it to be ready", REAL_TIME, async || {
        clock.advance(Duration::from_millis(10));
        app.readiness().check().map_err(|wrong| format!("{wrong:?}"))
    })
    .await;
    let demo = Demo::read(&home.join("data/demo.env")).unwrap();
    Running { app, demo, stop }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.app.finished().await.expect("it stops well");
    }
}

/// A decision and a conversion of a visitor, with uuids of their own.
fn day_of(visitor: &str, day: &str, timestamp_ms: i64) -> [Value; 2] {
    [
        decision(visitor, &format!("{day}-decided-{visitor}"), "9300", "9302", timestamp_ms),
        conversion(visitor, &format!("{day}-bought-{visitor}"), "purchase", timestamp_ms),
    ]
}

/// How many events a batch holds: the tests' visitor objects have one each.
fn events_in(batch: &Value) -> u64 {
    batch["visitors"].as_array().unwrap().len() as u64
}

/// Lets time pass, in steps no longer than ten minutes, until every type of a day has `_SUCCESS`. Nothing is sent.
async fn pass_until_closed(clock: &ManualClock, export: &Export, date: &str) {
    let end_ms = chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").unwrap().succ_opt().unwrap();
    let end_ms = end_ms.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
    until(&format!("{date} to close"), REAL_TIME, async || {
        let listed = export.list().await.map_err(|error| error.to_string())?;
        let mut open = Vec::new();
        for of_type in TYPES {
            // Asked for by key: no listing shows the rejects.
            if export.read(&key(&listed, of_type, date, "_SUCCESS")).await.is_err() {
                open.push(of_type);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let long = millrace_clock::Clock::now_ms(clock) < end_ms;
        clock.advance(if long { Duration::from_secs(600) } else { Duration::from_secs(1) });
        Err(format!("{open:?} open, {} keys", listed.len()))
    })
    .await;
}

/// All keys of a day, of every type.
async fn day(export: &Export, rejects: &Export, date: &str) -> BTreeMap<String, Listed> {
    let mut listed = export.list().await.unwrap();
    listed.retain(|key, _| key.contains(&format!("/date={date}/")));
    listed.extend(day_of_rejects(rejects, date).await);
    listed
}

/// All keys of a day's rejects, from the root of the store.
async fn day_of_rejects(rejects: &Export, date: &str) -> BTreeMap<String, Listed> {
    let mut listed = rejects.list().await.unwrap();
    listed.retain(|key, _| key.contains(&format!("/date={date}/")));
    listed.into_iter().map(|(key, listed)| (format!("rejected/{key}"), listed)).collect()
}

/// The first day's two bad events, of these visitors, are in the manifest and the rows of its rejects: each once.
async fn two_were_rejected(export: &Export, rejects: &Export, visitors: [&str; 2]) {
    let keys: Vec<String> = day_of_rejects(rejects, DAYS[0]).await.into_keys().collect();
    let manifest = manifest_of_listed(export, "rejected", DAYS[0], &keys).await.unwrap();
    let told = ["rejected", "dead", "duplicate", "rows"].map(|what| &manifest[what]);
    assert_eq!(told, [&json!({"out_of_range": 2}), &json!(0), &json!(2), &json!(2)], "{manifest:#}");

    let mut found: Vec<Row> = Vec::new();
    for key in keys.iter().filter(|key| key.ends_with(".parquet")) {
        found.extend(rows::read(export.read(key).await.unwrap(), &[]).unwrap());
    }
    found.sort_by_key(|row| row["position"].as_i64());
    assert_eq!(found.len(), 2, "{found:?}");
    let sent = [("before-1970", "-1"), ("after-9999", "253402300800000")];
    for (at, (row, (uuid, timestamp))) in found.iter().zip(sent).enumerate() {
        // They stand at the end of the batch, after eleven visitors' decisions and conversions.
        let position = (22 + at).to_string();
        let field = format!("visitors[{position}].snapshots[0].events[0].timestamp");
        let told =
            ["uuid", "visitor_id", "outcome", "reason", "field", "position"].map(|column| rows::text(&row[column]));
        let expected = [uuid, visitors[at], "rejected", "out_of_range", &field, &position];
        assert_eq!(told, expected, "{row:?}");
        assert!(rows::text(&row["original"]).contains(timestamp), "the bytes as sent are kept: {row:?}");
    }
}

/// All events of a closed day that its three manifests tell of: accepted, duplicates, and rejects of any reason.
async fn events_told_of(export: &Export, rejects: &Export, date: &str) -> u64 {
    let keys: Vec<String> = day_of_rejects(rejects, date).await.into_keys().collect();
    let rejected = manifest_of_listed(export, "rejected", date, &keys).await.unwrap();
    let mut counts: Vec<Value> = ["rejected", "dead", "duplicate"].map(|what| rejected[what].clone()).into();
    for of_type in ["decisions", "events"] {
        let manifest = manifest_of_closed(export, of_type, date).await.unwrap();
        counts.push(manifest["events"].clone());
    }
    // A count, or several by name.
    let count = |told: &Value| match told.as_object() {
        Some(by_name) => by_name.values().filter_map(Value::as_u64).sum::<u64>(),
        None => told.as_u64().unwrap(),
    };
    counts.iter().map(count).sum()
}

/// The manifest of a closed day says what was sent.
async fn adds_up(export: &Export, date: &str, of_type: &str, accepted: usize, duplicate: usize, unattributed: &Value) {
    let manifest = manifest_of_closed(export, of_type, date).await.unwrap();
    let what = format!("{date} {of_type}: {manifest:#}");
    assert_eq!(manifest["events"], json!({"accepted": accepted, "duplicate": duplicate}), "{what}");
    assert_eq!(manifest["rows"], json!(accepted), "one row an event here; {what}");
    if of_type == "events" {
        assert_eq!(&manifest["unattributed"], unattributed, "{what}");
    }
}
