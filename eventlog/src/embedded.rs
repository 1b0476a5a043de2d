//! The log of one process, in one folder.
//!
//! # How an append becomes durable
//!
//! Callers put requests into a bounded queue. One *writer* thread takes what has gathered, gives offsets and one append time,
//! packs the records of each partition into chunks (`embedded/chunk.rs`), and writes all of it, with a *commit record*, as one atomic
//! batch into the store (fjall, `embedded/store.rs`), followed by one `fdatasync`. It passes the commit on to the *marker* thread and goes on
//! with the next. The marker writes the end mark (`embedded/mark.rs`), a page in a small file beside the store, `fdatasync`s it, and only then makes the
//! records visible and answers. So at every moment, for every partition,
//!
//! ```text
//! acknowledged, visible  ≤  end mark on disk  ≤  synced in the store's journal
//! ```
//!
//! The second sync runs beside the next commit's, in place on one page; several commits share one.
//!
//! # Why nothing acknowledged can go missing unnoticed
//!
//! The store alone is not trusted: it cuts its journal at the first entry that does not decode, and says nothing. So before the
//! store may look, the log reads the journals itself (`embedded/journal.rs`, read-only) and follows its commit records, whose numbers are
//! dense, up to the last whole one, number *c*. The mark says *m*. By the line above, a crash or power cut leaves *m ≤ c* whatever
//! the instruction, so:
//!
//! - *c < m*: acknowledged records are gone. The log refuses to open, names the file, the byte and the first lost offset, and
//!   has changed nothing.
//! - *c ≥ m* and bytes after *c* that are no whole batch: a commit that was never acknowledged, torn by the crash. It is cut.
//! - A sealed journal with such bytes, or a jump in the numbers: damage; refused. (The store syncs a journal before it begins
//!   the next.)
//! - No commit in any journal (all flushed to tables): the store is opened and its own last commit is compared with *m*. A tail
//!   that had to be cut for that is copied beside the journal first.
//!
//! Then the *offset chain* is walked back from the end the last commit recorded for each partition: every chunk names the end of
//! the one before it and carries its own checksum. A gap, a chunk that does not check out, or a missing, shortened or changed table file
//! refuses to open as well. The walk covers [`Options::verify_bytes`] of the newest records; what lies further back is checked by the
//! same chain whenever it is read ([`crate::ReadError::Damaged`]), and by [`EmbeddedLog::verify`].
//!
//! One assumption remains: the two files are not damaged together. If the newer page of the mark is torn *and* the journal lost
//! exactly the commits since the older page, the loss is not seen.
//!
//! # Failures while running
//!
//! A failed write (a full disk, mostly) poisons the store. The writer waits for the marker, closes the store, cuts the journal
//! after the last marked commit (so that the failed one is surely not in the log: its callers hear `Refused`, not `Unknown`) and
//! opens the store again, repeating that until it works. What is in the tail stays readable from memory meanwhile.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use millrace_clock::SharedClock;

use crate::{
    AppendError, Appended, Chunk, Consumer, Extent, Log, NewRecord, Offset, Partition, ReadError, Topic, TopicSpec,
};

mod chunk;
mod clock_rule;
mod consumer;
mod draft;
mod facts;
mod group;
mod head;
mod identity;
mod journal;
mod lock;
mod mark;
mod marker;
mod opening;
mod options;
mod read;
mod request;
pub mod rig;
mod shared;
mod store;
mod tables;
mod tail;
mod writer;

pub use clock_rule::BootClock;
pub use facts::{LogFacts, PartitionFacts};
pub use options::{Lost, OpenError, Options};

use lock::{FolderLock, LockError};
use request::{Outputs, Work};
use shared::Shared;

/// A log in a folder. One process at a time; within it, one object for all threads.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    made_now: bool,
    clock_confirmed: Arc<AtomicBool>,
    running: Mutex<Option<Running>>,
}

struct Running {
    writer: JoinHandle<()>,
    marker: JoinHandle<()>,
    _lock: FolderLock,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or makes one there if there is none.
    ///
    /// # Errors
    /// [`OpenError`] by what an operator does next. Nothing that was acknowledged is ever cut.
    pub fn open(
        dir: &Path,
        topics: &[TopicSpec],
        clock: SharedClock,
        options: Options,
    ) -> Result<Arc<Self>, OpenError> {
        opening::make_folder(dir).map_err(|error| OpenError::io(dir, error))?;
        let dir = dir.canonicalize().map_err(|error| OpenError::io(dir, error))?;
        let lock = FolderLock::take(&dir).map_err(|error| match error {
            LockError::Held(pid) => OpenError::InUse { folder: dir.clone(), pid },
            LockError::Io(error) => OpenError::io(&dir, error),
        })?;
        let opened = opening::open(&dir, topics, &options)?;
        let made_now = opened.made_now;
        let clock_confirmed = Arc::new(AtomicBool::new(options.confirm_clock));
        let started = writer::start(dir, opened, clock, options, Arc::clone(&clock_confirmed))
            .map_err(|error| OpenError::Other { reason: format!("a thread could not be started: {error}") })?;
        let (shared, writer, marker) = started;
        let running = Mutex::new(Some(Running { writer, marker, _lock: lock }));
        Ok(Arc::new(Self { shared, made_now, clock_confirmed, running }))
    }

    /// Did this open make the log?
    #[must_use]
    pub fn made_now(&self) -> bool {
        self.made_now
    }

    /// The folder the log is in.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.shared.folder.clone()
    }

    /// An operator has looked at the clock and it is right: the next append may have the time it shows.
    pub fn confirm_clock(&self) {
        self.clock_confirmed.store(true, Ordering::SeqCst);
    }

    /// Why appends are refused at present, if the last one was.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    /// Finishes what was taken, closes the store and lets go of the folder. Blocks for as long as that takes. Later
    /// appends are refused; doing it twice changes nothing.
    pub fn close(&self) {
        self.shared.close();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { writer, marker, _lock }) = running {
            for thread in [writer, marker] {
                if thread.join().is_err() {
                    tracing::error!("a thread of the log had panicked");
                }
            }
            self.shared.close_store();
        }
    }

    /// Moves a partition's start to `before` and frees the table files that lie wholly below it. A start never goes back;
    /// one beyond the end means the end.
    ///
    /// # Errors
    /// As for an append.
    pub async fn trim(&self, topic: Topic, partition: Partition, before: Offset) -> Result<(), AppendError> {
        let index = self.shared.index(topic, partition);
        let work = Work { trim: Some((index, before)), ..Work::default() };
        self.enqueue(work).await?;
        let shared = Arc::clone(&self.shared);
        let freed = tokio::task::spawn_blocking(move || shared.drop_below(index, before)).await;
        if let Ok(Err(error)) = freed {
            tracing::warn!(%topic, partition, error, "trimmed records were not freed on disk");
        }
        Ok(())
    }

    async fn enqueue(&self, work: Work) -> Result<Vec<Appended>, AppendError> {
        self.shared.enqueue(work).await
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn id(&self) -> &str {
        &self.shared.id
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.shared.partitions(topic)
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.enqueue(Work { outputs: Outputs::One(topic, records), ..Work::default() }).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        read::read(&self.shared, topic, partition, from, max_bytes).await
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        let span = self.shared.span(self.shared.index(topic, partition));
        Ok(Extent { start: span.start, end: span.end })
    }

    async fn position_at(&self, topic: Topic, partition: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError> {
        read::position_at(&self.shared, topic, partition, time_ms).await
    }

    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        let index = self.shared.index(topic, partition);
        let mut ends = self.shared.end_of(index);
        let beyond = ends.wait_for(|now| *now > end);
        // Either answer is one: it has grown, or the time is up.
        let _ = tokio::time::timeout(at_most, beyond).await;
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        Ok(Box::new(consumer::Member::join(Arc::clone(&self.shared), group, topic)))
    }
}
