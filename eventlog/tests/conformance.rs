//! The embedded log keeps what the interface promises.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_clock::ManualClock;
use millrace_eventlog::conformance::{self, Rig, Topics};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::faults::{FaultyLog, SPREAD};
use millrace_eventlog::{Log, NewRecord, Offset, Partition, Topic, TopicSpec, Transaction};
use tempfile::TempDir;

const TOPICS: Topics = Topics { input: Topic("input"), output: Topic("output"), single: Topic("single") };
const SPECS: [TopicSpec; 3] = [
    TopicSpec { topic: TOPICS.input, partitions: 4 },
    TopicSpec { topic: TOPICS.output, partitions: 4 },
    TopicSpec { topic: TOPICS.single, partitions: 1 },
];

struct Embedded {
    folder: TempDir,
    clock: Arc<ManualClock>,
    options: Options,
    log: Option<Arc<EmbeddedLog>>,
    /// Behind the wrapper that fails on demand.
    wrapped: bool,
}

impl Embedded {
    fn new(options: Options) -> Self {
        let clock = ManualClock::at(1_750_000_000_000);
        let mut rig = Self { folder: TempDir::new().unwrap(), clock, options, log: None, wrapped: false };
        rig.open();
        rig
    }

    fn open(&mut self) {
        let options = self.options.clone();
        self.log = Some(EmbeddedLog::open(self.folder.path(), &SPECS, self.clock.clone(), options).unwrap());
    }

    fn embedded(&self) -> &Arc<EmbeddedLog> {
        self.log.as_ref().unwrap()
    }
}

#[async_trait]
impl Rig for Embedded {
    fn log(&self) -> Arc<dyn Log> {
        let log = self.embedded().clone();
        if self.wrapped { FaultyLog::over(log) } else { log }
    }

    fn topics(&self) -> Topics {
        TOPICS
    }

    async fn reopen(&mut self) {
        self.log.take().unwrap().close();
        self.open();
    }

    async fn abort(&self, outputs: Vec<(Topic, NewRecord)>) {
        let mut consumer = self.embedded().subscribe("aborter", TOPICS.single).await.unwrap();
        self.embedded().levers().abort_next_commit();
        consumer.commit(Transaction { outputs, inputs: Vec::new() }).await.unwrap_err();
    }

    async fn revoke(&self, group: &str, topic: Topic, partition: Partition) {
        assert!(self.embedded().levers().revoke(group, topic, partition));
    }

    async fn lose(&self, group: &str, topic: Topic, partition: Partition) {
        assert!(self.embedded().levers().lose(group, topic, partition));
    }

    async fn trim(&self, topic: Topic, partition: Partition, before: Offset) {
        let before = if self.wrapped { before.div_ceil(SPREAD) } else { before };
        self.embedded().trim(topic, partition, before).await.unwrap();
    }

    fn shift_clock(&self, by_ms: i64) -> bool {
        match u64::try_from(by_ms) {
            Ok(ahead) => self.clock.advance(Duration::from_millis(ahead)),
            Err(_) => self.clock.set_wall(millrace_clock::Clock::now_ms(&*self.clock) + by_ms),
        }
        true
    }
}

async fn all_checks(rig: impl Fn() -> Embedded) {
    for check in conformance::checks() {
        println!("{}", check.name);
        check.run(Box::new(rig())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_passes_every_check() {
    all_checks(|| Embedded::new(Options::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_them_too_when_every_read_comes_from_disk() {
    all_checks(|| Embedded::new(Options { tail_bytes: 0, ..Options::default() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrapper_that_fails_on_demand_passes_them_while_nothing_is_demanded() {
    all_checks(|| Embedded { wrapped: true, ..Embedded::new(Options::default()) }).await;
}
