//! How long a cluster takes to go on after a `kill -9`: `tests/failover` builds and runs it.
//!
//! For each role and for a broker: the victim is killed and left dead, and an event that is sent then is waited for. What is printed is
//! the time from the kill to the event's acknowledgement, and to its row in a listing. The other process of the role takes over; a role
//! that exists once is started again at once.

#![allow(clippy::expect_used, reason = "a measurement that cannot go on panics")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use millrace_harness::deployment::Size;
use millrace_harness::events::{batch, decision};
use millrace_harness::role::Kind;
use millrace_harness::wait::{clock, pause, until};
use millrace_harness::{Deployment, Export};

/// How long anything may take.
const AT_MOST: Duration = Duration::from_secs(180);
/// Between two kills everything settles.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures fail-over on three brokers and two processes of each role.
#[derive(Parser)]
struct Args {
    /// The binary to run.
    #[arg(long, default_value = "target/release/millrace")]
    binary: String,
    /// The repository's folder of tests.
    #[arg(long, default_value = "tests")]
    tests: PathBuf,
    /// How often each is killed.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

#[derive(Clone, Copy)]
enum Victim {
    Nobody,
    Role(Kind),
    Broker,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let home = tempfile::tempdir()?;
    let size = Size { brokers: 3, partitions: 6, of_each: 2 };
    let mut deployment = Deployment::start(&args.binary, &args.tests, home.path(), size).await.context("see above")?;
    println!(
        "slot 2 s, grace 3 s, seal age 0.5 s, tick 1 s; three brokers, two of each role; {} kills each",
        args.rounds
    );
    println!("killed       acknowledged s: median (least to most)   row listed s: median (least to most)");
    let mut number = 0;
    for victim in [
        Victim::Nobody,
        Victim::Role(Kind::Ingest),
        Victim::Role(Kind::Process),
        Victim::Role(Kind::Export),
        Victim::Broker,
    ] {
        let (mut acknowledged, mut listed) = (Vec::new(), Vec::new());
        for round in 0..args.rounds {
            number += 1;
            let (taken, seen) = one_kill(&mut deployment, victim, round as usize, number).await?;
            acknowledged.push(taken);
            listed.push(seen);
        }
        println!("{:12} {:>40}   {:>36}", name(victim), spread(&mut acknowledged), spread(&mut listed));
    }
    Ok(())
}

fn name(victim: Victim) -> &'static str {
    match victim {
        Victim::Nobody => "nobody",
        Victim::Role(kind) => kind.command(),
        Victim::Broker => "a broker",
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |index: usize| times[index].as_secs_f64();
    format!("{:.1} ({:.1} to {:.1})", at(times.len() / 2), at(0), at(times.len() - 1))
}

/// From the kill to the acknowledgement of an event, and to its row.
async fn one_kill(
    deployment: &mut Deployment,
    victim: Victim,
    round: usize,
    number: u32,
) -> anyhow::Result<(Duration, Duration)> {
    let (account, team) = (deployment.account().to_owned(), deployment.team(0));
    let export = Export::open(&team).await?;
    pause(SETTLE).await;
    let began = clock().elapsed();
    let broker = round % deployment.brokers.size() + 1;
    let dead = match victim {
        Victim::Nobody => None,
        Victim::Role(kind) => {
            let candidates = deployment.of(kind);
            Some(candidates[round % candidates.len()])
        }
        Victim::Broker => {
            deployment.brokers.kill(broker);
            None
        }
    };
    if let Some(dead) = dead {
        deployment.roles[dead].kill_9();
    }
    // A visitor of its own each time: the partitions take turns.
    let uuid = format!("after-{number}");
    let body = batch(&account, vec![decision(&uuid, &uuid, "9300", "9302", clock().now_ms())]);
    let apis = deployment.apis();
    until("the event to be acknowledged", AT_MOST, async || {
        for api in &apis {
            if matches!(api.post(&body).await, Ok(answer) if answer.status == 204) {
                return Ok(());
            }
        }
        Err("no ingest takes it")
    })
    .await;
    let taken = clock().elapsed() - began;
    until("the event's row to be listed", AT_MOST, async || {
        let rows = export.rows("decisions").await.map_err(|error| error.to_string())?;
        if rows.iter().any(|row| row["uuid"] == *uuid) { Ok(()) } else { Err(format!("{} rows", rows.len())) }
    })
    .await;
    let seen = clock().elapsed() - began;
    if let Some(dead) = dead {
        deployment.roles[dead].start();
        deployment.roles[dead].wait_ready().await;
    }
    deployment.brokers.start_again(broker).await;
    Ok((taken, seen))
}
