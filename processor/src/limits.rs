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

/// How often the last watermark record is awaited while something else remembers a later position. Longer, all in all, than a
/// transaction of a dead process may stay open (15 s, and 10 s until the brokers look).
pub const WATERMARK_READS_MAX: u32 = 400;

/// The pause between two looks, at most (real time).
pub const WATERMARK_READ_PAUSE: Duration = Duration::from_millis(100);

/// The pause before an aborted transaction, or a start that failed for the moment, is tried again (real time).
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The shortest silence that is ticked, whatever is configured.
pub const TICK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// What the texts of a conversion's experiments may take, in bytes: with its event, a record the log takes. Beyond, those seen first are left out.
pub const EXPERIMENTS_BYTES_MAX: usize = 4 << 20;

/// What is kept of a reject, or of a raw record that cannot be decoded, in bytes; of a larger one its beginning. Ingest writes none that is larger, but the
/// raw topic takes larger records, and a copy with all that goes with it might be more than the log takes.
pub const ORIGINAL_BYTES_MAX: usize = 1 << 20;

/// Seen events in memory, per partition: two generations of so many (about 45 bytes each). All others are in the local store.
pub const SEEN_GENERATION_EVENTS: usize = 1 << 17;

/// Visitors in memory, per partition: two generations of so many (about 300 bytes each). All others are in the local store.
pub const VISITOR_GENERATION: usize = 1 << 14;

/// Tables of visitors and of seen events are split into this many parts (a power of two), so that neither growing nor
/// sweeping one stops the fold for long. One part is swept per minute of log time.
pub const TABLE_PARTS: usize = 64;

/// The in-memory table of one kind of local state is written to disk at this size, in bytes.
pub const STORE_MEMTABLE_BYTES: u64 = 8 << 20;

/// The local store's journals together, in bytes; also what a start after a crash has to read at most.
pub const STORE_JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// The local store's block cache, in bytes: filters and indices of the seen events and visitors that are not in memory.
pub const STORE_CACHE_BYTES: u64 = 32 << 20;

/// The local store's background threads.
pub const STORE_THREADS: usize = 1;

/// How many partitions are asked for their settings at once.
pub const SETTINGS_READS_AT_ONCE: usize = 16;

/// Partitions that are recovered at once; others wait. Each reads up to `RECOVERY_READ_BYTES` at a time.
pub const RECOVERIES_AT_ONCE: usize = 4;

/// What the search for the last watermark record reads of the log at once, in bytes of values.
pub const WATERMARK_READ_BYTES: usize = 512 << 10;

/// The longest pause before something that did not work is tried again: pauses begin at `RETRY_PAUSE` and double (real time).
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a member of the group that is given no partition calls itself not ready (real time). The log has no word for
/// "you own nothing".
pub const ASSIGNMENT_WAIT: Duration = Duration::from_secs(10);

/// A part of a snapshot is closed at this size, in bytes before compression. Three of them are in memory while one is taken,
/// and one snapshot is taken at a time.
pub const SNAPSHOT_PART_BYTES: usize = 8 << 20;

/// The pause before a snapshot that failed is taken again.
pub const SNAPSHOT_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// For how much log time every hour's snapshot is kept; older ones are kept one a day.
pub const SNAPSHOTS_HOURLY: Duration = Duration::from_secs(8 * 86_400);
