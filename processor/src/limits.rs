//! Every bound of the processor, on one page. (The bounds that change rows are settings, and travel in the log.)

use std::time::Duration;

/// A transaction is closed at this many bytes of raw values, or of outcomes.
pub const TRANSACTION_BYTES_MAX: usize = 5 << 20;

/// A transaction is closed this long after its first record (real time: no row depends on it).
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_millis(100);

/// What recovery reads of the log at once, in bytes of values.
pub const RECOVERY_READ_BYTES: usize = 4 << 20;

/// How many positions before the end the search for the last watermark record begins; doubled until it is found.
pub const WATERMARK_SEARCH_STEP: u64 = 64;

/// How often the last watermark record is read again while the group's position is ahead of it.
pub const WATERMARK_READS_MAX: u32 = 100;

/// The pause between two such reads, at most (real time).
pub const WATERMARK_READ_PAUSE: Duration = Duration::from_millis(100);

/// The pause before an aborted transaction, or a start that failed for the moment, is tried again (real time).
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The shortest silence that is ticked, whatever is configured.
pub const TICK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Tables of visitors and of seen events are split into this many parts (a power of two), so that neither growing nor
/// sweeping one stops the fold for long. One part is swept per minute of log time.
pub const TABLE_PARTS: usize = 64;

/// The in-memory table of one kind of local state is written to disk at this size, in bytes.
pub const STORE_MEMTABLE_BYTES: u64 = 8 << 20;

/// The local store's journals together, in bytes; also what a start after a crash has to read at most.
pub const STORE_JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// The local store's block cache, in bytes. Small: it is read only at start.
pub const STORE_CACHE_BYTES: u64 = 4 << 20;

/// The local store's background threads.
pub const STORE_THREADS: usize = 1;

/// How many partitions are asked for their settings at once.
pub const SETTINGS_READS_AT_ONCE: usize = 16;
