//! Levers for tests: what happens to members of a group, on request.

use std::sync::Arc;

use crate::{KafkaLog, Shared};

/// The levers of one log.
pub struct Levers {
    shared: Arc<Shared>,
}

impl KafkaLog {
    /// Levers for tests of whatever consumes the log.
    #[must_use]
    pub fn levers(&self) -> Levers {
        Levers { shared: Arc::clone(&self.shared) }
    }
}

impl Levers {
    /// The group's members in this process leave in good order and join again, as those do whose consumer stands still.
    /// `false`: there are none.
    pub fn revoke(&self, group: &str) -> bool {
        let group = format!("{}{group}", self.shared.options.prefix);
        self.shared.members.restart(&group, "requested")
    }
}
