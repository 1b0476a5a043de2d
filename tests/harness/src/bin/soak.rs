//! The long test: `tests/soak` builds and runs it.
//!
//! First a steady load for an hour: memory flat, freshness flat, every acknowledged event visible once, and
//! `millrace status` agrees. Then kills. A line a minute says how it goes; the exit code says how it went.

#![allow(clippy::expect_used, reason = "a soak that cannot go on panics")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use millrace_harness::crash::kill_under_load;
use millrace_harness::day::manifest_of_closed;
use millrace_harness::load::{Load, Plan, Sent, percentile};
use millrace_harness::wait::{clock, pause};
use millrace_harness::{Export, Follower, Launch, Server, until};
use serde_json::Value;

/// A data team looks at the listing this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The oldest row of a new file may be this old when it is first seen: slot, grace, tick, seal age, 2 s, one look.
const FRESH_MS: i64 = 25_000;
/// Rows may be this much older in the last third of the load than in the first: one look.
const FRESH_DRIFT_MS: i64 = 2_000;
/// Memory may grow by this much from the first third of the load to the last: a tenth, and what buffers need.
const MEMORY_GROWTH_PERCENT: u64 = 10;
const MEMORY_GROWTH_BYTES: u64 = 32 * 1024 * 1024;
/// Within this time `status` has counted what is visible: the exporter counts a segment before it publishes from it, and
/// tells at the end of its round.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);

/// Runs Millrace under load and watches it.
#[derive(Parser)]
struct Args {
    /// The binary to run.
    #[arg(long, default_value = "target/release/millrace")]
    binary: String,
    /// How long the steady load lasts.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Events a second of the steady load.
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// How often the process is killed after it; 0: never.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Decides the moments of the kills; a new one each time unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the data folders are made; the system's temporary folder unless given.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let home = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    if args.minutes > 0 {
        steady(&args, &Launch::new(&args.binary, &home.path().join("steady"))).await?;
    }
    if args.kills > 0 {
        let seed = args.seed.unwrap_or_else(|| clock().now_ms().unsigned_abs());
        println!("{} kills, --seed {seed}", args.kills);
        kill_under_load(&Launch::new(&args.binary, &home.path().join("killed")).fast(), args.kills, seed).await;
    }
    println!("ok");
    Ok(())
}

const DAY_MS: i64 = 86_400_000;

fn date_of(ms: i64) -> anyhow::Result<String> {
    Ok(chrono::DateTime::from_timestamp_millis(ms).context("a time that has a date")?.format("%F").to_string())
}

fn status(launch: &Launch) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&launch.command_ok(&["status", "--json"]))?)
}

/// Every day that is over by `through` has closed with all its rows. There is one where the load crossed a midnight (UTC).
async fn check_closed_days(export: &Export, follower: &Follower, through: i64) -> anyhow::Result<()> {
    let mut end = follower.oldest_ms().div_euclid(DAY_MS) * DAY_MS + DAY_MS;
    while end <= through {
        let date = date_of(end - DAY_MS)?;
        let mut rows = 0;
        for of_type in ["decisions", "events"] {
            let manifest = manifest_of_closed(export, of_type, &date).await?;
            rows += manifest["rows"].as_u64().unwrap_or_default();
        }
        let seen = follower.rows_before(end) - follower.rows_before(end - DAY_MS);
        ensure!(rows == seen as u64, "{date} has {rows} rows by its manifests, {seen} were seen");
        println!("{date} closed on the way: {rows} rows by manifests, listing and files");
        end += DAY_MS;
    }
    Ok(())
}

/// `millrace status` says of the newest day what was acknowledged of it. `follower` has seen every row: one an event.
///
/// It tells of the day at hand alone, as far as it is sealed: where the load has crossed a midnight (UTC) the rows of the
/// newest day are what it must come to, and once that day is over itself it tells nothing that could be compared.
async fn check_counts(launch: &Launch, follower: &Follower, sent: &Sent) -> anyhow::Result<()> {
    let (acknowledged, rows) = (sent.events().count(), follower.row_count());
    ensure!(rows == acknowledged, "{acknowledged} events were acknowledged, {rows} rows are visible");
    let began_ms = follower.newest_ms().div_euclid(DAY_MS) * DAY_MS;
    if clock().now_ms() >= began_ms + DAY_MS {
        println!("status: the day of the last event is over, its counts are in its manifests");
        return Ok(());
    }
    let (date, of_day) = (date_of(began_ms)?, rows - follower.rows_before(began_ms));
    let events = until("status to have counted every event", COUNTED_WITHIN, async || {
        let told = status(launch).map_err(|error| error.to_string())?["events"].clone();
        let all = told["date"] == date && told["accepted"] == of_day;
        if all { Ok(told) } else { Err(format!("{told}, but {of_day} were acknowledged on {date}")) }
    })
    .await;
    println!("status: {events}");
    // What was sent again is a duplicate where it had been taken the first time.
    let again = sent.resent * sent.plan.per_request;
    let duplicate = events["duplicate"].as_u64().context("duplicate")?;
    ensure!(duplicate <= again, "status tells of {duplicate} duplicates; {again} events were sent again");
    ensure!(events["rejected"] == 0, "status tells of rejects; none was sent: {events}");
    Ok(())
}

/// One minute of the steady load.
struct Minute {
    memory_bytes: u64,
    freshness_ms_max: i64,
}

async fn steady(args: &Args, launch: &Launch) -> anyhow::Result<()> {
    let server = launch.start().await;
    let plan = Plan {
        account: server.demo().account().to_owned(),
        name: "soak".into(),
        rate: args.rate,
        per_request: 20,
        senders: 8,
        visitors: 100_000,
    };
    let load = Load::start(plan, &server.api());
    let mut follower = Follower::default();
    let mut minutes = Vec::new();
    println!("minute  acknowledged  visible rows  memory MB  oldest row when seen, s  answer p50 ms  p99 ms");
    for number in 1..=args.minutes {
        let minute = one_minute(number, &server, &load, &mut follower).await?;
        minutes.push(minute);
    }
    // While events come: a quiet partition is sealed less often, and what is complete is known a little later.
    let told = status(launch)?;
    println!("status: {told}");
    let lag = told["accounts"][0]["lag_ms"].as_i64().unwrap_or(i64::MAX);
    ensure!(lag <= FRESH_MS, "status says that the export is {lag} ms behind; the promise is {FRESH_MS}");
    let through = told["accounts"][0]["complete_through_ms"].as_i64().unwrap_or_default();
    let export = Export::open(server.demo()).await?;
    follower.take(&export).await?;
    let complete = follower.rows_before(through);
    let sent = load.stop().await;
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(60)).await;
    check_counts(launch, &follower, &sent).await?;
    sent.assert_attributed(&follower);
    follower.take_all_again(&export).await?;
    check_closed_days(&export, &follower, through).await?;
    let later = follower.rows_before(through) - complete;
    ensure!(later == 0 && complete > 0, "status said complete through {through}; {later} rows of before came after it");
    let acknowledged = sent.events().count();
    println!("all {acknowledged} acknowledged events are visible once; {} requests were sent again", sent.resent);

    ensure!(server.terminate().await.success(), "SIGTERM ends it well");
    check_memory(&minutes)?;
    check_freshness(&minutes)
}

async fn one_minute(number: u64, server: &Server, load: &Load, follower: &mut Follower) -> anyhow::Result<Minute> {
    let began = clock().elapsed();
    let mut minute = Minute { memory_bytes: 0, freshness_ms_max: 0 };
    // Credentials of this minute's own: they live for an hour, the load may last longer.
    let export = Export::open(server.demo()).await?;
    while clock().elapsed() - began < Duration::from_secs(60) {
        let listed_ms = clock().now_ms();
        let new = follower.take(&export).await?;
        let oldest = new.iter().map(|row| listed_ms - row.process_timestamp_ms).max().unwrap_or(0);
        minute.freshness_ms_max = minute.freshness_ms_max.max(oldest);
        minute.memory_bytes = minute.memory_bytes.max(server.memory_bytes());
        pause(LOOK_EVERY).await;
    }
    let latencies = load.take_latencies_us();
    println!(
        "{number:6}  {:12}  {:12}  {:9}  {:23.1}  {:13.1}  {:6.1}",
        load.acknowledged(),
        follower.row_count(),
        minute.memory_bytes / (1024 * 1024),
        minute.freshness_ms_max as f64 / 1000.0,
        f64::from(percentile(&latencies, 50)) / 1000.0,
        f64::from(percentile(&latencies, 99)) / 1000.0,
    );
    Ok(minute)
}

/// The first third of the load and the last; none of a load that is too short.
fn thirds(minutes: &[Minute]) -> Option<(&[Minute], &[Minute])> {
    let third = minutes.len() / 3;
    (third > 0).then(|| (&minutes[..third], &minutes[minutes.len() - third..]))
}

fn check_memory(minutes: &[Minute]) -> anyhow::Result<()> {
    let Some((first, last)) = thirds(minutes) else {
        println!("memory: too short a load to say");
        return Ok(());
    };
    let mean = |part: &[Minute]| part.iter().map(|minute| minute.memory_bytes).sum::<u64>() / part.len() as u64;
    let (first, last) = (mean(first), mean(last));
    let bound = first + first * MEMORY_GROWTH_PERCENT / 100 + MEMORY_GROWTH_BYTES;
    println!("memory: {first} bytes in the first third, {last} in the last, at most {bound} allowed");
    ensure!(last <= bound, "memory grew from {first} to {last} bytes");
    Ok(())
}

fn check_freshness(minutes: &[Minute]) -> anyhow::Result<()> {
    let stale = minutes.iter().map(|minute| minute.freshness_ms_max).max().unwrap_or_default();
    ensure!(stale <= FRESH_MS, "a row was {stale} ms old when it was first seen; the promise is {FRESH_MS}");
    let Some((first, last)) = thirds(minutes) else {
        println!("freshness: too short a load to say whether it is flat");
        return Ok(());
    };
    let mean = |part: &[Minute]| part.iter().map(|minute| minute.freshness_ms_max).sum::<i64>() / part.len() as i64;
    let (first, last) = (mean(first), mean(last));
    let bound = first + FRESH_DRIFT_MS;
    println!(
        "freshness: a minute's oldest row {first} ms in the first third, {last} in the last, at most {bound} allowed"
    );
    ensure!(last <= bound, "a minute's oldest row went from {first} to {last} ms");
    Ok(())
}
