//! What the embedded log takes and gives, beside the disk's own ceiling, in one run:
//! `cargo bench -p millrace-eventlog`.
//!
//! Records are of 700 B. Appends come from tasks that wait for each answer; with one-record requests the latencies are
//! printed as well.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace_clock::{SharedClock, SystemClock};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Log, NewRecord, Topic, TopicSpec};
use tokio::runtime::Runtime;

const TOPIC: Topic = Topic("bench");
const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 700;

fn open(folder: &Path, options: Options) -> Arc<EmbeddedLog> {
    let topics = [TopicSpec { topic: TOPIC, partitions: PARTITIONS }];
    EmbeddedLog::open(folder, &topics, SystemClock::shared(), options).expect("the folder is free")
}

/// Text that compresses like events do, about three to one.
fn value(n: u64) -> Bytes {
    let mut text = String::with_capacity(RECORD_BYTES + 40);
    let mut word = n;
    while text.len() < RECORD_BYTES {
        word = xxhash_rust::xxh3::xxh3_64(&word.to_le_bytes());
        text.push_str(&format!("\"attribute_{}\":\"{:012x}\",", word % 7, word >> 16));
    }
    text.truncate(RECORD_BYTES);
    text.into()
}

/// One request after the other from each of `senders` tasks, `requests` in all; the time it took and every latency.
fn append(
    runtime: &Runtime,
    log: &Arc<EmbeddedLog>,
    senders: u64,
    requests: u64,
    records: u64,
) -> (Duration, Vec<Duration>) {
    let clock = SystemClock::shared();
    let values: Arc<Vec<Bytes>> = Arc::new((0..512).map(value).collect());
    let each = requests.div_ceil(senders);
    runtime.block_on(async {
        let began = clock.elapsed();
        let mut tasks = tokio::task::JoinSet::new();
        for sender in 0..senders {
            let (log, clock, values) = (Arc::clone(log), Arc::clone(&clock), Arc::clone(&values));
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(each as usize);
                for n in 0..each {
                    let request = (0..records).map(|r| {
                        let pick = sender * 31 + n * 7 + r;
                        NewRecord {
                            partition: (pick % u64::from(PARTITIONS)) as u32,
                            version: 1,
                            key: Bytes::from_static(b"account\0visitor"),
                            value: values[(pick % 512) as usize].clone(),
                        }
                    });
                    let asked = clock.elapsed();
                    log.append(TOPIC, request.collect()).await.expect("the log takes records");
                    latencies.push(clock.elapsed() - asked);
                }
                latencies
            });
        }
        let latencies = tasks.join_all().await.concat();
        (clock.elapsed() - began, latencies)
    })
}

fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}

fn raw_sync(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::create(folder.path().join("raw")).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    let mut at = 0;
    let mut group = c.benchmark_group("ceiling");
    for bytes in [4 << 10, 64 << 10, 512 << 10] {
        let block = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("write and fdatasync", bytes), |b| {
            b.iter(|| {
                file.write_all_at(&block, at % (1 << 30)).expect("there is room");
                file.sync_data().expect("the disk answers");
                at += block.len() as u64;
            });
        });
    }
}

fn appends(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Options::default());
    let mut group = c.benchmark_group("append");
    for (senders, records) in [(1, 1), (64, 1), (64, 10), (64, 50)] {
        let mut latencies = Vec::new();
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new(format!("{senders} senders"), format!("{records} a request")), |b| {
            b.iter_custom(|requests| {
                let requests = requests.next_multiple_of(senders);
                let (took, some) = append(&runtime, &log, senders, requests, records);
                latencies.extend(some);
                took
            });
        });
        if !latencies.is_empty() {
            println!("    {senders} senders, {records} a request: {}", percentiles(latencies));
        }
    }
}

fn reads(c: &mut Criterion) {
    const RECORDS: u64 = 200_000;
    const TAIL_RECORDS: u64 = 20_000;
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let clock: SharedClock = SystemClock::shared();
    let log = open(folder.path(), Options { tail_bytes: 128 << 20, ..Options::default() });
    append(&runtime, &log, 64, RECORDS / 50, 50);
    let read = |log: &EmbeddedLog, records: u64| {
        let began = clock.elapsed();
        let mut count = 0;
        runtime.block_on(async {
            for partition in 0..PARTITIONS {
                let extent = log.extent(TOPIC, partition).await.expect("it is there");
                let wanted = records / u64::from(PARTITIONS);
                let mut next = (extent.end - wanted.min(extent.end)).max(extent.start);
                while next < extent.end {
                    let chunk = log.read(TOPIC, partition, next, 1 << 20).await.expect("it is readable");
                    count += chunk.records.len() as u64;
                    next = chunk.next;
                }
            }
        });
        assert_eq!(count, records, "every record comes once");
        clock.elapsed() - began
    };
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(TAIL_RECORDS));
    group.bench_function("the newest, from memory", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| read(&log, TAIL_RECORDS)).sum());
    });
    log.close();
    let log = open(folder.path(), Options { tail_bytes: 0, ..Options::default() });
    group.throughput(Throughput::Elements(RECORDS));
    group.sample_size(10);
    group.bench_function("all, from disk", |b| b.iter_custom(|rounds| (0..rounds).map(|_| read(&log, RECORDS)).sum()));
    let path = folder.path().to_owned();
    log.close();
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("open and check", |b| b.iter(|| open(&path, Options::default()).close()));
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(20);
    targets = raw_sync, appends, reads
}
criterion_main!(benches);
