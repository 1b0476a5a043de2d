//! Credentials that were looked for in vain, so that asking for them again costs nothing.

use std::time::Duration;

use millrace_eventlog::Offset;
use quick_cache::sync::Cache;

use crate::Digest;
use crate::limits::{UNKNOWN_REMEMBERED, UNKNOWN_REMEMBERED_MAX};

/// Unknown credentials, each with the position it was unknown at.
///
/// An entry counts only while this node's fold is still at that position: whatever is folded later may have made the
/// credential, and so a key works as soon as the fact that makes it is folded, however often it was tried before.
pub(crate) struct Unknown(Cache<[u8; 32], Entry>);

#[derive(Clone, Copy)]
struct Entry {
    position: Offset,
    until: Duration,
}

impl Unknown {
    pub(crate) fn new() -> Self {
        Self(Cache::new(UNKNOWN_REMEMBERED_MAX))
    }

    /// Whether the credential is known to be unknown, as of `position` and the clock's elapsed time.
    pub(crate) fn holds(&self, digest: &Digest, position: Offset, now: Duration) -> bool {
        self.0.get(digest.as_bytes()).is_some_and(|entry| entry.position == position && now < entry.until)
    }

    /// Remembers that the credential was unknown at `position`.
    pub(crate) fn remember(&self, digest: &Digest, position: Offset, now: Duration) {
        self.0.insert(*digest.as_bytes(), Entry { position, until: now + UNKNOWN_REMEMBERED });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_string())
    }

    #[test]
    fn an_entry_counts_at_its_position_and_for_its_time_only() {
        let unknown = Unknown::new();
        let (made, end) = (Duration::from_secs(5), Duration::from_secs(5) + UNKNOWN_REMEMBERED);
        unknown.remember(&digest(1), 7, made);
        assert!(unknown.holds(&digest(1), 7, end - Duration::from_nanos(1)));
        assert!(!unknown.holds(&digest(1), 7, end), "the time is over");
        assert!(!unknown.holds(&digest(1), 8, made), "something was folded since");
        assert!(!unknown.holds(&digest(2), 7, made), "another credential");
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let unknown = Unknown::new();
        for number in 0..3 * UNKNOWN_REMEMBERED_MAX {
            unknown.remember(&digest(number), 0, Duration::ZERO);
        }
        assert!(unknown.0.len() <= UNKNOWN_REMEMBERED_MAX);
    }
}
