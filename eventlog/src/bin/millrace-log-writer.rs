//! A writer for tests: appends to a log as fast as it is answered and prints what was acknowledged, one line each, until it
//! is killed (or has made as many appends as asked).
//!
//! `millrace-log-writer DIR` appends from several tasks, in batches and transactions. Lines: `record PARTITION OFFSET HASH`,
//! `transaction NUMBER`. `millrace-log-writer DIR COUNT` makes COUNT appends one after the other: `ack NUMBER`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use millrace_clock::SystemClock;
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Committed, Delivery, Log, NewRecord, Topic, TopicSpec, Transaction};
use xxhash_rust::xxh3::xxh3_64;

const INPUT: Topic = Topic("input");
const OUTPUT: Topic = Topic("output");
const PARTITIONS: u32 = 4;
const APPENDERS: u64 = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("the first argument is the log's folder")?;
    let topics = [INPUT, OUTPUT].map(|topic| TopicSpec { topic, partitions: PARTITIONS });
    let clock = SystemClock::shared();
    let log = EmbeddedLog::open(Path::new(&folder), &topics, clock, Options::default())?;
    match arguments.next() {
        Some(count) => one_by_one(&log, count.parse()?).await,
        None => all_at_once(log).await,
    }
}

async fn one_by_one(log: &EmbeddedLog, count: u32) -> Result<()> {
    for number in 0..count {
        let record = NewRecord { partition: 0, version: 1, key: "key".into(), value: vec![b'v'; 700].into() };
        log.append(INPUT, vec![record]).await?;
        say(&format!("ack {number}"))?;
    }
    Ok(())
}

async fn all_at_once(log: Arc<EmbeddedLog>) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for appender in 0..APPENDERS {
        tasks.spawn(append_for_ever(Arc::clone(&log), appender));
    }
    tasks.spawn(commit_for_ever(log));
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn append_for_ever(log: Arc<EmbeddedLog>, appender: u64) -> Result<()> {
    for round in 0u64.. {
        let size = xxh3_64(&(appender << 32 | round).to_le_bytes());
        let records: Vec<_> = (0..1 + size % 20)
            .map(|n| {
                let bytes = 1 + (size >> (n % 40)) % 4000;
                let value = vec![(round ^ n) as u8; usize::try_from(bytes).unwrap_or(1)];
                NewRecord {
                    partition: (n % u64::from(PARTITIONS)) as u32,
                    version: 1,
                    key: "k".into(),
                    value: value.into(),
                }
            })
            .collect();
        let hashes: Vec<_> = records.iter().map(|record| xxh3_64(&record.value)).collect();
        let appended = log.append(INPUT, records).await?;
        let lines: Vec<_> = appended
            .iter()
            .zip(hashes)
            .map(|(appended, hash)| format!("record {} {} {hash:016x}", appended.partition, appended.offset))
            .collect();
        say(&lines.join("\n"))?;
    }
    Ok(())
}

// Transaction n writes n to every partition of the output and commits position n + 1.
async fn commit_for_ever(log: Arc<EmbeddedLog>) -> Result<()> {
    let mut consumer = log.subscribe("writer", INPUT).await?;
    let mut number = 0;
    for _ in 0..PARTITIONS {
        let Delivery::Assigned { partition, committed } = consumer.next().await? else { bail!("not assigned") };
        if let (0, Some(committed)) = (partition, committed) {
            number = committed.next;
        }
    }
    loop {
        let value: bytes::Bytes = number.to_string().into();
        let outputs = (0..PARTITIONS)
            .map(|partition| (OUTPUT, NewRecord { partition, version: 1, key: "t".into(), value: value.clone() }))
            .collect();
        let inputs = vec![(0, Committed { next: number + 1, metadata: format!("after {number}") })];
        consumer.commit(Transaction { outputs, inputs }).await?;
        say(&format!("transaction {number}"))?;
        number += 1;
    }
}

fn say(lines: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{lines}")?;
    Ok(out.flush()?)
}
