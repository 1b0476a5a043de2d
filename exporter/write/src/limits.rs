//! Every bound of the exporter, on one page. Those with a `_DEFAULT` are configurable.

use std::time::Duration;

/// What all buffers together may hold, half for gathering, half for publishing.
pub const MEMORY_BYTES_DEFAULT: usize = 256 << 20;
/// The least [`MEMORY_BYTES_DEFAULT`] can be configured to.
pub const MEMORY_BYTES_MIN: usize = 1 << 20;
/// A segment is sealed once its rows take this much.
pub const SEAL_BYTES_DEFAULT: usize = 64 << 20;
/// A segment is sealed once its oldest row has waited this long.
pub const SEAL_AGE_DEFAULT: Duration = Duration::from_secs(30);
/// A segment without rows is sealed this long after the one before, unless a sealed row waits for it.
pub const SEAL_IDLE_DEFAULT: Duration = Duration::from_secs(30);
/// The most files an account should make in a day, unless they are full.
pub const FILES_PER_DAY_DEFAULT: u64 = 5_000;
/// A file of this many rows counts as full when a slot length is chosen.
pub const FULL_FILE_ROWS: u64 = 10_000;
/// The most rows in one file.
pub const ROWS_PER_FILE_DEFAULT: u64 = 1_000_000;
/// The most bytes of encoded enriched records in one file.
pub const BYTES_PER_FILE_DEFAULT: u64 = 256 << 20;
/// The most folders of an account, type and slot; null counts, `~other` comes on top.
pub const FOLDERS_PER_SLOT_DEFAULT: u32 = 1_000;
/// The slot lengths the plan chooses from, ms, shortest first.
pub const SLOT_LADDER_MS: [i64; 6] = [10_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000];
/// The slot length of an account nothing is known of, ms.
pub const SLOT_UNKNOWN_MS: i64 = 60_000;
/// A day, ms.
pub const DAY_MS: i64 = 86_400_000;

/// How long segments are kept, log time.
pub const SEGMENTS_RETENTION_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
/// How long days of the export are kept, log time.
pub const EXPORT_RETENTION_DEFAULT: Duration = Duration::from_secs(400 * 86_400);
/// The least either of them can be configured to.
pub const RETENTION_MIN: Duration = Duration::from_secs(86_400);

/// Rows of a segment are compressed in blocks of about this size.
pub(crate) const BLOCK_BYTES: usize = 128 << 10;
/// How much of a segment's end is read at once in the hope that it holds the footer.
pub(crate) const FOOTER_GUESS_BYTES: u64 = 64 << 10;
/// How many footers and published records are read at once at start.
pub(crate) const READS_AT_ONCE: usize = 16;
/// How many offsets before the newest segment's end the search for the watermark record there begins; doubled until it is found.
pub(crate) const WITNESS_SEARCH_STEP: u64 = 64;
/// What that search reads of the log at once, in bytes of values.
pub(crate) const WITNESS_READ_BYTES: usize = 512 << 10;
/// After so many bytes of values that search goes no further back. Several times what a transaction of the processor holds.
pub(crate) const WITNESS_READ_BYTES_MAX: usize = 64 << 20;
/// How many partitions' segments are listed at once at start.
pub(crate) const LISTS_AT_ONCE: usize = 4;
/// How much of a segment one read of a merge asks for at most.
pub(crate) const READ_AHEAD_BYTES_MAX: usize = 4 << 20;
/// Rows become columns in batches of at most this many rows. Part of a file's bytes: changing it changes them.
pub(crate) const BATCH_ROWS: usize = 4_096;
/// A batch ends once its records take this many bytes. Part of a file's bytes too.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// Rows in one row group of a file.
pub(crate) const ROW_GROUP_ROWS: usize = 128 << 10;
/// How many finished files are on their way to the store at once.
pub(crate) const PUTS_AT_ONCE: usize = 16;
/// How often the segments of other owners are looked for.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// The first pause after the store failed; doubled each time.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause after the store failed.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A failure that lasts this long is told to readiness.
pub(crate) const UNREADY_AFTER: Duration = Duration::from_secs(5);
/// A member of the group whose log fails for so long is replaced by a new one.
pub(crate) const MEMBER_PATIENCE: Duration = Duration::from_secs(60);
/// How long the shards that are ours must stay the same before publishing begins with them: a rebalance is many changes.
pub(crate) const REBALANCE_SETTLES: Duration = Duration::from_millis(500);
/// How many shards are published at once. Each piece of work takes as many shares of the memory for publishing as it is large.
pub(crate) const SHARDS_AT_ONCE: usize = 8;
/// How many partitions, or accounts, retention looks through at once.
pub(crate) const SWEEPS_AT_ONCE: usize = 8;
/// How many segments of a partition are taken note of before those of the next one.
pub(crate) const FOOTERS_AT_ONCE: usize = 64;
/// How many creates of one key are tried at once at start, to see that the store lets one of them win.
pub(crate) const PROBE_CREATES: usize = 10;
