//! A log and a bucket that fail on request, as real ones do.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use millrace_eventlog::{
    AppendError, Appended, Chunk, CommitError, Consumer, Delivery, Extent, Log, NewRecord, Offset, Partition,
    ReadError, Topic, Transaction,
};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::watch;

/// When a commit hangs until its process is killed, or (before the commit) until it hangs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    Never = 0,
    /// The log has not heard of the transaction.
    BeforeCommit = 1,
    /// The log has the transaction; state and local store do not know.
    AfterCommit = 2,
}

/// What goes wrong. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Switches>);

#[derive(Default)]
struct Switches {
    hang: AtomicU8,
    fenced: AtomicBool,
    log_away: AtomicBool,
    reads_away: AtomicBool,
    silent: AtomicBool,
    bucket_away: AtomicBool,
    group_forgets: AtomicBool,
    begins_again: AtomicBool,
    reads: AtomicU64,
    subscribed: AtomicU64,
    looking: AtomicUsize,
    looking_max: AtomicUsize,
}

impl Faults {
    /// The same switches for another processor, whose own story begins now.
    pub fn fresh(&self) -> Self {
        let fresh = Self::default();
        fresh.reads_away(self.0.reads_away.load(Ordering::SeqCst));
        fresh.silent(self.0.silent.load(Ordering::SeqCst));
        fresh.bucket_away(self.0.bucket_away.load(Ordering::SeqCst));
        fresh.group_forgets(self.0.group_forgets.load(Ordering::SeqCst));
        fresh
    }

    pub fn hang(&self, at: Hang) {
        self.0.hang.store(at as u8, Ordering::SeqCst);
    }

    fn hangs(&self, at: Hang) -> bool {
        self.0.hang.load(Ordering::SeqCst) == at as u8
    }

    /// A commit was fenced.
    pub fn fenced(&self) -> bool {
        self.0.fenced.load(Ordering::SeqCst)
    }

    /// Nothing can be read from the log, nor written to it, until it is back.
    pub fn log_away(&self, away: bool) {
        self.0.log_away.store(away, Ordering::SeqCst);
    }

    /// Ranges and ends of partitions cannot be read, though deliveries come.
    pub fn reads_away(&self, away: bool) {
        self.0.reads_away.store(away, Ordering::SeqCst);
    }

    /// The group says nothing, not even who owns what.
    pub fn silent(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::SeqCst);
    }

    /// The object store answers nothing but errors.
    pub fn bucket_away(&self, away: bool) {
        self.0.bucket_away.store(away, Ordering::SeqCst);
    }

    /// The group knows no positions any more.
    pub fn group_forgets(&self, forgets: bool) {
        self.0.group_forgets.store(forgets, Ordering::SeqCst);
    }

    /// What is committed is put at the beginning, as into a topic that was made anew.
    pub fn begins_again(&self, begins_again: bool) {
        self.0.begins_again.store(begins_again, Ordering::SeqCst);
    }

    /// Reads of the log so far; a consumer's deliveries are none.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// How often the group was joined.
    pub fn joined(&self) -> u64 {
        self.0.subscribed.load(Ordering::SeqCst)
    }

    /// How many ends of partitions were asked for at once, at most: each recovery asks for one after the other.
    pub fn asked_at_once_max(&self) -> usize {
        self.0.looking_max.load(Ordering::SeqCst)
    }

    fn there(&self) -> Result<(), ReadError> {
        Self::unless(&self.0.log_away)
    }

    fn readable(&self) -> Result<(), ReadError> {
        self.there().and(Self::unless(&self.0.reads_away))
    }

    fn unless(away: &AtomicBool) -> Result<(), ReadError> {
        if away.load(Ordering::SeqCst) { Err(ReadError::Unavailable("no broker answers".into())) } else { Ok(()) }
    }
}

pub struct Fragile {
    inner: Arc<dyn Log>,
    faults: Faults,
    tell: Arc<watch::Sender<bool>>,
}

impl Fragile {
    pub fn new(inner: Arc<dyn Log>, faults: Faults, tell: watch::Sender<bool>) -> Self {
        Self { inner, faults, tell: Arc::new(tell) }
    }
}

struct FragileConsumer {
    inner: Box<dyn Consumer>,
    faults: Faults,
    tell: Arc<watch::Sender<bool>>,
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
        self.faults.there().map_err(|away| AppendError::Unknown { reason: away.to_string() })?;
        self.inner.append(topic, records).await
    }
    async fn read(&self, topic: Topic, p: Partition, from: Offset, max_bytes: usize) -> Result<Chunk, ReadError> {
        self.faults.readable()?;
        self.faults.0.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(topic, p, from, max_bytes).await
    }
    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        self.faults.readable()?;
        let Switches { looking, looking_max, .. } = &*self.faults.0;
        looking_max.fetch_max(looking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let extent = self.inner.extent(topic, partition).await;
        looking.fetch_sub(1, Ordering::SeqCst);
        extent
    }
    async fn position_at(&self, topic: Topic, p: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError> {
        self.faults.readable()?;
        self.inner.position_at(topic, p, time_ms).await
    }
    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        self.inner.grown(topic, partition, end, at_most).await;
    }
    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        self.faults.there()?;
        self.faults.0.subscribed.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.subscribe(group, topic).await?;
        Ok(Box::new(FragileConsumer { inner, faults: self.faults.clone(), tell: self.tell.clone() }))
    }
}

#[async_trait]
impl Consumer for FragileConsumer {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        self.faults.there()?;
        while self.faults.0.silent.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut delivery = self.inner.next().await;
        if let Ok(Delivery::Assigned { committed, .. }) = &mut delivery
            && self.faults.0.group_forgets.load(Ordering::SeqCst)
        {
            *committed = None;
        }
        delivery
    }
    fn start(&mut self, partition: Partition, from: Offset) {
        self.inner.start(partition, from);
    }
    fn pause(&mut self, partition: Partition, paused: bool) {
        self.inner.pause(partition, paused);
    }
    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        self.faults.there().map_err(|away| CommitError::Aborted(away.to_string()))?;
        if self.faults.hangs(Hang::AfterCommit) {
            self.inner.commit(transaction).await?;
            let _ = self.tell.send(true);
            return std::future::pending().await;
        }
        while self.faults.hangs(Hang::BeforeCommit) {
            let _ = self.tell.send(true);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut committed = self.inner.commit(transaction).await;
        if self.faults.0.begins_again.load(Ordering::SeqCst) {
            committed.iter_mut().flatten().for_each(|appended| appended.offset = 0);
        }
        let fenced = matches!(committed, Err(CommitError::Fenced { .. }));
        self.faults.0.fenced.fetch_or(fenced, Ordering::SeqCst);
        committed
    }
}

/// A bucket that may be away.
pub struct FragileStore {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
}

impl FragileStore {
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn there(&self) -> Result<(), Error> {
        if self.faults.0.bucket_away.load(Ordering::SeqCst) {
            return Err(Error::Generic { store: "bucket", source: "503 Slow Down".into() });
        }
        Ok(())
    }
}

impl fmt::Display for FragileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fragile store")
    }
}

impl fmt::Debug for FragileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fragile store")
    }
}

#[async_trait]
impl ObjectStore for FragileStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult, Error> {
        self.there()?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        self.there()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult, Error> {
        self.there()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        self.there()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path, Error>>,
    ) -> BoxStream<'static, Result<Path, Error>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        match self.there() {
            Ok(()) => self.inner.list(prefix),
            Err(away) => futures::stream::iter([Err(away)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult, Error> {
        self.there()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<(), Error> {
        self.there()?;
        self.inner.copy_opts(from, to, options).await
    }
}
