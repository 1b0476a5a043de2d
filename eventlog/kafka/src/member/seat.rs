//! What the owner of a member and its worker tell each other.
//!
//! The broker's assignment is in `slots`; what the owner has been told of it is in `told`. An assignment has a number, so that
//! a partition that went away and came back is not taken for the one the owner knows. Within an assignment, each start and pause begins a new
//! *epoch*: what was fetched in an earlier one is never delivered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_eventlog::{Committed, Delivery, Offset, Partition, ReadError, Record, Topic};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::closed;
use super::rebalance::Rebalances;
use crate::limits::{QUEUED_BYTES_MAX, REVOKED_PATIENCE};
use crate::options::Options;

pub(super) type Client = BaseConsumer<Rebalances>;

/// One seat.
pub(crate) struct Seat {
    pub(super) topic: Topic,
    pub(super) partitions: u32,
    state: Mutex<State>,
    /// Wakes the owner.
    told: Notify,
    /// Wakes the worker.
    changed: Condvar,
}

/// Why a member's consumer is made anew, and what its owner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Its partitions are revoked, and may be committed once more.
    InGoodOrder(&'static str),
    /// They are gone.
    Lost(&'static str),
}

#[derive(Default)]
pub(super) struct State {
    news: VecDeque<News>,
    errors: VecDeque<ReadError>,
    pub(super) slots: BTreeMap<Partition, Slot>,
    /// Assigned, but the group's committed position is not known yet.
    pub(super) unannounced: BTreeSet<Partition>,
    /// Partitions the client reads.
    pub(super) reading: BTreeSet<Partition>,
    told: BTreeMap<Partition, u64>,
    /// Revoked, and still the owner's until it asks for its next delivery.
    letting_go: BTreeMap<Partition, u64>,
    /// Those of them that the owner knows of.
    told_revoked: BTreeSet<Partition>,
    commits: usize,
    client: Option<Arc<Client>>,
    restart: Option<Restart>,
    left: bool,
    closed: bool,
    numbers: u64,
    served: Partition,
    queued_bytes: usize,
}

/// An assigned partition.
pub(super) struct Slot {
    pub(super) number: u64,
    pub(super) epoch: u64,
    /// From where the owner wants it; absent before it has said so.
    pub(super) wanted: Option<Offset>,
    pub(super) paused: bool,
    /// The position after what the owner has been given.
    delivered: Offset,
    queue: VecDeque<Queued>,
}

enum Queued {
    Records { records: Vec<Record>, next: Offset, bytes: usize },
    End { next: Offset },
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Assigned { partition: Partition, number: u64, committed: Option<Committed> },
    Revoked(Partition),
    Lost(Partition),
}

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
    pub(super) fn new(topic: Topic, partitions: u32) -> Self {
        Self { topic, partitions, state: Mutex::default(), told: Notify::new(), changed: Condvar::new() }
    }

    pub(super) fn topic_name(&self, options: &Options) -> String {
        crate::topics::named(options, self.topic)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the owner does.

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

    // What the worker does.

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
        state.client = client;
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
    }

    /// The owner may be told of an assigned partition: its committed position is known.
    pub(super) fn announce(&self, partition: Partition, committed: Option<Committed>) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get(&partition) else { return };
        let number = slot.number;
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

impl State {
    fn tell(&mut self, news: News) -> Delivery {
        match news {
            News::Assigned { partition, number, committed } => {
                self.told.insert(partition, number);
                Delivery::Assigned { partition, committed }
            }
            News::Revoked(partition) => {
                self.told_revoked.insert(partition);
                self.told.remove(&partition);
                Delivery::Revoked { partition }
            }
            News::Lost(partition) => {
                self.told.remove(&partition);
                self.told_revoked.remove(&partition);
                Delivery::Lost { partition }
            }
        }
    }

    fn queued(&mut self) -> Option<Delivery> {
        let after = self.slots.range(self.served + 1..).chain(self.slots.range(..=self.served));
        let partition = *after.into_iter().find(|(_, slot)| !slot.paused && !slot.queue.is_empty())?.0;
        self.served = partition;
        let slot = self.slots.get_mut(&partition)?;
        Some(match slot.queue.pop_front()? {
            Queued::Records { records, next, bytes } => {
                slot.delivered = next;
                self.queued_bytes -= bytes;
                Delivery::Records { partition, records, next }
            }
            Queued::End { next } => Delivery::End { partition, next },
        })
    }

    /// The slot, if it is the assignment the owner knows.
    fn known(&mut self, partition: Partition) -> Option<&mut Slot> {
        let number = *self.told.get(&partition)?;
        self.slots.get_mut(&partition).filter(|slot| slot.number == number)
    }

    fn owns(&mut self, partition: Partition) -> bool {
        self.letting_go.contains_key(&partition) || self.known(partition).is_some()
    }

    fn drop_queued(&mut self, partition: Partition) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            let bytes: usize = slot.queue.drain(..).map(|queued| queued.bytes()).sum();
            self.queued_bytes -= bytes;
        }
    }

    fn take_away(&mut self, partition: Partition, lost: bool) {
        self.drop_queued(partition);
        self.unannounced.remove(&partition);
        self.news.retain(|news| !matches!(news, News::Assigned { partition: of, .. } if *of == partition));
        let number = self.slots.remove(&partition).map(|slot| slot.number);
        if lost && self.letting_go.remove(&partition).is_some() {
            self.lose_revoked(partition);
        }
        // What the owner was never told of, or what it will hear is lost, needs no further word.
        let Some(told) = self.told.get(&partition).copied() else { return };
        if self.news.iter().any(|news| matches!(news, News::Lost(of) | News::Revoked(of) if *of == partition)) {
            return;
        }
        match number {
            Some(number) if !lost && number == told => {
                self.letting_go.insert(partition, number);
                self.news.push_back(News::Revoked(partition));
            }
            _ => self.news.push_back(News::Lost(partition)),
        }
    }

    /// A revoked partition is lost after all: the owner has kept the others waiting, or the group has gone on without us.
    fn lose_revoked(&mut self, partition: Partition) {
        self.told_revoked.remove(&partition);
        self.news.retain(|news| *news != News::Revoked(partition));
        self.news.push_back(News::Lost(partition));
    }

    fn take_away_all(&mut self, lost: bool) {
        let all: BTreeSet<_> = self.slots.keys().chain(self.letting_go.keys()).copied().collect();
        for partition in all {
            self.take_away(partition, lost);
        }
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Self::Records { bytes, .. } => *bytes,
            Self::End { .. } => 0,
        }
    }
}
