//! Levers for tests: what happens to members of a Kafka group, on request.

use std::sync::Arc;

use super::EmbeddedLog;
use super::group::GroupKey;
use super::shared::Shared;
use crate::{Partition, Topic};

/// The levers of one log.
pub struct Levers {
    shared: Arc<Shared>,
}

impl EmbeddedLog {
    /// Levers for tests of whatever consumes the log.
    #[must_use]
    pub fn levers(&self) -> Levers {
        Levers { shared: Arc::clone(&self.shared) }
    }
}

impl Levers {
    /// Revokes a partition from the group's member that owns it, in good order; it is assigned anew afterwards. `false`: nobody owns it.
    pub fn revoke(&self, group: &str, topic: Topic, partition: Partition) -> bool {
        self.shared.groups().revoke(&GroupKey { group: group.to_owned(), topic }, partition)
    }

    /// Takes a partition from its owner without asking: what it commits from now on is fenced, and it is told `Lost`
    /// whenever it asks. The partition is assigned anew. `false`: nobody owns it.
    pub fn lose(&self, group: &str, topic: Topic, partition: Partition) -> bool {
        self.shared.groups().lose(&GroupKey { group: group.to_owned(), topic }, partition)
    }

    /// The next commit, whoever makes it, is aborted: it takes its offsets and writes nothing.
    pub fn abort_next_commit(&self) {
        self.shared.abort_next();
    }
}
