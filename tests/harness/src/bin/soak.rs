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
use millrace_harness::load::{Load, Plan, percentile};
use millrace_harness::wait::{clock, pause};
use millrace_harness::{Export, Follower, Launch, Server};

/// A data team looks at the listing this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The oldest row of a new file may be this old when it is first seen: slot, grace, tick, seal age, 2 s, one look.
const FRESH_MS: i64 = 25_000;
/// Memory may grow by this much from the first third of the load to the last: a fifth, and what buffers need.
const MEMORY_GROWTH_PERCENT: u64 = 20;
const MEMORY_GROWTH_BYTES: u64 = 64 * 1024 * 1024;

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

/// Every day that is over by `through` has closed with all its rows. There is one where the load crossed a midnight (UTC).
async fn check_closed_days(export: &Export, follower: &Follower, through: i64) -> anyhow::Result<()> {
    let date_of = |ms: i64| Some(chrono::DateTime::from_timestamp_millis(ms)?.format("%F").to_string());
    let mut end = follower.oldest_ms().div_euclid(DAY_MS) * DAY_MS + DAY_MS;
    while end <= through {
        let date = date_of(end - DAY_MS).context("a date")?;
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
    let status: serde_json::Value = serde_json::from_str(&launch.command_ok(&["status", "--json"]))?;
    println!("status: {status}");
    let lag = status["accounts"][0]["lag_ms"].as_i64().unwrap_or(i64::MAX);
    ensure!(lag <= FRESH_MS, "status says that the export is {lag} ms behind; the promise is {FRESH_MS}");
    let through = status["accounts"][0]["complete_through_ms"].as_i64().unwrap_or_default();
    let export = Export::open(server.demo()).await?;
    follower.take(&export).await?;
    let complete = follower.rows_before(through);
    let sent = load.stop().await;
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(60)).await;
    sent.assert_attributed(&follower);
    follower.take_all_again(&export).await?;
    check_closed_days(&export, &follower, through).await?;
    let later = follower.rows_before(through) - complete;
    ensure!(later == 0 && complete > 0, "status said complete through {through}; {later} rows of before came after it");
    let acknowledged = sent.events().count();
    println!("all {acknowledged} acknowledged events are visible once; {} requests were sent again", sent.resent);

    ensure!(server.terminate().await.success(), "SIGTERM ends it well");
    check_memory(&minutes)?;
    let stale = minutes.iter().map(|minute| minute.freshness_ms_max).max().unwrap_or_default();
    ensure!(stale <= FRESH_MS, "a row was {stale} ms old when it was first seen; the promise is {FRESH_MS}");
    Ok(())
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

fn check_memory(minutes: &[Minute]) -> anyhow::Result<()> {
    let third = minutes.len() / 3;
    if third == 0 {
        println!("memory: too short a load to say");
        return Ok(());
    }
    let mean = |part: &[Minute]| part.iter().map(|minute| minute.memory_bytes).sum::<u64>() / part.len() as u64;
    let (first, last) = (mean(&minutes[..third]), mean(&minutes[minutes.len() - third..]));
    let bound = first + first * MEMORY_GROWTH_PERCENT / 100 + MEMORY_GROWTH_BYTES;
    println!("memory: {first} bytes in the first third, {last} in the last, at most {bound} allowed");
    ensure!(last <= bound, "memory grew from {first} to {last} bytes");
    Ok(())
}
