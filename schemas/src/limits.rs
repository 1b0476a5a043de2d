//! The bounds that a log's settings begin with, and those of the layout. A setting's own range is in [`crate::settings`].

/// The events of one visitor within a minute, of a new log. Beyond: they are accepted, and become rejects with the reason `visitor_rate`.
pub const EVENTS_PER_VISITOR_MINUTE_MAX: u32 = 6_000;

/// The experiments a visitor's assignments are known of, of a new log. Beyond: the one decided longest ago is forgotten.
pub const ASSIGNMENTS_PER_VISITOR_MAX: u32 = 512;

/// The changes of variation that are known of one visitor in one experiment, of a new log. Beyond: the oldest is forgotten.
pub const VARIATION_CHANGES_MAX: u32 = 8;

/// The longest pause within a session, of a new log, in ms.
pub const SESSION_GAP_MS: i64 = 30 * 60_000;

/// The longest session, of a new log, in ms.
pub const SESSION_LENGTH_MAX_MS: i64 = 24 * 3_600_000;

/// How far a client's timestamp may be ahead of log time before log time counts in its place, for sessions, of a new log, in ms.
pub const SESSION_AHEAD_MAX_MS: i64 = 24 * 3_600_000;

/// How far the log's clock and that of who appends may differ before the earlier counts, of a new log, in ms.
pub const WITNESS_TOLERANCE_MS: i64 = 3_600_000;

/// The longest escaped `event=…` or `experiment=…` folder, in bytes; a longer one is cut and ends in `~` and a hash.
pub const FOLDER_SEGMENT_BYTES_MAX: usize = 200;

/// The longest account id, in bytes.
pub const ACCOUNT_ID_BYTES_MAX: usize = 64;
