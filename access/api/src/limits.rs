//! Every bound of this crate.

/// The largest body of an operator's request, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most rows one list answers with; `more` says that there are others.
pub const LIST_ROWS_MAX: usize = 10_000;
/// The shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Random bytes of a password that is made for a user.
pub const PASSWORD_MADE_BYTES: usize = 18;
/// Passwords hashed or verified at once; each takes some 19 MiB and tens of milliseconds.
pub const HASHES_AT_ONCE: usize = 2;
