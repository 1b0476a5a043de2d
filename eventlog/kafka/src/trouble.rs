//! What is wrong now, in words for an operator.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The troubles of one log, each under the name of what has it.
#[derive(Default)]
pub(crate) struct Troubles {
    now: Mutex<BTreeMap<String, String>>,
}

impl Troubles {
    /// Something is wrong. Said in the log once, when it begins or changes.
    pub(crate) fn begin(&self, what: &str, reason: impl Into<String>) {
        let reason = reason.into();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.get(what) != Some(&reason) {
            tracing::warn!(what, reason, "the log on Kafka has trouble");
            now.insert(what.to_owned(), reason);
        }
    }

    /// It is well again.
    pub(crate) fn end(&self, what: &str) {
        let ended = self.now.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
        if ended.is_some() {
            tracing::info!(what, "the log on Kafka has no trouble with this any more");
        }
    }

    /// All of it.
    pub(crate) fn now(&self) -> Option<String> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = now.iter().map(|(what, reason)| format!("{what}: {reason}")).collect();
        if all.is_empty() { None } else { Some(all.join("; ")) }
    }
}
