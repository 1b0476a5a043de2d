//! Every bound of the log, on one page. Bytes unless the name says otherwise.

use std::time::Duration;

/// The largest record the log takes: key and value together.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

/// Records waiting for the writer hold at most this much; further appends wait for room.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The writer stops gathering requests for one commit (one fsync) at this many bytes.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

/// The writer stops gathering requests for one commit at this many requests.
pub const COMMIT_REQUESTS_MAX: usize = 8192;

/// Commits that may be in the store's journal while the end mark is still on its way.
pub const COMMITS_UNMARKED_MAX: usize = 4;

/// A chunk (the records of one commit in one partition, stored as one value) is closed at this size. A read decodes
/// whole chunks, so this is also the most a small read has to fetch.
pub const CHUNK_BYTES: usize = 256 << 10;

/// The partitions one log may have over all topics: their ends must fit into one page of the end mark.
pub const PARTITIONS_MAX: usize = 128;

/// A commit is refused while the file system has less than this free, before the store is touched: flushing what is in
/// memory already needs some.
pub const FREE_BYTES_MIN: u64 = 4 << 20;

/// How far the wall clock may be ahead of the last append time plus elapsed time before appends are refused.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(3600);

/// What a consumer is given of one partition in one delivery, in bytes of values.
pub const DELIVERY_BYTES: usize = 1 << 20;

/// How long a member may sit on a revoked partition while another waits for it, before the partition is taken from it
/// (real time).
pub const REVOKED_PATIENCE: Duration = Duration::from_secs(10);

/// After a failed commit the store is opened again at most this often.
pub const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// The in-memory table of one partition is written to disk at this size. The store holds up to three per partition: one
/// filling, one being written, one not yet forgotten.
pub const MEMTABLE_BYTES: u64 = 8 << 20;

/// The list of table files beside the store is written at most this often (real time).
pub const TABLES_LISTED_EVERY: Duration = Duration::from_secs(2);

/// The in-memory table of commit records and group positions; small, so that it does not pin old journals.
pub const HEADS_MEMTABLE_BYTES: u64 = 2 << 20;

/// The store's journals together; also what a start after a crash has to read at most.
pub const JOURNALS_BYTES_MAX: u64 = 256 << 20;

/// The store's block cache. Small: tailing readers never reach the store, and a replay reads each block once.
pub const BLOCK_CACHE_BYTES: u64 = 16 << 20;

/// Target size of a block in the store's tables, before compression.
pub const BLOCK_BYTES: u32 = 64 << 10;

/// Table files the store keeps open.
pub const OPEN_FILES_MAX: usize = 256;

/// Memtables of one partition waiting to be flushed before the writer waits for the disk.
pub const FLUSHES_WAITING_MAX: usize = 2;

/// The largest item of a journal that is read back; the writer closes a commit far below. Beyond: the file is damaged.
pub const JOURNAL_ITEM_BYTES_MAX: u32 = 64 << 20;
