//! The local store: each partition's state as of its last committed transaction, so that a restart need not fold the log
//! from its start.
//!
//! It is a cache of the log: losing it costs time, nothing else. So nothing waits for the disk; but every transaction is
//! written in one atomic batch with its position, and so whatever survives a crash is the state at *some* committed position,
//! from which recovery folds on.
//!
//! | keyspace | key (big-endian, after the partition) | value |
//! |---|---|---|
//! | `heads` | | numbers, settings, position |
//! | `visitors` | digest | one visitor |
//! | `seen` | hour of log time, position | digests of the events of one transaction |
//! | `held` | offset | one held conversion |
//! | `events` | digest | the hour of log time in which the event was first seen |
//!
//! `seen` and `events` say the same twice: by hour for snapshots, by digest for the fold. Of visitors and events memory has only the
//! newest; what state has forgotten of them is freed when a table is rewritten ([`forgotten`]).

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};
use millrace_eventlog::{Offset, Partition};

use crate::limits::{STORE_CACHE_BYTES, STORE_JOURNAL_BYTES_MAX, STORE_MEMTABLE_BYTES, STORE_THREADS};
use crate::step::{Changes, Rebuilt, State, Swept, Unreadable, head_bytes};

/// Rises whenever the meaning of what is stored changes; state of another version is made again from the log.
pub(crate) const STATE_VERSION: u32 = 2;

/// The database's folder within the state folder, so that nothing else is ever thrown away.
const DATABASE: &str = "db";
/// The keyspaces whose forgotten entries are freed when their tables are rewritten.
const EVENTS: &str = "events";
const VISITORS: &str = "visitors";
const IDENTITY_KEY: &[u8] = b"identity";
const PARTITION_BYTES: usize = 4;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It belongs to another log: a hard stop, as the operator may have mixed up two folders.
    #[error(
        "the local state belongs to log {stored}, but the log here is {here}; give each log a state folder of its own"
    )]
    OtherLog { stored: String, here: String },
    /// It cannot be read or written now, and takes nothing more until it is opened again.
    #[error("the local state cannot be used: {0}")]
    Failed(#[source] fjall::Error),
    /// Its bytes do not check out: it is thrown away when it is opened next, and made again from the log.
    #[error("the local state is damaged and will be made again from the log: {0}")]
    Damaged(#[source] Damage),
}

/// What does not check out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error(transparent)]
    Database(fjall::Error),
    #[error(transparent)]
    Value(Unreadable),
}

impl From<Unreadable> for StoreError {
    fn from(source: Unreadable) -> Self {
        Self::Damaged(Damage::Value(source))
    }
}

impl From<fjall::Error> for StoreError {
    fn from(source: fjall::Error) -> Self {
        use fjall::Error as E;
        match source {
            // A table that is too short.
            E::Io(ref io) | E::Storage(fjall::LsmError::Io(ref io)) if io.kind() == ErrorKind::UnexpectedEof => {
                Self::Damaged(Damage::Database(source))
            }
            E::Io(_) | E::Storage(fjall::LsmError::Io(_)) | E::Locked | E::Poisoned => Self::Failed(source),
            _ => Self::Damaged(Damage::Database(source)),
        }
    }
}

/// The opened store.
#[derive(Clone)]
pub(crate) struct Store {
    db: Database,
    heads: Keyspace,
    visitors: Keyspace,
    seen: Keyspace,
    held: Keyspace,
    events: Keyspace,
    forgotten: Arc<Forgotten>,
    folder: PathBuf,
    /// Held until all that still read or write have let go, however long after the store was given up.
    _lock: Arc<File>,
}

impl Store {
    /// Opens or makes the store of the log with this id.
    pub(crate) fn open(folder: &Path, log_id: &str) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(fjall::Error::Io)?;
        let lock = Arc::new(locked(folder)?);
        let marker = damage_marker(folder);
        if marker.exists() {
            std::fs::remove_dir_all(folder.join(DATABASE)).or_else(absent).map_err(fjall::Error::Io)?;
            std::fs::remove_file(&marker).map_err(fjall::Error::Io)?;
            std::fs::remove_file(suspicion_marker(folder)).or_else(absent).map_err(fjall::Error::Io)?;
        }
        let opened = Self::open_database(folder, lock).and_then(|store| {
            store.identify(log_id)?;
            store.settle_suspicion()?;
            Ok(store)
        });
        opened.inspect_err(|wrong| wrong.mark(folder))
    }

    fn open_database(folder: &Path, lock: Arc<File>) -> Result<Self, StoreError> {
        let forgotten = Arc::<Forgotten>::default();
        let db = Database::builder(folder.join(DATABASE))
            .with_compaction_filter_factories(forgotten::filters(&forgotten))
            .journal_compression(CompressionType::None)
            .max_journaling_size(STORE_JOURNAL_BYTES_MAX)
            .cache_size(STORE_CACHE_BYTES)
            .worker_threads(STORE_THREADS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_MEMTABLE_BYTES);
        Ok(Self {
            heads: db.keyspace("heads", options)?,
            visitors: db.keyspace(VISITORS, || below::point_reads(options()))?,
            seen: db.keyspace("seen", options)?,
            held: db.keyspace("held", options)?,
            events: db.keyspace(EVENTS, || below::point_reads(options()))?,
            forgotten,
            db,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Reads all there is, if something broke off that nobody was told of: damage that nobody asks for would break it again.
    fn settle_suspicion(&self) -> Result<(), StoreError> {
        let marker = suspicion_marker(&self.folder);
        if marker.exists() {
            tracing::warn!("the local state broke off in its own work: all of it is read");
            for keyspace in self.keyspaces() {
                for entry in keyspace.iter() {
                    entry.into_inner()?;
                }
            }
            std::fs::remove_file(&marker).map_err(fjall::Error::Io)?;
        }
        Ok(())
    }

    fn keyspaces(&self) -> [&Keyspace; 5] {
        [&self.heads, &self.visitors, &self.seen, &self.held, &self.events]
    }

    /// Does something with the store. What turns out to be damaged is thrown away when it is opened next: asking again
    /// would give the same answer.
    fn marking<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        work().inspect_err(|wrong| wrong.mark(&self.folder))
    }

    fn identify(&self, log_id: &str) -> Result<(), StoreError> {
        let here = format!("{STATE_VERSION} {log_id}");
        let Some(stored) = self.heads.get(IDENTITY_KEY)? else {
            return Ok(self.heads.insert(IDENTITY_KEY, here)?);
        };
        let stored = String::from_utf8_lossy(&stored).into_owned();
        match stored.split_once(' ') {
            Some((_, id)) if id != log_id => {
                Err(StoreError::OtherLog { stored: id.to_owned(), here: log_id.to_owned() })
            }
            _ if stored == here => Ok(()),
            _ => {
                tracing::warn!(stored, here, "the local state is of another version: it is made again from the log");
                for keyspace in self.keyspaces() {
                    keyspace.clear()?;
                }
                Ok(self.heads.insert(IDENTITY_KEY, here)?)
            }
        }
    }

    /// The state of a partition; `None` if there is none.
    pub(crate) fn load(&self, partition: Partition) -> Result<Option<State>, StoreError> {
        self.marking(|| {
            let prefix = partition.to_be_bytes();
            let Some(head) = self.heads.get(prefix)? else { return Ok(None) };
            let mut state = Rebuilt::new(&head)?;
            for entry in self.held.prefix(prefix) {
                let (key, value) = entry.into_inner()?;
                state.held(offset_of(&key), &value)?;
            }
            let mut state = state.done();
            self.forget(partition, state.head())?;
            state.rest_on(self.below(partition));
            Ok(Some(state))
        })
    }

    /// Writes the changes of a committed transaction, all or none.
    pub(crate) fn commit(&self, partition: Partition, changes: Changes, swept: Swept) -> Result<(), StoreError> {
        self.marking(|| self.write(partition, changes, swept))
    }

    fn write(&self, partition: Partition, changes: Changes, swept: Swept) -> Result<(), StoreError> {
        let prefix = partition.to_be_bytes();
        let mut batch = self.db.batch();
        for (digest, visitor) in changes.visitors {
            batch.insert(&self.visitors, key(prefix, &[&digest]), visitor);
        }
        for (hour, digests) in changes.seen {
            let place = key(prefix, &[&hour.to_be_bytes(), &changes.head.folded.to_be_bytes()]);
            self.add_events(&mut batch, prefix, hour, &digests);
            batch.insert(&self.seen, place, digests);
        }
        for (offset, held) in changes.held {
            batch.insert(&self.held, key(prefix, &[&offset.to_be_bytes()]), held);
        }
        for offset in changes.released {
            batch.remove(&self.held, key(prefix, &[&offset.to_be_bytes()]));
        }
        if let Some(hours) = swept.hours {
            let from = key(prefix, &[&hours.start.to_be_bytes()]);
            for entry in self.seen.range(from..key(prefix, &[&hours.end.to_be_bytes()])) {
                batch.remove(&self.seen, entry.key()?);
            }
        }
        batch.insert(&self.heads, prefix, head_bytes(&changes.head));
        batch.commit()?;
        self.forget(partition, &changes.head)
    }

    /// Drops the held conversions before `released`: recovery found them emitted.
    pub(crate) fn drop_released(&self, partition: Partition, released: Offset) -> Result<(), StoreError> {
        self.marking(|| {
            let prefix = partition.to_be_bytes();
            let mut batch = self.db.batch();
            for entry in self.held.range(key(prefix, &[])..key(prefix, &[&released.to_be_bytes()])) {
                batch.remove(&self.held, entry.key()?);
            }
            Ok(batch.commit()?)
        })
    }
}

impl StoreError {
    /// Leaves word that a damaged store is to be thrown away.
    fn mark(&self, folder: &Path) {
        if let Self::Damaged(wrong) = self {
            tracing::warn!(%wrong, "the local state is damaged: it is made again from the log");
            leave(&damage_marker(folder));
        } else if let Self::Failed(fjall::Error::Poisoned) = self {
            leave(&suspicion_marker(folder));
        }
    }
}

fn damage_marker(folder: &Path) -> PathBuf {
    folder.join("damaged")
}

fn suspicion_marker(folder: &Path) -> PathBuf {
    folder.join("suspect")
}

fn leave(marker: &Path) {
    if let Err(wrong) = std::fs::write(marker, b"") {
        tracing::warn!(%wrong, marker = %marker.display(), "the local state could not be marked");
    }
}

/// The folder is ours: a store that was given up may still be at work, and what it finds would be another's.
fn locked(folder: &Path) -> Result<File, StoreError> {
    let file = File::create(folder.join("lock")).map_err(fjall::Error::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(fjall::Error::Locked.into()),
        Err(TryLockError::Error(wrong)) => Err(fjall::Error::Io(wrong).into()),
    }
}

fn absent(wrong: std::io::Error) -> std::io::Result<()> {
    if wrong.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(wrong) }
}

fn key(prefix: [u8; PARTITION_BYTES], parts: &[&[u8]]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

// A key of another length was not written by us; it reads as 0 and the value decides.
fn hour_of(key: &[u8]) -> u32 {
    key[PARTITION_BYTES..].first_chunk().map_or(0, |hour| u32::from_be_bytes(*hour))
}

fn hour_in(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn offset_of(key: &[u8]) -> Offset {
    key[PARTITION_BYTES..].first_chunk().map_or(0, |offset| Offset::from_be_bytes(*offset))
}

mod below;
mod forgotten;
mod view;

use forgotten::Forgotten;

pub(crate) use view::{Entry, View};

#[cfg(test)]
pub(crate) mod tests;
