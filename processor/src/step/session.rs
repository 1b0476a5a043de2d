//! Sessions: which of a visitor's events belong to one visit, by the events' own timestamps in log order.

use millrace_schemas::raw::Settings;
use xxhash_rust::xxh3::Xxh3;

/// A visitor's current session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// Timestamp of the event that opened it.
    pub(crate) start_ms: i64,
    /// The latest timestamp that joined it.
    pub(crate) last_ms: i64,
    /// Log time at which an event last joined it (or opened it).
    pub(crate) joined_ms: i64,
}

/// Lets an event with timestamp `sent_ms` join the current session or open another; gives the start of the session the
/// event belongs to. A timestamp too far ahead of log time counts as log time.
pub(crate) fn join(current: &mut Option<Session>, sent_ms: i64, log_time_ms: i64, settings: &Settings) -> i64 {
    let ahead = sent_ms > log_time_ms.saturating_add(settings.session_ahead_max_ms);
    let at_ms = if ahead { log_time_ms } else { sent_ms };
    let opened = Session { start_ms: at_ms, last_ms: at_ms, joined_ms: log_time_ms };
    let Some(session) = current else {
        *current = Some(opened);
        return at_ms;
    };
    let gap_ms = settings.session_gap_ms;
    if session.start_ms.saturating_sub(gap_ms) <= at_ms
        && at_ms <= session.last_ms.saturating_add(gap_ms)
        && at_ms < session.start_ms.saturating_add(settings.session_length_max_ms)
    {
        session.last_ms = session.last_ms.max(at_ms);
        session.joined_ms = log_time_ms;
        return session.start_ms;
    }
    // A straggler from an earlier visit gets a session of its own and leaves the current one alone while that is alive.
    if at_ms > session.last_ms || log_time_ms.saturating_sub(session.joined_ms) >= gap_ms {
        *session = opened;
    }
    at_ms
}

/// The id of the session that began at `start_ms`: the low 32 bits, signed, of xxh3-64(account, 0x00, visitor, 0x00, start
/// as i64 little-endian).
#[must_use]
pub fn session_id(account: &str, visitor: &str, start_ms: i64) -> i32 {
    let mut hash = Xxh3::new();
    hash.update(account.as_bytes());
    hash.update(&[0]);
    hash.update(visitor.as_bytes());
    hash.update(&[0]);
    hash.update(&start_ms.to_le_bytes());
    let [a, b, c, d, ..] = hash.digest().to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
