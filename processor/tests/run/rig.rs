//! An embedded log, a clock that stands until moved, and a processor that can be killed at a chosen moment.
#![allow(unreachable_pub, reason = "shared by the modules of one test program")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use millrace_clock::{Clock, ManualClock};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{
    AppendError, Appended, Chunk, CommitError, Consumer, Delivery, Extent, Log, NewRecord, Offset, Partition,
    ReadError, Record, Topic, TopicSpec, Transaction,
};
use millrace_processor::{Config, Error, Progress, Services, create_settings, run};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Outcome, Watermark, enriched_record};
use millrace_schemas::raw::{Event, Settings, raw};
use millrace_schemas::{partition, topics};
use millrace_telemetry::Readiness;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{T0, blank, fold_in, new_record};

pub const RAW: Topic = Topic(topics::RAW);
pub const ENRICHED: Topic = Topic(topics::ENRICHED);
pub const PARTITIONS: u32 = 3;
pub const DEADLINE: Duration = Duration::from_secs(60);

/// When a commit hangs until its process is killed, or (before the commit) until it hangs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    Never = 0,
    /// The log has not heard of the transaction.
    BeforeCommit = 1,
    /// The log has the transaction; state and local store do not know.
    AfterCommit = 2,
}

pub struct Rig {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub log: Arc<EmbeddedLog>,
}

pub struct Running {
    pub progress: Arc<Progress>,
    pub readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    hang: Arc<AtomicU8>,
    hung: watch::Receiver<bool>,
    fenced: Arc<AtomicBool>,
}

pub fn five_seconds() -> Settings {
    Settings { attribution_grace_ms: 5_000, ..millrace_schemas::settings::defaults() }
}

impl Rig {
    pub async fn new() -> Self {
        let rig = Self::without_settings();
        create_settings(&*rig.log, &*rig.clock, &five_seconds()).await.unwrap();
        rig
    }

    pub fn without_settings() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(T0);
        let specs = [RAW, ENRICHED].map(|topic| TopicSpec { topic, partitions: PARTITIONS });
        let log = EmbeddedLog::open(&folder.path().join("log"), &specs, clock.clone(), Options::default()).unwrap();
        Self { folder, clock, log }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn start(&self) -> Running {
        self.start_in(self.state_dir())
    }

    pub fn start_in(&self, state_dir: PathBuf) -> Running {
        self.start_ticking(state_dir, Duration::from_secs(1))
    }

    pub fn start_ticking(&self, state_dir: PathBuf, tick_interval: Duration) -> Running {
        let hang = Arc::new(AtomicU8::new(0));
        let (tell, hung) = watch::channel(false);
        let fenced = Arc::new(AtomicBool::new(false));
        let faults = Faults { hang: hang.clone(), tell: Arc::new(tell), fenced: fenced.clone() };
        let log = Arc::new(Fragile { inner: self.log.clone(), faults });
        let (progress, readiness, stop) = (Arc::new(Progress::default()), Readiness::new(), CancellationToken::new());
        let config = Config { tick_interval };
        let services = Services { log, clock: self.clock.clone(), state_dir, config, readiness: readiness.clone() };
        let task = tokio::spawn(run(services, progress.clone(), stop.clone()));
        Running { progress, readiness, stop, task, hang, hung, fenced }
    }

    pub async fn append(&self, bodies: Vec<raw::Body>) -> Vec<Appended> {
        let records = bodies.into_iter().map(|body| {
            let partition = match &body {
                raw::Body::Event(Event { account_id, visitor_id, .. }) => {
                    partition::of_visitor(account_id, visitor_id, PARTITIONS)
                }
                _ => 0,
            };
            new_record(partition, self.clock.now_ms(), body)
        });
        self.log.append(RAW, records.collect()).await.unwrap()
    }

    pub async fn events(&self, events: Vec<Event>) -> Vec<Appended> {
        self.append(events.into_iter().map(raw::Body::Event).collect()).await
    }

    pub async fn records(&self, topic: Topic, partition: Partition) -> Vec<Record> {
        let end = self.log.extent(topic, partition).await.unwrap().end;
        let (mut from, mut records) = (self.log.extent(topic, partition).await.unwrap().start, Vec::new());
        while from < end {
            let chunk = self.log.read(topic, partition, from, 1 << 20).await.unwrap();
            assert!(chunk.next > from || chunk.records.is_empty());
            if chunk.next <= from {
                break;
            }
            from = chunk.next;
            records.extend(chunk.records);
        }
        records
    }

    pub async fn enriched(&self, partition: Partition) -> (Vec<Outcome>, Vec<Watermark>) {
        let (mut outcomes, mut watermarks) = (Vec::new(), Vec::new());
        for record in self.records(ENRICHED, partition).await {
            match EnrichedRecord::from_versioned(record.version, record.value).unwrap().body.unwrap() {
                enriched_record::Body::Outcome(outcome) => outcomes.push(outcome),
                enriched_record::Body::Watermark(watermark) => watermarks.push(watermark),
            }
        }
        (outcomes, watermarks)
    }

    /// Lets time pass until everything appended so far has its outcome.
    pub async fn settle(&self, running: &Running) {
        let mut ends = Vec::new();
        for partition in 0..PARTITIONS {
            ends.push(self.log.extent(RAW, partition).await.unwrap().end);
        }
        let due = self.clock.now_ms() + 6_000;
        until("everything has its outcome", || {
            self.clock.advance(Duration::from_millis(500));
            let done = |(partition, end): (u32, &Offset)| {
                let progress = running.progress.partition(partition);
                progress.is_some_and(|at| at.folded >= *end && at.released >= *end && at.log_time_ms >= due)
            };
            (0..).zip(&ends).all(done)
        })
        .await;
    }

    /// What the log holds is what the fold makes of raw at once: the same outcomes in the same order.
    pub async fn check_outcomes(&self) {
        let mut total = 0;
        for partition in 0..PARTITIONS {
            let raw = self.records(RAW, partition).await;
            let expected = fold_in(&mut blank(), &raw, usize::MAX);
            let (outcomes, watermarks) = self.enriched(partition).await;
            assert_eq!(outcomes.len(), expected.len(), "how many outcomes partition {partition} has");
            assert_eq!(outcomes, expected, "partition {partition}");
            total += outcomes.len();
            let times: Vec<i64> = watermarks.iter().map(|watermark| watermark.watermark_ms).collect();
            assert!(times.is_sorted(), "watermarks of partition {partition} go back: {times:?}");
        }
        assert!(total > 0);
    }
}

impl Running {
    pub fn hang(&self, at: Hang) {
        self.hang.store(at as u8, Ordering::SeqCst);
    }

    /// A commit of its was fenced.
    pub fn fenced(&self) -> bool {
        self.fenced.load(Ordering::SeqCst)
    }

    pub async fn hung(&mut self) {
        tokio::time::timeout(DEADLINE, self.hung.wait_for(|hung| *hung)).await.expect("a commit comes").unwrap();
    }

    /// As `kill -9` would, at this await point.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("it stops").unwrap()
    }

    pub async fn failed(self) -> Error {
        tokio::time::timeout(DEADLINE, self.task).await.expect("it fails").unwrap().expect_err("it must not succeed")
    }

    pub async fn recovered(&self) {
        until("all partitions are recovered", || self.progress.partitions().len() == PARTITIONS as usize).await;
    }
}

/// Polls until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let poll = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("not within the deadline: {what}"));
}

#[derive(Clone)]
struct Faults {
    hang: Arc<AtomicU8>,
    tell: Arc<watch::Sender<bool>>,
    fenced: Arc<AtomicBool>,
}

/// A log whose commits hang on request.
struct Fragile {
    inner: Arc<dyn Log>,
    faults: Faults,
}

struct FragileConsumer {
    inner: Box<dyn Consumer>,
    faults: Faults,
}

#[async_trait]
impl Log for Fragile {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }
    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        self.inner.append(topic, records).await
    }
    async fn read(&self, topic: Topic, p: Partition, from: Offset, max_bytes: usize) -> Result<Chunk, ReadError> {
        self.inner.read(topic, p, from, max_bytes).await
    }
    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        self.inner.extent(topic, partition).await
    }
    async fn position_at(&self, topic: Topic, p: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError> {
        self.inner.position_at(topic, p, time_ms).await
    }
    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        self.inner.grown(topic, partition, end, at_most).await;
    }
    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        let inner = self.inner.subscribe(group, topic).await?;
        Ok(Box::new(FragileConsumer { inner, faults: self.faults.clone() }))
    }
}

#[async_trait]
impl Consumer for FragileConsumer {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        self.inner.next().await
    }
    fn start(&mut self, partition: Partition, from: Offset) {
        self.inner.start(partition, from);
    }
    fn pause(&mut self, partition: Partition, paused: bool) {
        self.inner.pause(partition, paused);
    }
    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        let Faults { hang, tell, fenced } = &self.faults;
        if hang.load(Ordering::SeqCst) == Hang::AfterCommit as u8 {
            self.inner.commit(transaction).await?;
            let _ = tell.send(true);
            return std::future::pending().await;
        }
        while hang.load(Ordering::SeqCst) == Hang::BeforeCommit as u8 {
            let _ = tell.send(true);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let committed = self.inner.commit(transaction).await;
        fenced.fetch_or(matches!(committed, Err(CommitError::Fenced { .. })), Ordering::SeqCst);
        committed
    }
}

/// A source of random choices that can be repeated.
pub struct Dice(Mutex<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    pub fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes());
        *state % sides
    }
}
