//! Keeps a member's client where its owner wants it: which partitions it reads, from where, and which are paused.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_eventlog::{Offset, Partition, ReadError};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use super::seat::{Client, Seat};
use crate::limits::{QUESTION_PAUSE, QUESTION_TIMEOUT, REGRESSED_AFTER};
use crate::record::{number, offset, raw};

/// What the client reads of one partition.
pub(super) struct Flow {
    /// The assignment and epoch it reads for.
    number: u64,
    pub(super) epoch: u64,
    /// The position of the next record.
    pub(super) expected: Offset,
    paused: bool,
}

/// All of one client.
pub(super) struct Flows {
    seat: Arc<Seat>,
    name: Arc<str>,
    flows: BTreeMap<Partition, Flow>,
    /// Positions that lie beyond the end, since when: a broker that has just taken over may not know better.
    beyond: BTreeMap<Partition, Instant>,
    /// Partitions the client could not be brought to, and when.
    failed: BTreeMap<Partition, Instant>,
    /// The client is stopped as a whole: the owner makes no room.
    held: bool,
}

/// What the owner wants of one partition.
struct Wanted {
    partition: Partition,
    number: u64,
    epoch: u64,
    from: Option<Offset>,
    paused: bool,
}

impl Flows {
    pub(super) fn new(seat: Arc<Seat>, name: Arc<str>) -> Self {
        let (flows, beyond, failed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { seat, name, flows, beyond, failed, held: false }
    }

    /// The flow a record or an end belongs to, unless nobody waits for it.
    pub(super) fn get(&mut self, partition: Partition) -> Option<&mut Flow> {
        self.flows.get_mut(&partition).filter(|flow| !flow.paused)
    }

    /// Where the client is in each partition that gets on.
    pub(super) fn positions(&self) -> Vec<(Partition, Offset)> {
        let flowing = self.flows.iter().filter(|(_, flow)| !flow.paused);
        flowing.map(|(partition, flow)| (*partition, flow.expected)).collect()
    }

    /// Stops everything, or lets it go on. While it is stopped the client still answers rebalances.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Brings the client to where it is wanted. What does not succeed is tried again after a pause, and after all else.
    pub(super) fn steer(&mut self, client: &Client) {
        let mut wanted = self.wanted();
        self.flows.retain(|partition, flow| {
            wanted.iter().any(|wanted| wanted.partition == *partition && wanted.number == flow.number)
        });
        self.beyond.retain(|partition, _| wanted.iter().any(|wanted| wanted.partition == *partition));
        self.failed.retain(|partition, _| wanted.iter().any(|wanted| wanted.partition == *partition));
        let lately = self.failed.values().max().is_some_and(|failed| failed.elapsed() < QUESTION_PAUSE);
        wanted.sort_by_key(|wanted| self.failed.get(&wanted.partition).copied());
        for wanted in wanted {
            let partition = wanted.partition;
            if lately && self.failed.contains_key(&partition) {
                return;
            }
            if let Err(error) = self.steer_one(client, wanted) {
                tracing::warn!(topic = %self.seat.topic, partition, %error, "a position could not be taken, trying again");
                self.failed.insert(partition, Instant::now());
                // The others would wait as long for the same brokers, while nothing is polled.
                return;
            }
            self.failed.remove(&partition);
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let state = self.seat.lock();
        let wanted = state.slots.iter().map(|(partition, slot)| Wanted {
            partition: *partition,
            number: slot.number,
            epoch: slot.epoch,
            from: slot.wanted,
            paused: slot.paused || slot.wanted.is_none() || self.held,
        });
        wanted.collect()
    }

    fn steer_one(&mut self, client: &Client, wanted: Wanted) -> KafkaResult<()> {
        let Wanted { partition, number, epoch, from, paused } = wanted;
        if let Some(flow) = self.flows.get_mut(&partition) {
            if paused {
                if !flow.paused {
                    client.pause(&list(&self.name, partition))?;
                    flow.paused = true;
                }
                return Ok(());
            }
            if flow.epoch == epoch && !flow.paused {
                return Ok(());
            }
        } else if paused {
            return Ok(());
        }
        let same_epoch = self.flows.get(&partition).filter(|flow| flow.epoch == epoch).map(|flow| flow.expected);
        let Some(from) = same_epoch.or(from) else { return Ok(()) };
        if self.is_outside(client, partition, from)? {
            return Ok(());
        }
        self.go_to(client, partition, from)?;
        self.flows.insert(partition, Flow { number, epoch, expected: from, paused: false });
        Ok(())
    }

    fn go_to(&mut self, client: &Client, partition: Partition, from: Offset) -> KafkaResult<()> {
        let at = rdkafka::Offset::Offset(raw(from));
        if self.seat.lock().reading.contains(&partition) {
            // Nothing fetched before is given out after a seek.
            if client.resume(&list(&self.name, partition)).is_ok()
                && client.seek(&self.name, number(partition), at, QUESTION_TIMEOUT).is_ok()
            {
                return Ok(());
            }
            // After an error of its own a partition takes no seek.
            client.incremental_unassign(&list(&self.name, partition))?;
            self.seat.lock().reading.remove(&partition);
        }
        let mut assigned = TopicPartitionList::with_capacity(1);
        assigned.add_partition_offset(&self.name, number(partition), at)?;
        client.incremental_assign(&assigned)?;
        self.seat.lock().reading.insert(partition);
        Ok(())
    }

    /// Whether a position is not in the log; the owner is told, at once or after a while.
    fn is_outside(&mut self, client: &Client, partition: Partition, from: Offset) -> KafkaResult<bool> {
        let (start, end) = client.fetch_watermarks(&self.name, number(partition), QUESTION_TIMEOUT)?;
        let (topic, start, end) = (self.seat.topic, offset(start), offset(end));
        if from < start {
            self.seat.fail(partition, ReadError::Truncated { topic, partition, from, start });
            return Ok(true);
        }
        if from <= end {
            self.beyond.remove(&partition);
            return Ok(false);
        }
        let since = *self.beyond.entry(partition).or_insert_with(Instant::now);
        if since.elapsed() >= REGRESSED_AFTER {
            self.beyond.remove(&partition);
            self.seat.fail(partition, ReadError::Regressed { topic, partition, from, end });
        }
        Ok(true)
    }

    /// The client says that some position is outside the log, but not which: each is looked at, and those that are inside
    /// are taken anew.
    pub(super) fn look_again(&mut self) {
        for flow in self.flows.values_mut() {
            flow.paused = true;
        }
    }
}

fn list(name: &str, partition: Partition) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(name, number(partition));
    list
}
