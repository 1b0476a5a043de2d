//! A log in memory whose raw topic fails on demand.
#![allow(clippy::unimplemented, reason = "what no test asks of it")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use millrace_clock::SharedClock;
use millrace_eventlog::{
    AppendError, Appended, Chunk, Consumer, Extent, Log, NewRecord, Offset, Partition, ReadError, Record, Topic,
};
use millrace_schemas::topics;
use tokio::sync::watch;

/// Partitions of the raw topic.
pub const PARTITIONS: u32 = 4;

/// What becomes of appends to the raw topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Refuses,
    /// In the log, but the answer is lost.
    Unknown,
    /// Holds the records and does not answer until the mood changes.
    Silent,
}

pub struct MemoryLog {
    clock: SharedClock,
    records: Mutex<HashMap<(Topic, Partition), Vec<Record>>>,
    /// Records of the raw topic, call by call.
    appends: Mutex<Vec<Vec<NewRecord>>>,
    mood: watch::Sender<Mood>,
    grown: watch::Sender<u64>,
    offered: watch::Sender<u64>,
}

impl MemoryLog {
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            records: Mutex::default(),
            appends: Mutex::default(),
            mood: watch::Sender::new(Mood::Takes),
            grown: watch::Sender::new(0),
            offered: watch::Sender::new(0),
        })
    }

    pub fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// The appends to the raw topic that went in.
    pub fn appends(&self) -> Vec<Vec<NewRecord>> {
        self.appends.lock().unwrap().clone()
    }

    /// How many appends to the raw topic were tried.
    pub fn offers(&self) -> u64 {
        *self.offered.borrow()
    }

    /// Waits until that many appends to the raw topic were tried.
    pub async fn offered(&self, count: u64) {
        let mut offered = self.offered.subscribe();
        let waiting = offered.wait_for(|offered| *offered >= count);
        let _ = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the log is offered records");
    }

    fn take(&self, topic: Topic, new: Vec<NewRecord>) -> Vec<Appended> {
        let append_time_ms = self.clock.now_ms();
        if topic.0 == topics::RAW {
            self.appends.lock().unwrap().push(new.clone());
        }
        let mut records = self.records.lock().unwrap();
        let place = |NewRecord { partition, version, key, value }| {
            let list = records.entry((topic, partition)).or_default();
            let offset = list.last().map_or(0, |last| last.offset + 2);
            list.push(Record { offset, append_time_ms, version, key, value });
            Appended { partition, offset, append_time_ms }
        };
        let appended = new.into_iter().map(place).collect();
        drop(records);
        self.grown.send_modify(|count| *count += 1);
        appended
    }

    fn end(&self, topic: Topic, partition: Partition) -> Offset {
        let records = self.records.lock().unwrap();
        records.get(&(topic, partition)).and_then(|list| list.last()).map_or(0, |last| last.offset + 1)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> &str {
        "memory"
    }

    fn partitions(&self, topic: Topic) -> u32 {
        if topic.0 == topics::ACCESS { 1 } else { PARTITIONS }
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        if topic.0 != topics::RAW {
            return Ok(self.take(topic, records));
        }
        self.offered.send_modify(|count| *count += 1);
        let mood = *self.mood.subscribe().wait_for(|mood| *mood != Mood::Silent).await.unwrap();
        match mood {
            Mood::Refuses => Err(AppendError::Refused { reason: "the secret cause".into() }),
            Mood::Unknown => {
                self.take(topic, records);
                Err(AppendError::Unknown { reason: "the secret cause".into() })
            }
            Mood::Takes | Mood::Silent => Ok(self.take(topic, records)),
        }
    }

    async fn read(&self, topic: Topic, partition: Partition, from: Offset, _: usize) -> Result<Chunk, ReadError> {
        let records = self.records.lock().unwrap();
        let all = records.get(&(topic, partition)).map(Vec::as_slice).unwrap_or_default();
        let records: Vec<Record> = all.iter().filter(|record| record.offset >= from).cloned().collect();
        let next = records.last().map_or(from, |record| record.offset + 1);
        Ok(Chunk { records, next })
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        Ok(Extent { start: 0, end: self.end(topic, partition) })
    }

    async fn position_at(&self, _: Topic, _: Partition, _: i64) -> Result<Option<Offset>, ReadError> {
        unimplemented!("ingest does not look for times")
    }

    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        let mut grown = self.grown.subscribe();
        let _ = tokio::time::timeout(at_most, grown.wait_for(|_| self.end(topic, partition) > end)).await;
    }

    async fn subscribe(&self, _: &str, _: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        unimplemented!("ingest consumes nothing")
    }
}
