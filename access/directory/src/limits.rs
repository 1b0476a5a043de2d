//! Every bound of this crate.

use std::time::Duration;

/// The longest name of an account, key or token, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// The longest description of a key, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// The shortest username, in characters.
pub const USERNAME_CHARS_MIN: usize = 2;
/// The longest username, in characters.
pub const USERNAME_CHARS_MAX: usize = 64;
/// The longest e-mail address, in bytes (RFC 5321's path, without its brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// The longest password hash, in bytes; an argon2id PHC string has about 100.
pub const PASSWORD_HASH_BYTES_MAX: usize = 512;
/// Users of one account. Soft: checked against the directory, so nodes that race may pass it by a few.
pub const USERS_PER_ACCOUNT_MAX: usize = 10_000;
/// Keys of one account that are not revoked. Soft, as above.
pub const KEYS_PER_ACCOUNT_MAX: usize = 1_000;
/// Tokens of one user that are not revoked. Soft, as above.
pub const TOKENS_PER_USER_MAX: usize = 100;
/// Origins of one account that browsers may send from.
pub const ORIGINS_MAX: usize = 50;
/// The longest origin, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 255;
/// The lengths a slot may be set to, in ms: all divide a day. 0 stands for "chosen by the day's plan".
pub const SLOTS_MS: [i64; 6] = [10_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000];

/// The random part of a secret that no list shows, in bits, at the least.
pub const SECRET_BITS_MIN: usize = 160;
/// The first characters of a secret, after its prefix, that lists show to recognise it by.
pub const HINT_CHARS: usize = 4;

/// How often a command whose fact turned out void is validated again.
pub const COMMAND_RETRIES: usize = 3;
/// How long a command waits for the log to answer, and then for its own fact to be folded.
pub const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// How long an unknown credential waits for the log's end before the answer is "unavailable".
pub const UNKNOWN_WAIT: Duration = Duration::from_millis(500);
/// How long an unknown credential is remembered.
pub const UNKNOWN_REMEMBERED: Duration = Duration::from_secs(10);
/// How many unknown credentials are remembered.
pub const UNKNOWN_REMEMBERED_MAX: usize = 10_000;
/// A node that has not reached the log's end for this long is not fresh.
pub const STALE_AFTER: Duration = Duration::from_secs(30);
/// How long a follower at the end waits for the log to grow before it asks for the end again.
pub const FOLLOW_WAIT: Duration = Duration::from_millis(200);
/// The pause after a read that failed.
pub const READ_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of facts read at once.
pub const READ_BYTES: usize = 4 << 20;

/// How often counted validations are written to the audit trail.
pub const VALIDATIONS_WINDOW: Duration = Duration::from_secs(60);
/// Credentials whose successes are counted apart in one window; what is beyond is counted together.
pub const VALIDATIONS_SUCCESSES_MAX: usize = 10_000;
/// Source addresses (with kind and account) whose failures are counted apart in one window; what is beyond is counted
/// together. Few, since anybody can fail: at most two entries each and window.
pub const VALIDATIONS_FAILURES_MAX: usize = 1_000;
/// First failures that may wait for the audit trail at once; what is beyond is only counted.
pub const FIRST_FAILURES_WAITING_MAX: usize = 1_000;
/// Entries of the audit trail appended together.
pub const AUDIT_BATCH: usize = 500;
/// The longest text kept in a column of the audit trail, in bytes.
pub const AUDIT_TEXT_BYTES_MAX: usize = 1_024;
/// How often the audit entry of a change is tried before the change is reported as unaudited.
pub const AUDIT_TRIES: usize = 3;
/// The pause between those tries.
pub const AUDIT_RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long stopping waits for the last counted validations to be written.
pub const STOP_WAIT: Duration = Duration::from_secs(5);

/// The most days a scope's range may name.
pub const SCOPE_DAYS_MAX: i64 = 400;
/// The longest key or prefix a scope looks at, in bytes; S3's own bound.
pub const SCOPE_KEY_BYTES_MAX: usize = 1_024;
/// The longest session token that is looked at, in bytes.
pub const SESSION_TOKEN_BYTES_MAX: usize = 2_048;
/// The most server keys accepted at once.
pub const SERVER_KEYS_MAX: usize = 16;

/// The shortest life of a credential, in minutes.
pub const LIFETIME_MINUTES_MIN: i64 = 15;
/// The longest life of a credential, in minutes.
pub const LIFETIME_MINUTES_MAX: i64 = 60;
/// How far the clocks of those who mint and those who check may differ, in ms: what signatures allow. A credential that would still live longer than
/// the longest life and this is refused.
pub const CLOCK_SKEW_MS_MAX: i64 = 15 * 60_000;
