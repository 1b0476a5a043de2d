//! What was acknowledged is there, whatever happens to the process, the disk or the clock.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bounds;
mod clock;
mod damage;
mod folder;
mod fsync;
mod kill;
mod space;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SystemClock;
use millrace_eventlog::embedded::{EmbeddedLog, OpenError, Options};
use millrace_eventlog::{Log, NewRecord, Offset, Partition, Record, Topic, TopicSpec};

const INPUT: Topic = Topic("input");
const OUTPUT: Topic = Topic("output");
const PARTITIONS: u32 = 4;
const TOPICS: [TopicSpec; 2] =
    [TopicSpec { topic: INPUT, partitions: PARTITIONS }, TopicSpec { topic: OUTPUT, partitions: PARTITIONS }];
const DEADLINE: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> Result<Arc<EmbeddedLog>, OpenError> {
    EmbeddedLog::open(folder, &TOPICS, SystemClock::shared(), Options::default())
}

/// Says in one line why a test shows nothing on this machine. With `CI=true` a skipped test is a failed one.
fn skipped(why: &str) {
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{why}");
    eprintln!("skipped: {why}");
}

fn record(partition: Partition, value: impl Into<bytes::Bytes>) -> NewRecord {
    NewRecord { partition, version: 1, key: "key".into(), value: value.into() }
}

async fn all(log: &EmbeddedLog, topic: Topic, partition: Partition, from: Offset) -> Vec<Record> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let chunk = log.read(topic, partition, next, 1 << 20).await.unwrap();
        if chunk.next == next {
            return records;
        }
        records.extend(chunk.records);
        next = chunk.next;
    }
}

/// What was acknowledged: partition and offset of the input topic, and the hash of the value.
#[derive(Default)]
struct Acknowledged(HashMap<(Partition, Offset), u64>);

impl Acknowledged {
    /// Looks for all of it.
    async fn compare(&self, log: &EmbeddedLog) {
        let mut found = HashMap::new();
        for partition in 0..PARTITIONS {
            for record in all(log, INPUT, partition, 0).await {
                found.insert((partition, record.offset), xxhash_rust::xxh3::xxh3_64(&record.value));
            }
        }
        for (place, hash) in &self.0 {
            assert_eq!(found.get(place), Some(hash), "{place:?} was acknowledged");
        }
    }
}
