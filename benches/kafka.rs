//! What the log on Kafka takes and gives, on one broker that shares the machine:
//! `cargo bench -p millrace-benches --bench kafka`.
//!
//! The shapes are those of the embedded log's bench: records of 700 B, tasks that wait for each answer. The broker is the
//! ceiling: with the client on the same two cores it takes 175-259 thousand records a second without waiting for single
//! answers, 14-19 thousand from 64 tasks with one record each (p50 3.5 ms), 100-124 thousand with ten; it gives 0.85-1.3
//! million, and 330-348 thousand go through transactions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace_benches::{PARTITIONS, SHAPES, TOPIC, append, percentiles, records, values};
use millrace_eventlog::{Committed, Consumer, Delivery, Log, Topic, Transaction};
use millrace_eventlog_kafka::topics::{self, TopicSettings};
use millrace_eventlog_kafka::{KafkaLog, Options};
use millrace_harness::kafka::Cluster;
use millrace_harness::wait::clock;
use tokio::runtime::Runtime;

const OUTPUT: Topic = Topic("output");
const TRANSACTION_RECORDS: u64 = 5_000;

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
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let Some(cluster) = runtime.block_on(Cluster::start(&tests, home.path(), 1)) else { return };
    let log = runtime.block_on(open(&cluster));
    let mut group = c.benchmark_group("append to Kafka");
    for (senders, count) in SHAPES {
        let mut latencies = Vec::new();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new(format!("{senders} senders"), format!("{count} a request")), |b| {
            b.iter_custom(|requests| {
                let (took, some) =
                    runtime.block_on(append(log.clone(), senders, requests.next_multiple_of(senders), count));
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
