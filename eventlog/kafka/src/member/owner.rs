//! What the owner of a seat does.

use std::sync::Arc;

use millrace_eventlog::{Delivery, Offset, Partition, ReadError};
use rdkafka::consumer::{CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::closed;
use super::seat::{Client, Restart, Seat};

/// The right to commit these inputs now. While it lives, a revoked partition waits.
pub(crate) struct Permission {
    seat: Arc<Seat>,
    /// The group's metadata of the moment in which the partitions were surely ours.
    pub(crate) metadata: Option<Arc<ConsumerGroupMetadata>>,
    /// For a commit of positions alone. Letting go of it may block.
    client: Option<Arc<Client>>,
}

impl Permission {
    /// Commits positions without a transaction. Blocks.
    pub(crate) fn commit(&self, positions: &TopicPartitionList) -> KafkaResult<()> {
        let client = self.client.as_ref().ok_or(KafkaError::Canceled)?;
        client.commit(positions, CommitMode::Sync)
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        self.seat.lock().commits -= 1;
        self.seat.changed.notify_all();
    }
}

impl Seat {
    /// The next thing to tell the owner.
    pub(super) fn take(&self) -> Option<Result<Delivery, ReadError>> {
        let mut state = self.lock();
        if let Some(news) = state.news.pop_front() {
            return Some(Ok(state.tell(news)));
        }
        if let Some(error) = state.errors.pop_front() {
            return Some(Err(error));
        }
        if state.closed {
            return Some(Err(closed()));
        }
        let delivery = state.queued()?;
        drop(state);
        self.changed.notify_all();
        Some(Ok(delivery))
    }

    /// Returns once there may be something to take.
    pub(super) async fn woken(&self) {
        self.told.notified().await;
    }

    /// The owner has done with what it was told is revoked.
    pub(super) fn let_go(&self) {
        let mut state = self.lock();
        for partition in std::mem::take(&mut state.told_revoked) {
            state.letting_go.remove(&partition);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn start(&self, partition: Partition, from: Offset) {
        let mut state = self.lock();
        let Some(slot) = state.known(partition) else { return };
        slot.wanted = Some(from);
        slot.delivered = from;
        slot.epoch += 1;
        state.drop_queued(partition);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn pause(&self, partition: Partition, paused: bool) {
        let mut state = self.lock();
        let Some(slot) = state.known(partition) else { return };
        if slot.paused != paused {
            slot.paused = paused;
            slot.epoch += 1;
            // Fetched, but not delivered: it will be fetched again.
            slot.wanted = slot.wanted.map(|_| slot.delivered);
            state.drop_queued(partition);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// May these be committed? If not: which may not.
    pub(super) fn begin_commit(
        self: &Arc<Self>,
        partitions: &[Partition],
        positions_alone: bool,
    ) -> Result<Permission, Vec<Partition>> {
        let mut state = self.lock();
        let fenced: Vec<_> = partitions.iter().copied().filter(|partition| !state.owns(*partition)).collect();
        if !fenced.is_empty() {
            return Err(fenced);
        }
        let client = state.client.clone();
        let metadata = match &client {
            // Under the same lock as the rebalances: of a later generation, in which the partition may be somebody else's, we
            // would have been told. With this one, the broker fences whoever is late.
            Some(client) if !partitions.is_empty() && !client.assignment_lost() => {
                client.group_metadata().map(Arc::new)
            }
            _ => None,
        };
        if metadata.is_none() && !partitions.is_empty() {
            return Err(partitions.to_vec());
        }
        state.commits += 1;
        let client = client.filter(|_| positions_alone);
        Ok(Permission { seat: Arc::clone(self), metadata, client })
    }

    pub(super) fn leave(&self) {
        self.lock().left = true;
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.told.notify_one();
        self.changed.notify_all();
    }

    pub(super) fn restart(&self, how: Restart) {
        let mut state = self.lock();
        // Lost is lost, whatever else is asked for.
        if !matches!(state.restart, Some(Restart::Lost(_))) {
            state.restart = Some(how);
        }
        if let Restart::Lost(_) = how {
            state.take_away_all(true);
        }
        drop(state);
        self.told.notify_one();
        self.changed.notify_all();
    }
}
