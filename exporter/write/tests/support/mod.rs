//! What the exporter's tests share: a log in memory, a store with faults, a script of what happened, a view of the bucket.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

pub mod log;
pub mod parquet;
pub mod script;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use millrace_clock::ManualClock;
use millrace_eventlog::{Log, ReadError, Topic};
use millrace_exporter_write::{Account, Accounts, Config, Error, Progress, Services, run};
use millrace_schemas::{partition, topics};
use millrace_telemetry::Readiness;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use log::MemoryLog;

/// 2026-03-10, a UTC midnight.
pub const DAY_1: i64 = 1_773_100_800_000;
pub const DAY_MS: i64 = 86_400_000;
/// Nothing here takes longer unless it never comes.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Accounts that never change.
pub struct Fixed(pub Vec<Account>);

#[async_trait]
impl Accounts for Fixed {
    async fn all(&self) -> Result<Vec<Account>, ReadError> {
        Ok(self.0.clone())
    }
}

pub fn account(id: &str, created_ms: i64) -> Account {
    Account { id: id.to_owned(), created_ms, closed_ms: None, slot_ms: None }
}

/// A folder as a bucket; gone with the value.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new_with_prefix(self.dir.path()).unwrap())
    }

    /// Every key, in order; looks at no object, so any may go meanwhile.
    pub async fn keys(&self) -> Vec<String> {
        let found: Vec<_> = self.store().list(None).try_collect().await.unwrap();
        let mut keys: Vec<String> = found.into_iter().map(|meta| meta.location.to_string()).collect();
        keys.sort();
        keys
    }

    /// Every key and its bytes.
    pub async fn everything(&self) -> BTreeMap<String, Bytes> {
        let store = self.store();
        let found: Vec<_> = store.list(None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for meta in found {
            let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
            objects.insert(meta.location.to_string(), bytes);
        }
        objects
    }

    /// Every key outside `_millrace/` and its bytes.
    pub async fn exported(&self) -> BTreeMap<String, Bytes> {
        let mut objects = self.everything().await;
        objects.retain(|key, _| !key.starts_with("_millrace/"));
        objects
    }

    pub async fn put(&self, key: &str, bytes: Bytes) {
        self.store().put(&Path::parse(key).unwrap(), bytes.into()).await.unwrap();
    }

    pub async fn has(&self, key: &str) -> bool {
        self.store().head(&Path::parse(key).unwrap()).await.is_ok()
    }
}

/// An exporter at work. Dropping it is a crash.
pub struct Exporter {
    task: JoinHandle<Result<(), Error>>,
    pub progress: Arc<Progress>,
    /// The shards that have accounts: the others have nothing to publish.
    shards: BTreeSet<u32>,
    pub stop: CancellationToken,
    pub readiness: Readiness,
}

impl Exporter {
    pub fn start(
        log: &Arc<MemoryLog>,
        store: Arc<dyn ObjectStore>,
        accounts: &[Account],
        clock: &Arc<ManualClock>,
        config: Config,
        writer: u8,
    ) -> Self {
        Self::start_on(Arc::clone(log) as _, store, accounts, clock, config, writer)
    }

    pub fn start_on(
        log: Arc<dyn Log>,
        store: Arc<dyn ObjectStore>,
        accounts: &[Account],
        clock: &Arc<ManualClock>,
        config: Config,
        writer: u8,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let partitions = log.partitions(Topic(topics::ENRICHED));
        let shards = accounts.iter().map(|account| partition::of_account(&account.id, partitions)).collect();
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let services = Services {
            log,
            store,
            accounts: Arc::new(Fixed(accounts.to_vec())),
            clock: Arc::clone(clock) as _,
            config,
            readiness: readiness.clone(),
            writer_id: [writer; 16],
        };
        let task = tokio::spawn(run(services, Arc::clone(&progress), stop.clone()));
        Self { task, progress, shards, stop, readiness }
    }

    /// Stops it in good order.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, &mut self.task).await.expect("stops in time").expect("does not panic")
    }

    /// The error it ends with by itself.
    pub async fn ended(mut self) -> Error {
        let ended =
            tokio::time::timeout(DEADLINE, &mut self.task).await.expect("ends in time").expect("does not panic");
        ended.expect_err("ends with an error")
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// The instant up to which every shard with accounts is published; 0 if one is not.
    pub fn through(&self) -> i64 {
        let through = self.progress.snapshot().published_through_ms;
        self.shards.iter().map(|shard| through.get(shard).copied().unwrap_or_default()).min().unwrap_or_default()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Moves the clock on while a future is awaited, so that ages and pauses pass in no time.
pub async fn with_time<T>(clock: &ManualClock, future: impl Future<Output = T>) -> T {
    tokio::pin!(future);
    loop {
        tokio::select! {
            answer = &mut future => return answer,
            () = tokio::time::sleep(Duration::from_millis(1)) => clock.advance(Duration::from_secs(1)),
        }
    }
}

/// Waits for a condition, with the clock moving.
pub async fn until(what: &str, clock: &ManualClock, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, with_time(clock, wait)).await;
    assert!(in_time.is_ok(), "never: {what}");
}

/// Waits until every shard with accounts is published through `through_ms`.
pub async fn published(exporter: &Exporter, clock: &ManualClock, through_ms: i64) {
    let reached = async || exporter.through() >= through_ms || exporter.has_ended();
    until(&format!("published through {through_ms}"), clock, reached).await;
    let so_far = exporter.progress.snapshot();
    assert!(exporter.through() >= through_ms, "ended before it was published through {through_ms}: {so_far:?}");
}
