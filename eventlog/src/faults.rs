//! A log over another that fails on demand, for tests of whatever uses a log. As [`crate::conformance`], it is here so that
//! every crate's tests use the same one. Its offsets are those of the log below times [`SPREAD`]: whoever counts on dense ones is
//! found out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    AppendError, Appended, Chunk, CommitError, Consumer, Delivery, Extent, Log, NewRecord, Offset, Partition,
    ReadError, Topic, Transaction,
};

/// How far apart offsets are.
pub const SPREAD: Offset = 3;

/// What becomes of appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Appends {
    /// They work.
    #[default]
    Work,
    /// Refused, and not in the log.
    Refused,
    /// Unknown, and in the log.
    LostAnswer,
    /// Unknown, and not in the log.
    LostRecords,
    /// Held, without an answer, until appends of the topic are set to something else.
    Held,
}

/// The wrapper.
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    shared: Arc<Shared>,
}

struct Shared {
    topics: Mutex<HashMap<Topic, PerTopic>>,
    changed: watch::Sender<u64>,
    readable: watch::Sender<bool>,
    read_bytes: AtomicUsize,
    extents_asked: AtomicU64,
}

#[derive(Default)]
struct PerTopic {
    appends: Appends,
    /// Of the next ones, before `appends` counts.
    next: VecDeque<Appends>,
    offered: u64,
    /// Call by call, what went in.
    taken: Vec<Vec<NewRecord>>,
    last: Option<Appended>,
}

impl FaultyLog {
    /// A log that works, until it is told otherwise.
    #[must_use]
    pub fn over(inner: Arc<dyn Log>) -> Arc<Self> {
        let shared = Shared {
            topics: Mutex::default(),
            changed: watch::Sender::new(0),
            readable: watch::Sender::new(true),
            read_bytes: AtomicUsize::new(usize::MAX),
            extents_asked: AtomicU64::new(0),
        };
        Arc::new(Self { inner, shared: Arc::new(shared) })
    }

    /// From now on appends to the topic end like this.
    pub fn set_appends(&self, topic: Topic, appends: Appends) {
        self.shared.topics().entry(topic).or_default().appends = appends;
        self.shared.tell();
    }

    /// The next appends to the topic end like these, one after the other.
    pub fn fail_next(&self, topic: Topic, appends: impl IntoIterator<Item = Appends>) {
        self.shared.topics().entry(topic).or_default().next.extend(appends);
    }

    /// From now on the log can (not) be read, looked at, joined or consumed.
    pub fn set_readable(&self, readable: bool) {
        self.shared.readable.send_replace(readable);
    }

    /// Reads give at most so many bytes (but a record at least), so that whoever reads must go on reading.
    pub fn set_read_bytes(&self, bytes: usize) {
        self.shared.read_bytes.store(bytes, Ordering::SeqCst);
    }

    /// The appends to the topic that went in, call by call.
    #[must_use]
    pub fn taken(&self, topic: Topic) -> Vec<Vec<NewRecord>> {
        self.shared.topics().get(&topic).map(|of| of.taken.clone()).unwrap_or_default()
    }

    /// The last record of the topic that went in.
    #[must_use]
    pub fn last_appended(&self, topic: Topic) -> Option<Appended> {
        self.shared.topics().get(&topic).and_then(|of| of.last)
    }

    /// How many appends to the topic were tried.
    #[must_use]
    pub fn offers(&self, topic: Topic) -> u64 {
        self.shared.topics().get(&topic).map_or(0, |of| of.offered)
    }

    /// Waits until that many appends to the topic were tried.
    ///
    /// # Panics
    /// After [`crate::conformance::DEADLINE`].
    pub async fn offered(&self, topic: Topic, count: u64) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = changed.wait_for(|_| self.offers(topic) >= count);
        let in_time = tokio::time::timeout(crate::conformance::DEADLINE, waiting).await.is_ok();
        assert!(in_time, "the log was offered records {} times, not {count}", self.offers(topic));
    }

    /// How often somebody asked where a partition ends.
    #[must_use]
    pub fn extents_asked(&self) -> u64 {
        self.shared.extents_asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, PerTopic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn check_readable(&self) -> Result<(), ReadError> {
        if *self.readable.borrow() { Ok(()) } else { Err(ReadError::Unavailable("pulled the plug".into())) }
    }

    /// What this append comes to; waits as long as appends are held.
    async fn fate(&self, topic: Topic) -> Appends {
        let mut changed = self.changed.subscribe();
        let mut fate = {
            let mut topics = self.topics();
            let of = topics.entry(topic).or_default();
            of.offered += 1;
            of.next.pop_front().unwrap_or(of.appends)
        };
        self.tell();
        while fate == Appends::Held {
            changed.borrow_and_update();
            fate = self.topics().get(&topic).map_or(Appends::Work, |of| of.appends);
            if fate == Appends::Held && changed.changed().await.is_err() {
                break;
            }
        }
        fate
    }
}

#[async_trait]
impl Log for FaultyLog {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        let fate = self.shared.fate(topic).await;
        if fate == Appends::Refused {
            return Err(AppendError::Refused { reason: "the secret cause".into() });
        }
        let unknown = || Err(AppendError::Unknown { reason: "the secret cause".into() });
        if fate == Appends::LostRecords {
            return unknown();
        }
        let appended = spread(self.inner.append(topic, records.clone()).await?);
        {
            let mut topics = self.shared.topics();
            let of = topics.entry(topic).or_default();
            of.taken.push(records);
            of.last = appended.last().copied().or(of.last);
        }
        self.shared.tell();
        if fate == Appends::LostAnswer { unknown() } else { Ok(appended) }
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        self.shared.check_readable()?;
        let max_bytes = max_bytes.min(self.shared.read_bytes.load(Ordering::SeqCst));
        let read = self.inner.read(topic, partition, from.div_ceil(SPREAD), max_bytes).await;
        let Chunk { mut records, next } = read.map_err(|error| spread_error(error, |_| Some(from)))?;
        records.iter_mut().for_each(|record| record.offset *= SPREAD);
        Ok(Chunk { records, next: (next * SPREAD).max(from) })
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        self.shared.extents_asked.fetch_add(1, Ordering::SeqCst);
        // As long as a round trip, so that others come to ask meanwhile.
        tokio::task::yield_now().await;
        self.shared.check_readable()?;
        let Extent { start, end } = self.inner.extent(topic, partition).await?;
        Ok(Extent { start: start * SPREAD, end: end * SPREAD })
    }

    async fn position_at(&self, topic: Topic, partition: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError> {
        self.shared.check_readable()?;
        Ok(self.inner.position_at(topic, partition, time_ms).await?.map(|offset| offset * SPREAD))
    }

    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        let mut readable = self.shared.readable.subscribe();
        readable.borrow_and_update();
        tokio::select! {
            () = self.inner.grown(topic, partition, end / SPREAD, at_most) => {}
            // As a connection that breaks: whoever waits comes back and asks.
            _ = readable.changed() => {}
        }
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        self.shared.check_readable()?;
        let inner = self.inner.subscribe(group, topic).await?;
        Ok(Box::new(FaultyConsumer { inner, shared: Arc::clone(&self.shared), starts: HashMap::new() }))
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    shared: Arc<Shared>,
    /// Where it was told to start.
    starts: HashMap<Partition, Offset>,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        let (mut readable, starts) = (self.shared.readable.subscribe(), &self.starts);
        self.shared.check_readable()?;
        let asked = |partition| starts.get(&partition).copied();
        tokio::select! {
            delivery = self.inner.next() => delivery.map(spread_delivery).map_err(|error| spread_error(error, asked)),
            _ = readable.wait_for(|readable| !readable) => Err(ReadError::Unavailable("pulled the plug".into())),
        }
    }

    fn start(&mut self, partition: Partition, from: Offset) {
        self.starts.insert(partition, from);
        self.inner.start(partition, from.div_ceil(SPREAD));
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        self.inner.pause(partition, paused);
    }

    // A group's positions are kept and given back as they are: the log does nothing with them.
    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        self.inner.commit(transaction).await.map(spread)
    }
}

fn spread(mut appended: Vec<Appended>) -> Vec<Appended> {
    appended.iter_mut().for_each(|one| one.offset *= SPREAD);
    appended
}

/// `asked`: the position that was asked for in a partition.
fn spread_error(error: ReadError, asked: impl Fn(Partition) -> Option<Offset>) -> ReadError {
    let told = |partition, from: Offset| {
        asked(partition).filter(|asked| asked.div_ceil(SPREAD) == from).unwrap_or(from * SPREAD)
    };
    match error {
        ReadError::Truncated { topic, partition, from, start } => {
            ReadError::Truncated { topic, partition, from: told(partition, from), start: start * SPREAD }
        }
        ReadError::Regressed { topic, partition, from, end } => {
            ReadError::Regressed { topic, partition, from: told(partition, from), end: end * SPREAD }
        }
        ReadError::Damaged { topic, partition, offset, reason } => {
            ReadError::Damaged { topic, partition, offset: offset * SPREAD, reason }
        }
        ReadError::Unavailable(reason) => ReadError::Unavailable(reason),
    }
}

fn spread_delivery(delivery: Delivery) -> Delivery {
    match delivery {
        Delivery::Records { partition, mut records, next } => {
            records.iter_mut().for_each(|record| record.offset *= SPREAD);
            Delivery::Records { partition, records, next: next * SPREAD }
        }
        Delivery::End { partition, next } => Delivery::End { partition, next: next * SPREAD },
        other @ (Delivery::Assigned { .. } | Delivery::Revoked { .. } | Delivery::Lost { .. }) => other,
    }
}
