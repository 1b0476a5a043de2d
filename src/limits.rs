//! The bounds of the binary, on one page.

use std::time::Duration;

/// The most connections to the API at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 10_000;

/// The most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take for a request's head, and how long a connection may idle between requests.
pub const HEAD_WAIT: Duration = Duration::from_secs(60);

/// The pause after a connection could not be accepted (out of file handles, mostly).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much of the stop's deadline may be over, in percent, when the doors, the processor, the exporter and the rest are cut off:
/// no part takes the time of those behind it.
pub const STOP_PERCENT: [u32; 4] = [40, 70, 85, 100];

/// How long a command waits for the running process to answer on the control socket.
pub const CONTROL_WAIT: Duration = Duration::from_secs(45);

/// The longest path of the control socket, in bytes: the system's bound, less the terminating zero.
pub const CONTROL_PATH_BYTES_MAX: usize = 107;

/// How many files `millrace load` fetches at once.
pub const LOAD_AT_ONCE: usize = 8;

/// The most days one `millrace load` fetches.
pub const LOAD_DAYS_MAX: i64 = 3_660;

/// How often `millrace load` asks again for an object or a listing that failed.
pub const LOAD_RETRIES: usize = 8;

/// How long `millrace load` waits for any one answer of the API.
pub const LOAD_WAIT: Duration = Duration::from_secs(30);

/// The most accounts a status lists, the first by id.
pub const STATUS_ACCOUNTS_MAX: usize = 1_000;

/// How long a status waits for the object store, and in a cluster for the log.
pub const STATUS_STORE_WAIT: Duration = Duration::from_secs(5);

/// The most partitions `millrace topics` gives to one topic: what a cluster's brokers carry with ease.
pub const TOPIC_PARTITIONS_MAX: u32 = 1_024;

/// What `Retry-After` says while a process starts, in seconds.
pub const STARTING_RETRY_AFTER_S: u64 = 1;

/// How many questions a status asks at once.
pub const STATUS_READS_AT_ONCE: usize = 16;

/// The pause before brokers or a store that could not be reached are tried again at start.
pub const WAIT_PAUSE: Duration = Duration::from_secs(1);

/// How long one request to the object store may take, its body included: a full file on a slow line.
pub const STORE_WAIT: Duration = Duration::from_secs(120);

/// How long connecting to the object store may take.
pub const STORE_CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How often a request to the object store is repeated before it counts as failed. Few: whoever made it tries again, and
/// `/readyz` should say so.
pub const STORE_RETRIES: usize = 2;

/// How long a request to the object store may go on being repeated.
pub const STORE_RETRY_WAIT: Duration = Duration::from_secs(10);

/// How much of a store's error is shown, in characters: its answers may be long.
pub const STORE_ERROR_CHARS_MAX: usize = 300;

/// How long the former server key is taken to go on signing after `millrace server-keys rotate`, until every `serve` is restarted.
pub const SERVER_KEYS_ROLL_OUT: Duration = Duration::from_secs(3_600);

/// How long `serve` is not ready after a request of its store failed, unless another one works.
pub const STORE_TROUBLE: Duration = Duration::from_secs(10);

/// How long the embedded log keeps enriched records that are sealed, log time.
pub(crate) const ENRICHED_RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// How long the embedded log keeps the audit trail, log time.
pub(crate) const AUDIT_RETENTION: Duration = Duration::from_secs(400 * 86_400);
/// How often the embedded log is looked through for records that are old enough to go.
pub(crate) const TRIM_PAUSE: Duration = Duration::from_secs(3_600);
/// How long raw records are kept unless `raw.retention` says otherwise, log time.
pub(crate) const RAW_RETENTION_DEFAULT: Duration = Duration::from_secs(100 * 86_400);
