//! What the embedded log takes and gives, beside the disk's own ceiling, in one run:
//! `cargo bench -p millrace-benches --bench log`.
//!
//! Records are of 700 B. Appends come from tasks that wait for each answer; with one-record requests the latencies are
//! printed as well.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace_benches::{PARTITIONS, SHAPES, TOPIC, append, percentiles};
use millrace_clock::{SharedClock, SystemClock};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Log, TopicSpec};
use tokio::runtime::Runtime;

fn open(folder: &Path, options: Options) -> Arc<EmbeddedLog> {
    let topics = [TopicSpec { topic: TOPIC, partitions: PARTITIONS }];
    EmbeddedLog::open(folder, &topics, SystemClock::shared(), options).expect("the folder is free")
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
    for (senders, records) in SHAPES {
        let mut latencies = Vec::new();
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new(format!("{senders} senders"), format!("{records} a request")), |b| {
            b.iter_custom(|requests| {
                let requests = requests.next_multiple_of(senders);
                let (took, some) = runtime.block_on(append(log.clone(), senders, requests, records));
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
    runtime.block_on(append(log.clone(), 64, RECORDS / 50, 50));
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
