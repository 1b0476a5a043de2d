//! An embedded log, a clock that stands until moved, and a processor that can be killed at a chosen moment.
#![allow(unreachable_pub, reason = "shared by the modules of one test program")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use millrace_clock::{Clock, ManualClock};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Appended, Log, Offset, Partition, Record, Topic, TopicSpec};
use millrace_processor::{Config, Error, Progress, Services, create_settings, run};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Outcome, Watermark, enriched_record};
use millrace_schemas::layout::{SnapshotName, snapshots_prefix};
use millrace_schemas::raw::{Event, Settings, raw};
use millrace_schemas::{partition, topics};
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod fragile;

pub use fragile::{Faults, Hang};
use fragile::{Fragile, FragileStore};

use crate::support::{T0, blank, fold_in, new_record};

pub const RAW: Topic = Topic(topics::RAW);
pub const ENRICHED: Topic = Topic(topics::ENRICHED);
pub const PARTITIONS: u32 = 3;
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Rig {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub log: Arc<EmbeddedLog>,
    /// The bucket.
    pub bucket: Arc<InMemory>,
    /// What goes wrong for every processor from its start on.
    pub faults: Faults,
}

pub struct Running {
    pub progress: Arc<Progress>,
    pub readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    pub faults: Faults,
    hung: watch::Receiver<bool>,
}

pub fn five_seconds() -> Settings {
    Settings { attribution_grace_ms: 5_000, ..millrace_schemas::settings::defaults() }
}

impl Rig {
    pub async fn new() -> Self {
        Self::without_settings().settled().await
    }

    /// With as many partitions as a log on Kafka has.
    pub async fn with_64_partitions() -> Self {
        Self::of(ManualClock::at(T0), Options::default(), 64).settled().await
    }

    /// With settings as the first record of each partition.
    pub async fn settled(self) -> Self {
        create_settings(&*self.log, &*self.clock, &five_seconds()).await.unwrap();
        self
    }

    /// Another log under the same id, with nothing in it: what an operator gets who makes the topics anew.
    pub fn made_anew(&self) -> Self {
        let id = self.log.id().to_owned();
        let options = Options { new_id: Arc::new(move || id.clone()), ..Options::default() };
        let anew = Self::of(ManualClock::at(self.clock.now_ms()), options, PARTITIONS);
        Self { bucket: self.bucket.clone(), ..anew }
    }

    pub fn without_settings() -> Self {
        Self::of(ManualClock::at(T0), Options::default(), PARTITIONS)
    }

    fn of(clock: Arc<ManualClock>, options: Options, partitions: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let specs = [RAW, ENRICHED].map(|topic| TopicSpec { topic, partitions });
        let log = EmbeddedLog::open(&folder.path().join("log"), &specs, clock.clone(), options).unwrap();
        Self { folder, clock, log, bucket: Arc::new(InMemory::new()), faults: Faults::default() }
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
        let (tell, hung) = watch::channel(false);
        let faults = self.faults.fresh();
        let log = Arc::new(Fragile::new(self.log.clone(), faults.clone(), tell));
        let store = Arc::new(FragileStore::new(self.bucket.clone(), faults.clone()));
        let (progress, readiness, stop) = (Arc::new(Progress::default()), Readiness::new(), CancellationToken::new());
        let config = Config { tick_interval, ..Config::default() };
        let (clock, readiness) = (self.clock.clone(), readiness);
        let services = Services { log, clock, state_dir, store, config, readiness: readiness.clone() };
        let task = tokio::spawn(run(services, progress.clone(), stop.clone()));
        Running { progress, readiness, stop, task, faults, hung }
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

    /// The keys of a partition's snapshots, oldest first.
    pub async fn snapshot_keys(&self, partition: Partition) -> Vec<String> {
        let prefix = Path::parse(snapshots_prefix(self.log.id(), partition).trim_end_matches('/')).unwrap();
        let mut keys: Vec<_> =
            self.bucket.list(Some(&prefix)).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
        keys.sort();
        keys
    }

    /// Waits until every partition has a snapshot of the present hour.
    pub async fn snapshots_are_there(&self) {
        let hour = |time_ms: i64| time_ms / crate::support::HOUR;
        let present = hour(self.clock.now_ms());
        let waiting = async {
            for partition in 0..PARTITIONS {
                let there = |keys: Vec<String>| {
                    let newest = keys.last().and_then(|key| SnapshotName::of_key(key));
                    newest.is_some_and(|name| hour(name.log_time_ms) >= present)
                };
                while !there(self.snapshot_keys(partition).await) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("snapshots come");
    }

    /// All raw records, by partition.
    pub async fn raw(&self) -> Vec<Vec<Record>> {
        let mut raw = Vec::new();
        for partition in 0..PARTITIONS {
            raw.push(self.records(RAW, partition).await);
        }
        raw
    }

    /// What the log holds is what the fold makes of raw at once: the same outcomes in the same order.
    pub async fn check_outcomes(&self) {
        self.check_outcomes_of(self.raw().await).await;
    }

    /// As [`Rig::check_outcomes`], where raw holds no longer all that it held.
    pub async fn check_outcomes_of(&self, raw: Vec<Vec<Record>>) {
        let mut total = 0;
        for (partition, raw) in (0..).zip(raw) {
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
        self.faults.hang(at);
    }

    /// A commit of its was fenced.
    pub fn fenced(&self) -> bool {
        self.faults.fenced()
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
