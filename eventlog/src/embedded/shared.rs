//! What the writer, the marker, readers and consumers share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::chunk::Chunk;
use super::group::Groups;
use super::head::Span;
use super::identity::Topics;
use super::request::{Request, Work};
use super::store::Store;
use super::tail::Tail;
use crate::limits::{QUEUE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::{AppendError, Appended, Committed, Offset, Partition, ReadError, Topic};

/// One permit of the queue stands for this many bytes.
const PERMIT_BYTES: usize = 1024;
/// What a record costs in the queue beyond its key and value.
const RECORD_OVERHEAD: usize = 96;

/// Everything about an open log that several threads see.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) folder: PathBuf,
    pub(super) topics: Topics,
    /// `None` while the store is being opened again, and after closing.
    store: RwLock<Option<Store>>,
    /// What readers may see. One lock over all partitions, so that a transaction appears at once.
    visible: RwLock<Vec<Span>>,
    commits: AtomicU64,
    tails: Vec<Mutex<Tail>>,
    /// What all tails may take together.
    tail_bytes: usize,
    ends: Vec<watch::Sender<Offset>>,
    /// Per topic: counts up whenever one of its partitions has grown.
    growth: Vec<watch::Sender<u64>>,
    groups: Mutex<Groups>,
    queue: Mutex<Option<mpsc::UnboundedSender<Request>>>,
    room: Arc<Semaphore>,
    closed: AtomicBool,
    trouble: Mutex<Option<String>>,
    abort_next: AtomicBool,
}

/// What a log begins with.
pub(super) struct Parts {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) topics: Topics,
    pub(super) store: Store,
    pub(super) spans: Vec<Span>,
    pub(super) tail_bytes: usize,
    /// The groups' committed positions, by their key in the store.
    pub(super) positions: Vec<(Vec<u8>, Committed)>,
    pub(super) queue: mpsc::UnboundedSender<Request>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { folder, id, topics, store, spans, tail_bytes, positions, queue } = parts;
        Self {
            id,
            folder,
            store: RwLock::new(Some(store)),
            tails: spans.iter().map(|_| Mutex::default()).collect(),
            tail_bytes,
            commits: AtomicU64::new(0),
            ends: spans.iter().map(|span| watch::channel(span.end).0).collect(),
            growth: (0..topics.topics()).map(|_| watch::channel(0).0).collect(),
            visible: RwLock::new(spans),
            groups: Mutex::new(Groups::new(positions)),
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX / PERMIT_BYTES)),
            closed: AtomicBool::new(false),
            trouble: Mutex::new(None),
            abort_next: AtomicBool::new(false),
            topics,
        }
    }

    /// Puts work into the queue, once there is room, and waits for its answer.
    pub(super) async fn enqueue(&self, work: Work) -> Result<Vec<Appended>, AppendError> {
        let mut bytes = 0;
        for (topic, record) in work.outputs.iter() {
            self.index(topic, record.partition);
            let size = record.key.len() + record.value.len();
            if size > RECORD_BYTES_MAX {
                return Err(AppendError::TooLarge { bytes: size, bound: RECORD_BYTES_MAX });
            }
            bytes += size + RECORD_OVERHEAD;
        }
        let permits = (bytes / PERMIT_BYTES + 1).min(QUEUE_BYTES_MAX / PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let request = Request { work, bytes, answer, _room: room };
        queue.send(request).map_err(|_| closed())?;
        drop(queue);
        answered
            .await
            .unwrap_or_else(|_| Err(AppendError::Unknown { reason: "the log stopped before it answered".into() }))
    }

    /// The number of a partition among all. Panics for one the log was not made with: a mistake of wiring.
    pub(super) fn index(&self, topic: Topic, partition: Partition) -> usize {
        match self.topics.index(topic, partition) {
            Some(index) => index,
            None => panic!("the log has no partition {topic}/{partition}"),
        }
    }

    pub(super) fn partitions(&self, topic: Topic) -> u32 {
        match self.topics.partitions(topic) {
            Some(partitions) => partitions,
            None => panic!("the log has no topic {topic}"),
        }
    }

    pub(super) fn span(&self, index: usize) -> Span {
        self.visible.read().unwrap_or_else(PoisonError::into_inner)[index]
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.visible.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn tail(&self, index: usize) -> MutexGuard<'_, Tail> {
        lock(&self.tails[index])
    }

    pub(super) fn groups(&self) -> MutexGuard<'_, Groups> {
        lock(&self.groups)
    }

    pub(super) fn end_of(&self, index: usize) -> watch::Receiver<Offset> {
        self.ends[index].subscribe()
    }

    pub(super) fn growth_of(&self, topic: Topic) -> watch::Receiver<u64> {
        let number = self.topics.number(topic).unwrap_or_else(|| panic!("the log has no topic {topic}"));
        self.growth[number].subscribe()
    }

    /// Makes commits visible: their chunks, then their ends, all partitions at once, then wakes who waits.
    pub(super) fn publish(&self, chunks: impl Iterator<Item = (usize, Chunk)>, spans: Vec<Span>) {
        for (index, chunk) in chunks {
            self.tail(index).push(chunk);
        }
        self.bound_tails();
        self.commits.fetch_add(1, Ordering::Relaxed);
        let before = {
            let mut visible = self.visible.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *visible, spans.clone())
        };
        let mut grown = vec![false; self.growth.len()];
        for (index, (before, now)) in before.iter().zip(&spans).enumerate() {
            if before.end != now.end {
                self.ends[index].send_replace(now.end);
                if let Some(number) = self.topics.number(self.topics.at(index).0) {
                    grown[number] = true;
                }
            }
        }
        for (growth, _) in self.growth.iter().zip(grown).filter(|(_, grown)| *grown) {
            growth.send_modify(|count| *count += 1);
        }
    }

    // Busy partitions may use what quiet ones do not: it is always the largest tail that gives way.
    fn bound_tails(&self) {
        let mut sizes: Vec<_> = (0..self.tails.len()).map(|index| self.tail(index).bytes()).collect();
        while sizes.iter().sum::<usize>() > self.tail_bytes
            && let Some(largest) = (0..sizes.len()).max_by_key(|index| sizes[*index])
        {
            let mut tail = self.tail(largest);
            tail.forget_oldest();
            sizes[largest] = tail.bytes();
        }
    }

    /// Runs `with` over the store, or says that there is none at present.
    pub(super) fn with_store<T>(&self, with: impl FnOnce(&Store) -> T) -> Result<T, ReadError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        match store.as_ref() {
            Some(store) => Ok(with(store)),
            None if self.is_closed() => Err(ReadError::Unavailable("the log is closed".into())),
            None => Err(ReadError::Unavailable("the log's store is being opened again".into())),
        }
    }

    /// Waits until nobody reads from the store, then closes it.
    pub(super) fn close_store(&self) {
        self.store.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn put_store(&self, store: Store) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    pub(super) fn drop_below(&self, index: usize, before: Offset) -> Result<(), String> {
        let freed = self.with_store(|store| {
            let freed = store.drop_below(index, before).map_err(|error| error.to_string());
            super::tables::write(&self.folder, store, &self.topics);
            freed
        });
        freed.unwrap_or_else(|error| Err(error.to_string()))
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        lock(&self.queue).take();
        self.room.close();
        // Waiting consumers look again and find it closed.
        self.growth.iter().for_each(|growth| growth.send_modify(|count| *count += 1));
    }

    /// Commits made since the log was opened.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The next transaction is to be aborted (for tests).
    pub(super) fn abort_next(&self) {
        self.abort_next.store(true, Ordering::SeqCst);
    }

    pub(super) fn take_abort(&self) -> bool {
        self.abort_next.swap(false, Ordering::SeqCst)
    }

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }
}

/// A poisoned lock is used all the same: nothing that these locks guard is ever left half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn closed() -> AppendError {
    AppendError::Refused { reason: "the log is closed".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::request::Outputs;
    use crate::{NewRecord, TopicSpec};

    const TOPIC: Topic = Topic("topic");

    #[tokio::test]
    async fn what_waits_for_the_writer_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::new(vec![TopicSpec { topic: TOPIC, partitions: 1 }]);
        let (queue, mut requests) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(Parts {
            folder: folder.path().to_owned(),
            id: "id".into(),
            store: Store::open(folder.path(), &topics.names()).unwrap(),
            spans: vec![Span::default()],
            topics,
            tail_bytes: 0,
            positions: Vec::new(),
            queue,
        }));
        let value = bytes::Bytes::from(vec![0; RECORD_BYTES_MAX]);
        for _ in 0..20 {
            let (shared, value) = (Arc::clone(&shared), value.clone());
            tokio::spawn(async move {
                let record = NewRecord { partition: 0, version: 1, key: bytes::Bytes::new(), value };
                shared.enqueue(Work { outputs: Outputs::One(TOPIC, vec![record]), ..Work::default() }).await
            });
        }
        let mut taken = Vec::new();
        let mut waiting = 0;
        while let Ok(Some(request)) = tokio::time::timeout(std::time::Duration::from_millis(200), requests.recv()).await
        {
            waiting += request.bytes;
            taken.push(request);
        }
        assert!(!taken.is_empty() && waiting <= QUEUE_BYTES_MAX, "{} requests wait with {waiting} bytes", taken.len());
        taken.pop();
        requests.recv().await.expect("an answer makes room for the next");
    }
}
