//! Levers for tests: what happens to members of a group, on request.

use std::sync::Arc;

use millrace_eventlog::{CommitError, Offset, Partition, Topic};

use crate::reader::Place;
use crate::topics::named;
use crate::transact::{Doubt, Failure, Transactor};
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

    /// Decides whether a transaction was committed, as a member does whose commit got no clear answer: under its transactional id,
    /// and by what stands where the first output was put.
    ///
    /// # Errors
    /// It was not, and never will be.
    pub async fn settle(&self, id: &str, topic: Topic, partition: Partition, at: Offset) -> Result<(), CommitError> {
        let mut transactor = Transactor::new(self.shared.options.clone(), id.to_owned());
        let place = Place { topic: named(&self.shared.options, topic).into(), partition };
        let doubt = Doubt { topic: Some(topic), firsts: [(place, at)].into(), group: None };
        let settled = transactor.settle(&self.shared, &doubt, "requested".to_owned()).await;
        settled.map_err(|failure| match failure {
            Failure::Fenced(reason) => CommitError::Fenced { partitions: Vec::new(), reason },
            Failure::Aborted(reason) => CommitError::Aborted(reason),
            Failure::Never(error) => CommitError::Aborted(error.to_string()),
        })
    }
}
