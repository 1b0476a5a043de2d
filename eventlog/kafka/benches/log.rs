//! What the log on Kafka takes and gives, on one broker that shares the machine: `cargo bench -p millrace-eventlog-kafka`.
//!
//! The shapes are those of the embedded log's bench: records of 700 B, tasks that wait for each answer. The broker is the
//! ceiling: with the client on the same two cores it takes 175-259 thousand records a second without waiting for single
//! answers, 14-19 thousand from 64 tasks with one record each (p50 3.5 ms), 100-124 thousand with ten; it gives 0.85-1.3
//! million, and 330-348 thousand go through transactions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace_eventlog::{Committed, Consumer, Delivery, Log, NewRecord, Topic, Transaction};
use millrace_eventlog_kafka::topics::{self, TopicSettings};
use millrace_eventlog_kafka::{KafkaLog, Options};
use millrace_harness::kafka::Cluster;
use millrace_harness::wait::clock;
use tokio::runtime::Runtime;

const TOPIC: Topic = Topic("bench");
const OUTPUT: Topic = Topic("output");
const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 700;
const TRANSACTION_RECORDS: u64 = 5_000;

/// Text that compresses like events do, about three to one.
fn value(n: u64) -> Bytes {
    let mut text = String::with_capacity(RECORD_BYTES + 40);
    let mut word = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    while text.len() < RECORD_BYTES {
        word = (word ^ (word >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        text.push_str(&format!("\"attribute_{}\":\"{:012x}\",", word % 7, word >> 16));
    }
    text.truncate(RECORD_BYTES);
    text.into()
}

fn records(values: &[Bytes], from: u64, count: u64) -> Vec<NewRecord> {
    let record = |n: u64| NewRecord {
        partition: (n % u64::from(PARTITIONS)) as u32,
        version: 1,
        key: Bytes::from_static(b"account\0visitor"),
        value: values[(n % values.len() as u64) as usize].clone(),
    };
    (from..from + count).map(record).collect()
}

fn values() -> Arc<Vec<Bytes>> {
    Arc::new((0..512).map(value).collect())
}

async fn open(cluster: &Cluster) -> Arc<KafkaLog> {
    let mut options = Options::new(cluster.bootstrap(), "bench");
    options.dev = true;
    let settings = [TOPIC, OUTPUT].map(|topic| TopicSettings {
        topic,
        partitions: PARTITIONS,
        retention_ms: None,
        append_time: true,
    });
    topics::create(&options, &settings, 1).await.expect("the log can be made");
    KafkaLog::open(options, &[TOPIC, OUTPUT]).await.expect("the log can be opened")
}

/// One request after the other from each of `senders` tasks, `requests` in all; the time it took and every latency.
async fn append(log: &Arc<KafkaLog>, senders: u64, requests: u64, count: u64) -> (Duration, Vec<Duration>) {
    let (values, each, began) = (values(), requests.div_ceil(senders), clock().elapsed());
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..senders {
        let (log, values) = (Arc::clone(log), Arc::clone(&values));
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(each as usize);
            for n in 0..each {
                let asked = clock().elapsed();
                let request = records(&values, sender * 31 + n * 7, count);
                log.append(TOPIC, request).await.expect("the log takes records");
                latencies.push(clock().elapsed() - asked);
            }
            latencies
        });
    }
    let latencies = tasks.join_all().await.concat();
    (clock().elapsed() - began, latencies)
}

fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}

async fn consume(member: &mut Box<dyn Consumer>, records_due: u64) -> Duration {
    let (began, mut got) = (clock().elapsed(), 0);
    for partition in 0..PARTITIONS {
        member.start(partition, 0);
    }
    while got < records_due {
        if let Delivery::Records { records, .. } = member.next().await.expect("deliveries go on") {
            got += records.len() as u64;
        }
    }
    clock().elapsed() - began
}

async fn join(log: &Arc<KafkaLog>) -> Box<dyn Consumer> {
    let mut member = log.subscribe("bench", TOPIC).await.expect("the group takes members");
    for _ in 0..PARTITIONS {
        assert!(matches!(member.next().await, Ok(Delivery::Assigned { .. })), "it is alone");
    }
    member
}

fn log(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let home = tempfile::tempdir().expect("a folder");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository").join("tests");
    let Some(cluster) = runtime.block_on(Cluster::start(&tests, home.path(), 1)) else { return };
    let log = runtime.block_on(open(&cluster));
    let mut group = c.benchmark_group("append to Kafka");
    for (senders, count) in [(1, 1), (64, 1), (64, 10), (64, 50)] {
        let mut latencies = Vec::new();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new(format!("{senders} senders"), format!("{count} a request")), |b| {
            b.iter_custom(|requests| {
                let (took, some) = runtime.block_on(append(&log, senders, requests.next_multiple_of(senders), count));
                latencies.extend(some);
                took
            });
        });
        if !latencies.is_empty() {
            println!("    {senders} senders, {count} a request: {}", percentiles(latencies));
        }
    }
    group.finish();

    let mut group = c.benchmark_group("Kafka");
    let mut member = runtime.block_on(join(&log));
    let values = values();
    group.throughput(Throughput::Elements(TRANSACTION_RECORDS));
    group.bench_function("a transaction of 5,000 records", |b| {
        b.iter(|| {
            let outputs = records(&values, 0, TRANSACTION_RECORDS).into_iter().map(|record| (OUTPUT, record)).collect();
            let inputs = (0..PARTITIONS).map(|partition| (partition, Committed { next: 0, metadata: String::new() }));
            let transaction = Transaction { outputs, inputs: inputs.collect() };
            runtime.block_on(member.commit(transaction)).expect("it is alone");
        });
    });
    group.sample_size(10);
    let due = runtime.block_on(async {
        let mut due = 0;
        for partition in 0..PARTITIONS {
            due += log.extent(TOPIC, partition).await.expect("it is there").end;
        }
        due
    });
    group.throughput(Throughput::Elements(due));
    group.bench_function("all records, by a member", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| runtime.block_on(consume(&mut member, due))).sum());
    });
    drop(member);
    runtime.block_on(log.close());
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(10);
    targets = log
}
criterion_main!(benches);
