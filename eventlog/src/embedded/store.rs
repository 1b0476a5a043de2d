//! The durable store: fjall, one keyspace per partition.
//!
//! Settings for data that is only ever appended: keys rise, so the tables of a keyspace never overlap and its compaction
//! only moves them (each byte is written twice: journal, table). No filters, as nobody asks for a key that is not there; large
//! compressed blocks; a small block cache, as tailing readers are served from memory and a replay passes once.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use prost::Message;

use super::chunk::{self, Chunk};
use super::head::{COMMIT_KEY, Commit, StoredPosition};
use crate::limits::{
    BLOCK_BYTES, BLOCK_CACHE_BYTES, FLUSHES_WAITING_MAX, HEADS_MEMTABLE_BYTES, JOURNALS_BYTES_MAX, MEMTABLE_BYTES,
    OPEN_FILES_MAX,
};
use crate::{Committed, Offset};

const HEADS: &str = "heads";
// One flushes while the other moves tables.
const WORKERS: usize = 2;

/// What one commit writes, atomically.
pub(super) struct Batch<'a> {
    pub(super) chunks: &'a [(usize, Chunk)],
    pub(super) positions: &'a [(Vec<u8>, Committed)],
    pub(super) commit: &'a Commit,
}

/// A table file.
pub(super) struct Table {
    pub(super) file: PathBuf,
    /// The key of its last chunk: the chunk's end, less one.
    pub(super) last: Offset,
    /// xxh3-128 of the whole file.
    pub(super) checksum: u128,
}

/// The opened store. Dropping the last handle closes it.
pub(super) struct Store {
    db: Database,
    partitions: Vec<Keyspace>,
    heads: Keyspace,
}

impl Store {
    /// Opens or makes the store. `names`: one per partition, in the log's order.
    pub(super) fn open(folder: &Path, names: &[String]) -> fjall::Result<Self> {
        let db = Database::builder(folder)
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .cache_size(BLOCK_CACHE_BYTES)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .worker_threads(WORKERS)
            .open()?;
        let partitions = names.iter().map(|name| db.keyspace(name, records_options)).collect::<Result<_, _>>()?;
        let heads = db.keyspace(HEADS, || KeyspaceCreateOptions::default().max_memtable_size(HEADS_MEMTABLE_BYTES))?;
        Ok(Self { db, partitions, heads })
    }

    /// Writes one commit and waits until it is on the disk. After an error none of it is readable, but the journal may
    /// hold some of it, and the store takes nothing more.
    pub(super) fn write(&self, batch: &Batch<'_>) -> fjall::Result<()> {
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        for (partition, chunk) in batch.chunks {
            writes.insert(&self.partitions[*partition], chunk::key(chunk.header.end), chunk.stored().as_ref());
        }
        for (key, position) in batch.positions {
            let stored = StoredPosition { next: position.next, metadata: position.metadata.clone() };
            writes.insert(&self.heads, key.as_slice(), stored.encode_to_vec());
        }
        writes.insert(&self.heads, COMMIT_KEY, batch.commit.encode_to_vec());
        writes.commit()
    }

    /// Waits while flushing lags behind, so that fjall's own (unbounded) wait is never entered: it would never end once a
    /// flush has failed. The error says that the store has failed.
    pub(super) fn wait_for_flushes(&self, partitions: impl Iterator<Item = usize> + Clone) -> fjall::Result<()> {
        while partitions.clone().any(|index| self.partitions[index].sealed_memtable_count() >= FLUSHES_WAITING_MAX) {
            self.healthy()?;
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        Ok(())
    }

    /// Fails if an earlier write or flush failed.
    pub(super) fn healthy(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::Buffer)
    }

    pub(super) fn last_commit(&self) -> fjall::Result<Option<Commit>> {
        let stored = self.heads.get(COMMIT_KEY)?;
        Ok(stored.and_then(|bytes| Commit::decode(bytes.as_ref()).ok()))
    }

    /// All groups' positions, with the key each was written under.
    pub(super) fn positions(&self) -> fjall::Result<Vec<(Vec<u8>, Committed)>> {
        let mut positions = Vec::new();
        for entry in self.heads.iter() {
            let (key, value) = entry.into_inner()?;
            if key.as_ref() != COMMIT_KEY
                && let Ok(StoredPosition { next, metadata }) = StoredPosition::decode(value.as_ref())
            {
                positions.push((key.to_vec(), Committed { next, metadata }));
            }
        }
        Ok(positions)
    }

    /// The chunks of a partition from the one that holds `from` on. Ends after the first error.
    pub(super) fn chunks(&self, partition: usize, from: Offset) -> impl Iterator<Item = Result<Chunk, String>> + use<> {
        decoded(self.partitions[partition].range(chunk::key_for(from)..))
    }

    /// The chunks of a partition, newest first.
    pub(super) fn chunks_back(&self, partition: usize) -> impl Iterator<Item = Result<Chunk, String>> + use<> {
        decoded(self.partitions[partition].iter().rev())
    }

    /// The table file that holds (or should hold) a position, if it is in a table.
    pub(super) fn file_of(&self, partition: usize, offset: Offset) -> Option<PathBuf> {
        let key = chunk::key_for(offset);
        let version = self.partitions[partition].tree.current_version();
        version
            .iter_tables()
            .filter(|table| table.metadata.key_range.max().as_ref() >= key.as_slice())
            .min_by(|a, b| a.metadata.key_range.max().cmp(b.metadata.key_range.max()))
            .map(|table| table.path.to_path_buf())
    }

    /// Every table file of a partition.
    pub(super) fn tables(&self, partition: usize) -> Vec<Table> {
        let number = |key: &[u8]| key.try_into().map(u64::from_be_bytes).unwrap_or_default();
        let version = self.partitions[partition].tree.current_version();
        let tables = version.iter_tables().map(|table| Table {
            file: table.path.to_path_buf(),
            last: number(table.metadata.key_range.max()),
            checksum: table.checksum().into_u128(),
        });
        tables.collect()
    }

    /// Changes whenever a partition's tables do.
    pub(super) fn table_count(&self) -> usize {
        self.partitions.iter().map(Keyspace::table_count).sum()
    }

    /// Forgets the tables that lie wholly below `before`. What shares a table with later records stays on the disk.
    pub(super) fn drop_below(&self, partition: usize, before: Offset) -> fjall::Result<()> {
        Ok(self.partitions[partition].tree.drop_range(..chunk::key_for(before))?)
    }

    /// Bytes of a partition's tables on disk; what is still in the journal is not in them.
    pub(super) fn bytes(&self, partition: usize) -> u64 {
        self.partitions[partition].disk_space()
    }

    /// Bytes of the journals on disk.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.db.journal_disk_space().unwrap_or(0)
    }
}

fn records_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::None))
}

fn decoded(entries: impl Iterator<Item = fjall::Guard>) -> impl Iterator<Item = Result<Chunk, String>> {
    let mut failed = false;
    entries.map_while(move |entry| {
        if failed {
            return None;
        }
        let chunk = entry
            .value()
            .map_err(|error| error.to_string())
            .and_then(|value| Chunk::from_stored(Bytes::copy_from_slice(&value)).map_err(str::to_owned));
        failed = chunk.is_err();
        Some(chunk)
    })
}
