//! A seat: the place at which the owner of a member and its worker tell each other things.
//!
//! Here is what the worker does there; `owner.rs` has the owner's part, `state.rs` what both of them see.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_eventlog::{Committed, Offset, Partition, ReadError, Record, Topic};
use rdkafka::consumer::BaseConsumer;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::rebalance::Rebalances;
use super::state::{Newcomer, News, Queued, Slot, State};
use crate::limits::{QUEUED_BYTES_MAX, REVOKED_PATIENCE};
use crate::options::Options;

pub(super) type Client = BaseConsumer<Rebalances>;

/// One seat.
pub(crate) struct Seat {
    pub(super) topic: Topic,
    pub(super) partitions: u32,
    state: Mutex<State>,
    /// Wakes the owner.
    pub(super) told: Notify,
    /// Wakes the worker.
    pub(super) changed: Condvar,
    /// Wakes whoever asks for the positions of newcomers.
    pub(super) assigned: Condvar,
}

/// Why a member's consumer is made anew, and what its owner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Its partitions are revoked, and may be committed once more.
    InGoodOrder(&'static str),
    /// They are gone.
    Lost(&'static str),
}

impl Seat {
    pub(super) fn new(topic: Topic, partitions: u32) -> Self {
        let (changed, assigned) = (Condvar::new(), Condvar::new());
        Self { topic, partitions, state: Mutex::default(), told: Notify::new(), changed, assigned }
    }

    pub(super) fn topic_name(&self, options: &Options) -> String {
        crate::topics::named(options, self.topic)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.left || state.closed
    }

    pub(super) fn take_restart(&self) -> Option<Restart> {
        self.lock().restart.take()
    }

    pub(super) fn set_client(&self, client: Option<Arc<Client>>) {
        let mut state = self.lock();
        state.reading.clear();
        let before = std::mem::replace(&mut state.client, client);
        // Closing it revokes what it has left, which takes the lock.
        drop(state);
        drop(before);
    }

    /// Takes what of these partitions there is away from the owner, and waits (with a bound) until it has let go.
    pub(super) fn revoke(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        for partition in partitions {
            state.take_away(*partition, false);
        }
        self.told.notify_one();
        let began = Instant::now();
        loop {
            let waited_for = partitions.iter().any(|partition| state.letting_go.contains_key(partition));
            if state.left || state.closed || !(waited_for || state.commits > 0) {
                break;
            }
            if began.elapsed() >= REVOKED_PATIENCE {
                for partition in partitions {
                    if state.letting_go.remove(partition).is_some() {
                        state.lose_revoked(*partition);
                    }
                }
                self.told.notify_one();
                break;
            }
            state = self.wait(state, Duration::from_millis(100));
        }
    }

    pub(super) fn lose(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        for partition in partitions {
            state.take_away(*partition, true);
        }
        drop(state);
        self.told.notify_one();
    }

    pub(super) fn assign(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        for partition in partitions {
            state.numbers += 1;
            let number = state.numbers;
            let slot = Slot { number, epoch: 1, wanted: None, paused: false, delivered: 0, queue: VecDeque::new() };
            state.slots.insert(*partition, slot);
            state.unannounced.insert(*partition);
        }
        drop(state);
        self.assigned.notify_one();
    }

    /// The partitions the owner has not been told of. Waits a while for some.
    pub(super) fn newcomers(&self, at_most: Duration) -> Vec<Newcomer> {
        let mut state = self.lock();
        if state.unannounced.is_empty() {
            state = self.assigned.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.newcomers()
    }

    /// The owner may be told of an assigned partition: its committed position is known.
    pub(super) fn announce(&self, newcomer: Newcomer, committed: Option<Committed>) {
        let Newcomer { partition, number } = newcomer;
        let mut state = self.lock();
        if state.slots.get(&partition).is_none_or(|slot| slot.number != number) {
            return;
        }
        if state.unannounced.remove(&partition) {
            state.news.push_back(News::Assigned { partition, number, committed });
            drop(state);
            self.told.notify_one();
        }
    }

    pub(super) fn deliver(&self, partition: Partition, epoch: u64, records: Vec<Record>) {
        let Some(next) = records.last().map(|record| record.offset + 1) else { return };
        let bytes = records.iter().map(|record| record.key.len() + record.value.len() + 64).sum();
        self.enqueue(partition, epoch, bytes, Queued::Records { records, next, bytes });
    }

    pub(super) fn deliver_end(&self, partition: Partition, epoch: u64, next: Offset) {
        self.enqueue(partition, epoch, 0, Queued::End { next });
    }

    fn enqueue(&self, partition: Partition, epoch: u64, bytes: usize, queued: Queued) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get_mut(&partition).filter(|slot| slot.epoch == epoch) else { return };
        slot.queue.push_back(queued);
        state.queued_bytes += bytes;
        drop(state);
        self.told.notify_one();
    }

    /// Tells the owner of an error; the partition stands still until it is started again.
    pub(super) fn fail(&self, partition: Partition, error: ReadError) {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(&partition) {
            slot.wanted = None;
            slot.epoch += 1;
        }
        state.errors.push_back(error);
        drop(state);
        self.told.notify_one();
    }

    /// Waits until there is room for deliveries, or something else has changed, or a while has passed.
    pub(super) fn wait_for_room(&self, at_most: Duration) -> bool {
        let state = self.lock();
        if state.queued_bytes < QUEUED_BYTES_MAX {
            return true;
        }
        self.wait(state, at_most).queued_bytes < QUEUED_BYTES_MAX
    }

    /// Waits a while, or until something has changed.
    pub(super) fn pause_worker(&self, at_most: Duration) {
        drop(self.wait(self.lock(), at_most));
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}
