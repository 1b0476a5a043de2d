//! Senders that wait for each answer: what the benches of both logs share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_clock::SystemClock;
use millrace_eventlog::{Log, NewRecord, Topic};
use xxhash_rust::xxh3::xxh3_64;

/// The topic that is written to.
pub const TOPIC: Topic = Topic("bench");
/// Its partitions.
pub const PARTITIONS: u32 = 4;
/// Requests at once, and records of each: what is measured of a log.
pub const SHAPES: [(u64, u64); 4] = [(1, 1), (64, 1), (64, 10), (64, 50)];
const RECORD_BYTES: usize = 700;
const VALUES: u64 = 512;

/// Text that compresses like events do, about three to one.
fn value(n: u64) -> Bytes {
    let mut text = String::with_capacity(RECORD_BYTES + 40);
    let mut word = n;
    while text.len() < RECORD_BYTES {
        word = xxh3_64(&word.to_le_bytes());
        text.push_str(&format!("\"attribute_{}\":\"{:012x}\",", word % 7, word >> 16));
    }
    text.truncate(RECORD_BYTES);
    text.into()
}

/// Different records to choose from.
#[must_use]
pub fn values() -> Arc<[Bytes]> {
    (0..VALUES).map(value).collect()
}

/// `count` records of 700 B, over all partitions; another `from` gives others.
#[must_use]
pub fn records(values: &[Bytes], from: u64, count: u64) -> Vec<NewRecord> {
    let record = |n: u64| NewRecord {
        partition: (n % u64::from(PARTITIONS)) as u32,
        version: 1,
        key: Bytes::from_static(b"account\0visitor"),
        value: values[(n % values.len() as u64) as usize].clone(),
    };
    (from..from + count).map(record).collect()
}

/// One request of `count` records after the other from each of `senders` tasks, `requests` in all; the time it took and
/// every latency.
///
/// # Panics
/// The log refuses one.
pub async fn append(log: Arc<dyn Log>, senders: u64, requests: u64, count: u64) -> (Duration, Vec<Duration>) {
    let (clock, values, each) = (SystemClock::shared(), values(), requests.div_ceil(senders));
    let began = clock.elapsed();
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..senders {
        let (log, clock, values) = (Arc::clone(&log), Arc::clone(&clock), Arc::clone(&values));
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(each as usize);
            for n in 0..each {
                let request = records(&values, sender * 31 + n * 7, count);
                let asked = clock.elapsed();
                log.append(TOPIC, request).await.expect("the log takes records");
                latencies.push(clock.elapsed() - asked);
            }
            latencies
        });
    }
    let latencies = tasks.join_all().await.concat();
    (clock.elapsed() - began, latencies)
}

/// Median, 99th percentile and maximum, in words.
#[must_use]
pub fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}
