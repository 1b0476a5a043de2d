//! Every bound of this crate.

use std::time::Duration;

/// Connections the gateway serves at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take to send the head of its (next) request.
pub const HEAD_WAIT: Duration = Duration::from_secs(60);
/// The largest head of a request, in bytes: a session token and a continuation token in one URL fit.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a stopping gateway waits for answers under way.
pub const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// Keys and folders of one listing answer, at the most; S3's own bound.
pub const LIST_KEYS_MAX: usize = 1_000;
/// Folders that are looked into at once to see whether they hold a key.
pub const FOLDER_LOOKS: usize = 16;
/// The longest continuation token that is looked at, in bytes.
pub const CONTINUATION_BYTES_MAX: usize = 4 << 10;
/// The longest delimiter, in bytes.
pub const DELIMITER_BYTES_MAX: usize = 64;

/// Bytes read from a local file at once.
pub const FILE_CHUNK_BYTES: usize = 256 << 10;

/// How far a request's clock may be from ours; S3's own bound.
pub const SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest life of a presigned URL; S3's own bound. The credential inside ends sooner.
pub const PRESIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The longest `user-agent` kept in the audit trail, in bytes.
pub const USER_AGENT_BYTES_MAX: usize = 256;
/// Days a status answer lists per type, the newest.
pub const STATUS_DAYS_MAX: usize = 400;
/// How far back the newest published record is looked for at first.
pub const STATUS_LATELY: Duration = Duration::from_secs(24 * 3_600);
/// Days whose end is looked for at once.
pub const STATUS_LOOKS: usize = 16;
/// What a client is told to wait when we cannot answer now.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
