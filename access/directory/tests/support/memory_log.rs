//! A log in memory that fails on demand. Its offsets have gaps, as every log's may.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millrace_clock::SharedClock;
use millrace_eventlog::{
    AppendError, Appended, Chunk, Consumer, Extent, Log, NewRecord, Offset, Partition, ReadError, Record, Topic,
};
use millrace_schemas::topics;
use tokio::sync::watch;

pub const ACCESS: Topic = Topic(topics::ACCESS);
pub const AUDIT: Topic = Topic(topics::AUDIT);
/// Partitions of the audit topic.
const AUDIT_PARTITIONS: u32 = 4;

/// What happens to an append instead of success.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Refused, and not in the log.
    Refused,
    /// Unknown, and in the log.
    UnknownButIn,
    /// Unknown, and not in the log.
    UnknownAndOut,
    /// No answer, ever.
    Hangs,
}

pub struct MemoryLog {
    clock: SharedClock,
    records: Mutex<HashMap<(Topic, Partition), Vec<Record>>>,
    faults: Mutex<HashMap<Topic, VecDeque<Fault>>>,
    unreadable: AtomicBool,
    silent: AtomicBool,
    extents_asked: AtomicU64,
    appends: watch::Sender<u64>,
}

impl MemoryLog {
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            records: Mutex::default(),
            faults: Mutex::default(),
            unreadable: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            extents_asked: AtomicU64::new(0),
            appends: watch::Sender::new(0),
        })
    }

    /// The next appends to the topic end like this.
    pub fn fail_next(&self, topic: Topic, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().entry(topic).or_default().extend(faults);
    }

    /// From now on the log can (not) be read.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::SeqCst);
        self.appends.send_modify(|count| *count += 1);
    }

    /// From now on nobody who asks where a partition ends is answered.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// How often somebody asked where a partition ends.
    pub fn extents_asked(&self) -> u64 {
        self.extents_asked.load(Ordering::SeqCst)
    }

    /// All records of a topic, partition after partition.
    pub fn all(&self, topic: Topic) -> Vec<Record> {
        let records = self.records.lock().unwrap();
        (0..self.partitions(topic)).flat_map(|p| records.get(&(topic, p)).cloned().unwrap_or_default()).collect()
    }

    fn take(&self, topic: Topic, new: Vec<NewRecord>) -> Vec<Appended> {
        let append_time_ms = self.clock.now_ms();
        let mut records = self.records.lock().unwrap();
        let appended = new
            .into_iter()
            .map(|new| {
                let partition = records.entry((topic, new.partition)).or_default();
                let end = end_of(partition);
                // Every third record is followed by a gap, as a transaction's marker would leave one.
                let offset = if partition.len() % 3 == 2 { end + 1 } else { end };
                let NewRecord { partition: number, version, key, value } = new;
                partition.push(Record { offset, append_time_ms, version, key, value });
                Appended { partition: number, offset, append_time_ms }
            })
            .collect();
        drop(records);
        self.appends.send_modify(|count| *count += 1);
        appended
    }

    fn check_readable(&self) -> Result<(), ReadError> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(ReadError::Unavailable("pulled the plug".into()));
        }
        Ok(())
    }
}

fn end_of(records: &[Record]) -> Offset {
    records.last().map_or(0, |record| record.offset + 1)
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> &str {
        "memory"
    }

    fn partitions(&self, topic: Topic) -> u32 {
        if topic == AUDIT { AUDIT_PARTITIONS } else { 1 }
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        let fault = self.faults.lock().unwrap().get_mut(&topic).and_then(VecDeque::pop_front);
        match fault {
            None => Ok(self.take(topic, records)),
            Some(Fault::Refused) => Err(AppendError::Refused { reason: "full".into() }),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::UnknownAndOut) => Err(AppendError::Unknown { reason: "timed out".into() }),
            Some(Fault::UnknownButIn) => {
                self.take(topic, records);
                Err(AppendError::Unknown { reason: "timed out".into() })
            }
        }
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        _max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        self.check_readable()?;
        let records = self.records.lock().unwrap();
        let all = records.get(&(topic, partition)).map(Vec::as_slice).unwrap_or_default();
        // At most three at a time, so that whoever reads must go on reading.
        let some: Vec<Record> = all.iter().filter(|record| record.offset >= from).take(3).cloned().collect();
        let next = some.last().map_or(from, |record| record.offset + 1);
        Ok(Chunk { records: some, next })
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        self.extents_asked.fetch_add(1, Ordering::SeqCst);
        // As long as a round trip, so that others come to ask meanwhile.
        tokio::task::yield_now().await;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.check_readable()?;
        let records = self.records.lock().unwrap();
        let end = records.get(&(topic, partition)).map_or(0, |records| end_of(records));
        Ok(Extent { start: 0, end })
    }

    async fn position_at(&self, _: Topic, _: Partition, _: i64) -> Result<Option<Offset>, ReadError> {
        Err(ReadError::Unavailable("the directory does not look for times".into()))
    }

    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        let mut appends = self.appends.subscribe();
        let beyond = |_: &u64| {
            let records = self.records.lock().unwrap();
            records.get(&(topic, partition)).is_some_and(|records| end_of(records) > end)
        };
        let _ = tokio::time::timeout(at_most, appends.wait_for(beyond)).await;
    }

    async fn subscribe(&self, _: &str, _: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        Err(ReadError::Unavailable("the directory follows without a group".into()))
    }
}

/// The same log, seen late: of the access topic only what lay before this view's own last append, or before the last
/// [`Late::look`]. So two nodes validate against different pasts, as nodes do that race.
pub struct Late {
    log: Arc<MemoryLog>,
    seen: watch::Sender<Offset>,
}

impl Late {
    pub fn new(log: &Arc<MemoryLog>) -> Arc<Self> {
        let late = Self { log: log.clone(), seen: watch::Sender::new(0) };
        late.look();
        Arc::new(late)
    }

    /// Sees everything there is now.
    pub fn look(&self) {
        let end = self.log.records.lock().unwrap().get(&(ACCESS, 0)).map_or(0, |records| end_of(records));
        self.seen.send_modify(|seen| *seen = end.max(*seen));
    }
}

#[async_trait]
impl Log for Late {
    fn id(&self) -> &str {
        self.log.id()
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        let appended = self.log.append(topic, records).await;
        self.look();
        appended
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        let mut chunk = self.log.read(topic, partition, from, max_bytes).await?;
        let seen = *self.seen.borrow();
        chunk.records.retain(|record| record.offset < seen);
        chunk.next = chunk.records.last().map_or(from, |record| record.offset + 1);
        Ok(chunk)
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        let extent = self.log.extent(topic, partition).await?;
        Ok(Extent { start: extent.start, end: extent.end.min(*self.seen.borrow()) })
    }

    async fn position_at(&self, _: Topic, _: Partition, _: i64) -> Result<Option<Offset>, ReadError> {
        Err(ReadError::Unavailable("the directory does not look for times".into()))
    }

    async fn grown(&self, _: Topic, _: Partition, end: Offset, at_most: Duration) {
        let mut seen = self.seen.subscribe();
        let _ = tokio::time::timeout(at_most, seen.wait_for(|seen| *seen > end)).await;
    }

    async fn subscribe(&self, _: &str, _: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        Err(ReadError::Unavailable("the directory follows without a group".into()))
    }
}
