//! The log on Kafka keeps what the interface promises, on a real broker.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_eventlog::conformance::{self, Rig, Topics};
use millrace_eventlog::{Log, NewRecord, Offset, Partition, Topic};
use millrace_eventlog_kafka::{KafkaLog, Options};

use crate::support::{self, INPUT, OUTPUT, SINGLE};

struct OnKafka {
    options: Options,
    log: Option<Arc<KafkaLog>>,
}

impl OnKafka {
    async fn new(options: Options) -> Self {
        let log = support::make_as(&options, 1).await;
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

/// Runs one of the suite's checks on the log these options name, which is made for it.
pub(crate) async fn run(check: &conformance::Check, options: Options) {
    check.run(Box::new(OnKafka::new(options).await)).await;
}
