//! Every bound of ingest, on one page. Bytes unless the name says otherwise.

use std::time::Duration;

/// The largest body, after expansion. Beyond: 413, and the connection is closed.
pub const BODY_BYTES_MAX: usize = 3_584 << 10;

/// What is read and thrown away of a body that is too large, or of one whose sender is refused, so that the sender gets to
/// read the answer. Beyond: the connection is closed.
pub const DRAIN_BYTES_MAX: usize = 8 << 20;

/// How long is read and thrown away of such a body.
pub const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// The longest pause inside a body before it is given up: 408.
pub const BODY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The longest time a whole body may take: 408.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(60);

/// The largest window a zstd body may ask for, as a power of two: 8 MiB. Beyond: 400.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How deep arrays and objects may stand in each other, the body itself counted. Deeper: 400 for the whole.
pub const DEPTH_MAX: usize = 32;

/// The largest event: as sent, and as recorded with all it carries (its visitor's attributes, its snapshot's decisions).
/// Beyond: a reject.
pub const EVENT_BYTES_MAX: usize = 256 << 10;

/// What is kept of something rejected; of a larger one its beginning.
pub const ORIGINAL_BYTES_MAX: usize = 256 << 10;

/// The records one request may become, all together. A small body can name a large attribute once for many events. Beyond: 413.
pub const RECORDS_BYTES_MAX: usize = 16 << 20;

/// The events, and also the visitors and the snapshots, of one request. Beyond: 413.
pub const EVENTS_MAX: usize = 10_000;

/// Everything listed in one request: visitors, snapshots, events, attributes, decisions, tags, unknown fields. Beyond: 413.
pub const ITEMS_MAX: usize = 200_000;

/// The attributes of a visitor, the decisions of a snapshot, the tags or properties of an event. Beyond: a reject.
pub const LIST_MAX: usize = 1_000;

/// The longest visitor id. Beyond: a reject.
pub const VISITOR_ID_BYTES_MAX: usize = 1_024;

/// The longest id of a campaign, experiment or variation, and the longest `experiment_key` and variant of the tracking API: every conversion
/// carries those of all experiments its visitor is in. Beyond: a reject, or 422.
pub const ID_BYTES_MAX: usize = 1_024;

/// The longest uuid of an event, and the longest `Idempotency-Key`. Beyond: a reject, or 422.
pub const UUID_BYTES_MAX: usize = 128;

/// The latest timestamp of an event, ms since 1970: the end of the year 9999. Beyond: a reject, or 422.
pub const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// The longest `user_id` of the tracking API, in characters. Beyond: 422.
pub const USER_ID_CHARS_MAX: usize = 255;

/// The longest `event_type` of the tracking API, in characters. Beyond: 422.
pub const EVENT_TYPE_CHARS_MAX: usize = 100;

/// The events of one request to `/api/v1/tracking/batch`. Beyond: 413.
pub const TRACKING_BATCH_MAX: usize = 100;

/// The longest `User-Agent` or `Referer` that is kept with events; a longer one is left out.
pub const HEADER_TEXT_BYTES_MAX: usize = 8 << 10;

/// How long we make a request wait, for room and for the log together, before 503. Clients give up at 5 s.
pub const PATIENCE: Duration = Duration::from_millis(3_500);

/// The pause before records the log refused are offered again.
pub const APPEND_PAUSE: Duration = Duration::from_millis(100);

/// What `Retry-After` says on 503, in seconds.
pub const RETRY_AFTER_S: u64 = 1;

/// Requests that may wait for room. Beyond: 503 at once.
pub const WAITING_MAX: usize = 4_096;

/// What bodies and records may hold together while they are in flight, unless configured.
pub const IN_FLIGHT_BYTES_DEFAULT: usize = 256 << 20;

/// How long browsers remember the answer to a preflight.
pub const PREFLIGHT_AGE: Duration = Duration::from_secs(600);
