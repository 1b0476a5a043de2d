//! A log in memory: every subscriber gets all partitions and believes that they are its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_eventlog::{
    AppendError, Appended, Chunk, CommitError, Consumer, Delivery, Extent, Log, NewRecord, Offset, Partition,
    ReadError, Record, Topic, Transaction,
};
use millrace_schemas::topics;
use tokio::sync::{broadcast, watch};

pub struct MemoryLog {
    id: String,
    partitions: u32,
    /// The most records of one delivery.
    batch: usize,
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
    revoked: broadcast::Sender<Partition>,
    /// Append time of the first record of the raw topic, ms; the exporter looks at no other.
    pub begins_ms: AtomicI64,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<Partition, Vec<Record>>,
    starts: BTreeMap<Partition, Offset>,
}

impl MemoryLog {
    pub fn new(id: &str, partitions: u32, batch: usize) -> Arc<Self> {
        let (changed, revoked) = (watch::Sender::new(0), broadcast::Sender::new(256));
        Arc::new(Self {
            id: id.to_owned(),
            partitions,
            batch,
            inner: Arc::default(),
            changed,
            revoked,
            begins_ms: AtomicI64::new(0),
        })
    }

    /// Appends to the enriched topic. Offsets skip one now and then: they are not dense.
    pub fn write(&self, partition: Partition, version: u32, value: Bytes) {
        let mut inner = self.inner.lock().unwrap();
        let records = inner.records.entry(partition).or_default();
        let offset = records.last().map_or(0, |last| last.offset + 1 + u64::from(records.len().is_multiple_of(7)));
        records.push(Record { offset, append_time_ms: 0, version, key: Bytes::new(), value });
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// As if everything before `start` had been deleted.
    pub fn truncate(&self, partition: Partition, start: Offset) {
        let mut inner = self.inner.lock().unwrap();
        inner.starts.insert(partition, start);
        inner.records.entry(partition).or_default().retain(|record| record.offset >= start);
    }

    /// Takes a partition from every consumer and gives it back.
    pub fn revoke(&self, partition: Partition) {
        let _ = self.revoked.send(partition);
    }

    fn end(&self, partition: Partition) -> Offset {
        let inner = self.inner.lock().unwrap();
        inner.records.get(&partition).and_then(|records| records.last()).map_or(0, |last| last.offset + 1)
    }
}

impl Inner {
    fn after(&self, partition: Partition, from: Offset, most: usize) -> Vec<Record> {
        let Some(records) = self.records.get(&partition) else { return Vec::new() };
        let first = records.partition_point(|record| record.offset < from);
        records[first..].iter().take(most).cloned().collect()
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        self.partitions
    }

    async fn append(&self, _topic: Topic, _records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        Err(AppendError::Refused { reason: "the exporter appends nothing".into() })
    }

    async fn read(&self, topic: Topic, partition: Partition, from: Offset, _bytes: usize) -> Result<Chunk, ReadError> {
        if topic.0 == topics::RAW {
            let append_time_ms = self.begins_ms.load(Ordering::SeqCst);
            let first = Record { offset: 0, append_time_ms, version: 1, key: Bytes::new(), value: Bytes::new() };
            return Ok(Chunk { records: vec![first], next: 1 });
        }
        let records = self.inner.lock().unwrap().after(partition, from, self.batch);
        let next = records.last().map_or(from, |last| last.offset + 1);
        Ok(Chunk { records, next })
    }

    async fn extent(&self, _topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        let start = self.inner.lock().unwrap().starts.get(&partition).copied().unwrap_or_default();
        Ok(Extent { start, end: self.end(partition) })
    }

    async fn position_at(&self, _: Topic, _: Partition, _time_ms: i64) -> Result<Option<Offset>, ReadError> {
        Ok(None)
    }

    async fn grown(&self, _topic: Topic, _partition: Partition, _end: Offset, _at_most: Duration) {}

    async fn subscribe(&self, _group: &str, _topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        let all = |partition| Delivery::Assigned { partition, committed: None };
        Ok(Box::new(MemoryConsumer {
            inner: Arc::clone(&self.inner),
            batch: self.batch,
            control: (0..self.partitions).map(all).collect(),
            positions: BTreeMap::new(),
            paused: BTreeSet::new(),
            changed: self.changed.subscribe(),
            revoked: self.revoked.subscribe(),
        }))
    }
}

struct MemoryConsumer {
    inner: Arc<Mutex<Inner>>,
    batch: usize,
    control: VecDeque<Delivery>,
    positions: BTreeMap<Partition, Offset>,
    paused: BTreeSet<Partition>,
    changed: watch::Receiver<u64>,
    revoked: broadcast::Receiver<Partition>,
}

impl MemoryConsumer {
    fn ready(&mut self) -> Option<Delivery> {
        if let Ok(partition) = self.revoked.try_recv() {
            self.positions.remove(&partition);
            self.control.push_back(Delivery::Revoked { partition });
            self.control.push_back(Delivery::Assigned { partition, committed: None });
        }
        if let Some(delivery) = self.control.pop_front() {
            return Some(delivery);
        }
        self.changed.borrow_and_update();
        let inner = self.inner.lock().unwrap();
        for (partition, position) in self.positions.iter_mut().filter(|(partition, _)| !self.paused.contains(partition))
        {
            let records = inner.after(*partition, *position, self.batch);
            if let Some(last) = records.last() {
                *position = last.offset + 1;
                return Some(Delivery::Records { partition: *partition, records, next: *position });
            }
        }
        None
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        loop {
            if let Some(delivery) = self.ready() {
                return Ok(delivery);
            }
            tokio::select! {
                changed = self.changed.changed() => changed.map_err(|_| ReadError::Unavailable("the log is gone".into()))?,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }

    fn start(&mut self, partition: Partition, from: Offset) {
        self.positions.insert(partition, from);
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        if paused {
            self.paused.insert(partition);
        } else {
            self.paused.remove(&partition);
        }
    }

    async fn commit(&mut self, _transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        Ok(Vec::new())
    }
}
