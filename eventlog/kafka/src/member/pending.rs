//! Positions of the group that cannot be read because a transaction of this member's name was never ended in the group.

use std::sync::Arc;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;

use super::SharedTransactor;
use super::seat::Client;
use super::state::Newcomer;
use crate::record::number;
use crate::transact::Group;

/// Ends them, for a thread that must not wait.
pub(super) struct Pending {
    transactor: SharedTransactor,
    runtime: Handle,
}

impl Pending {
    pub(super) fn new(transactor: SharedTransactor) -> Self {
        Self { transactor, runtime: Handle::current() }
    }

    /// Begins to. A commit that is on its way ends first, and what it leaves pending with it.
    pub(super) fn end(&self, client: &Client, topic: &str, newcomers: &[Newcomer]) {
        let Some(metadata) = client.group_metadata().map(Arc::new) else { return };
        let mut offsets = TopicPartitionList::new();
        for newcomer in newcomers {
            // They are aborted: any will do.
            let mut entry = offsets.add_partition(topic, number(newcomer.partition));
            if entry.set_offset(rdkafka::Offset::Offset(0)).is_err() {
                return;
            }
        }
        let transactor = Arc::clone(&self.transactor);
        self.runtime.spawn(async move {
            if let Ok(mut transactor) = transactor.try_lock() {
                transactor.end_left(Some(Group { offsets, metadata })).await;
            }
        });
    }
}
