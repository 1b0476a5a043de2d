//! The log on Kafka keeps what the interface promises, on a real broker.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_eventlog::conformance::{self, Rig, Topics};
use millrace_eventlog::{Log, NewRecord, Offset, Partition, Topic};
use millrace_eventlog_kafka::{KafkaLog, Options};

#[path = "../support/mod.rs"]
mod support;

use support::{INPUT, OUTPUT, SINGLE};

struct OnKafka {
    options: Options,
    log: Option<Arc<KafkaLog>>,
}

impl OnKafka {
    async fn new(bootstrap: &str) -> Self {
        let (options, log) = support::make(bootstrap, 1).await;
        Self { options, log: Some(log) }
    }

    fn kafka(&self) -> &Arc<KafkaLog> {
        self.log.as_ref().expect("the log is open")
    }
}

#[async_trait]
impl Rig for OnKafka {
    fn log(&self) -> Arc<dyn Log> {
        self.kafka().clone()
    }

    fn topics(&self) -> Topics {
        Topics { input: INPUT, output: OUTPUT, single: SINGLE }
    }

    async fn reopen(&mut self) {
        self.log.take().expect("the log is open").close().await;
        self.log = Some(support::open(&self.options).await);
    }

    async fn abort(&self, outputs: Vec<(Topic, NewRecord)>) {
        support::abort(&self.options, self.kafka(), outputs).await;
    }

    async fn revoke(&self, group: &str, _topic: Topic, _partition: Partition) {
        assert!(self.kafka().levers().revoke(group));
    }

    async fn lose(&self, group: &str, topic: Topic, _partition: Partition) {
        support::take_the_name(&self.options, group, topic, 0).await;
    }

    async fn trim(&self, topic: Topic, partition: Partition, before: Offset) {
        support::trim(&self.options, topic, partition, before).await;
    }

    fn shift_clock(&self, _by_ms: i64) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_kafka_passes_every_check() {
    let Ok(bootstrap) = std::env::var("MILLRACE_TEST_KAFKA") else { return };
    let only = std::env::var("ONLY").unwrap_or_default();
    for check in conformance::checks() {
        if !check.name.contains(&only) {
            continue;
        }
        let began = std::time::Instant::now();
        let rig = OnKafka::new(&bootstrap).await;
        println!("{} (rig {:?})", check.name, began.elapsed());
        check.run(Box::new(rig)).await;
        println!("   {:?}", began.elapsed());
    }
}
