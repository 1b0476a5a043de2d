//! The thread of a member: one Kafka consumer after the other, each until it must be made anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Committed, Partition, Record};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use super::flows::Flows;
use super::rebalance::Rebalances;
use super::seat::{Client, Restart, Seat};
use super::watch::Watch;
use crate::limits::{
    DELIVERY_BYTES, FENCED_PAUSE, FENCED_PAUSE_MAX, HELD_AFTER, POLL, POLL_RECORDS_MAX, REQUEST_TIMEOUT, RETRY_PAUSE,
};
use crate::record::{incoming, number, offset};
use crate::{Shared, config, metrics};

/// What a member's thread works with.
pub(super) struct Worker {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    group: String,
    instance: String,
    name: Arc<str>,
}

/// Why a consumer's life ended.
enum Ended {
    /// The member has left.
    Left,
    /// On request.
    Restart(Restart),
    /// By an error it does not recover from.
    Failed(KafkaError),
    /// Another member with the same name has joined.
    Fenced,
    /// Its position stood still while the partition grew.
    Stalled(Partition),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, seat: Arc<Seat>, group: String, instance: String, name: Arc<str>) -> Self {
        Self { shared, seat, group, instance, name }
    }

    /// Works until the member leaves.
    pub(super) fn run(self) {
        let trouble = format!("member {} of {}", self.instance, self.group);
        let mut pause = FENCED_PAUSE;
        loop {
            let began = Instant::now();
            let ended = match self.connect() {
                Ok(client) => {
                    let ended = Life::new(&self, client).live();
                    self.shared.troubles.end(&trouble);
                    ended
                }
                Err(error) => Ended::Failed(error),
            };
            let partitions: Vec<_> = self.seat.lock().slots.keys().copied().collect();
            let reason = match ended {
                Ended::Left => break,
                Ended::Restart(Restart::InGoodOrder(reason)) => {
                    self.seat.revoke(&partitions);
                    reason
                }
                Ended::Stalled(partition) => {
                    self.shared
                        .troubles
                        .begin(&trouble, format!("{}/{partition} stood still, joining anew", self.name));
                    self.seat.revoke(&partitions);
                    "stalled"
                }
                Ended::Restart(Restart::Lost(reason)) => {
                    self.seat.lose(&partitions);
                    reason
                }
                Ended::Fenced => {
                    self.seat.lose(&partitions);
                    let reason = format!("another process has the name {}: names must differ", self.instance);
                    self.shared.troubles.begin(&trouble, reason);
                    "fenced"
                }
                Ended::Failed(error) => {
                    self.seat.lose(&partitions);
                    self.shared.troubles.begin(&trouble, error.to_string());
                    "failed"
                }
            };
            tracing::warn!(group = self.group, reason, "a member's consumer is made anew");
            ::metrics::counter!(metrics::CONSUMERS_RESTARTED, "reason" => reason).increment(1);
            // Two with one name must not take it from each other as fast as they can.
            pause = if began.elapsed() > FENCED_PAUSE_MAX { FENCED_PAUSE } else { pause };
            self.leave_client();
            if self.seat.is_over() {
                break;
            }
            if matches!(reason, "fenced" | "failed") {
                self.wait(pause);
                pause = (pause * 2).min(FENCED_PAUSE_MAX);
            }
        }
        self.leave_client();
        self.shared.troubles.end(&trouble);
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.seat.is_over() {
            self.seat.pause_worker(RETRY_PAUSE);
        }
    }

    fn connect(&self) -> KafkaResult<Arc<Client>> {
        let config = config::member(&self.shared.options, &self.group, &self.instance);
        let client: Arc<Client> = Arc::new(config.create_with_context(Rebalances { seat: Arc::clone(&self.seat) })?);
        client.subscribe(&[&self.name])?;
        self.seat.set_client(Some(Arc::clone(&client)));
        Ok(client)
    }

    /// Lets go of the consumer. A static member does not leave its group by that: it may be back soon.
    fn leave_client(&self) {
        self.seat.set_client(None);
    }
}

/// One consumer's life.
struct Life<'a> {
    worker: &'a Worker,
    client: Arc<Client>,
    flows: Flows,
    watch: Watch,
    /// Since when the owner has made no room.
    full_since: Option<Instant>,
}

impl<'a> Life<'a> {
    fn new(worker: &'a Worker, client: Arc<Client>) -> Self {
        let flows = Flows::new(Arc::clone(&worker.seat), Arc::clone(&worker.name));
        let watch = Watch::new(Arc::clone(&worker.seat), Arc::clone(&worker.name));
        Self { worker, client, flows, watch, full_since: None }
    }

    fn live(mut self) -> Ended {
        let seat = Arc::clone(&self.worker.seat);
        loop {
            if seat.is_over() {
                return Ended::Left;
            }
            if let Some(restart) = seat.take_restart() {
                return Ended::Restart(restart);
            }
            self.announce();
            self.make_way();
            self.flows.steer(&self.client);
            if let Err(ended) = self.gather() {
                return ended;
            }
            if let Some(partition) = self.watch.look(&self.worker.shared, &self.flows) {
                return Ended::Stalled(partition);
            }
        }
    }

    /// Tells the owner of newly assigned partitions, once their committed positions are known. Those of a transaction that is
    /// not decided yet are waited for.
    fn announce(&self) {
        let seat = &self.worker.seat;
        let partitions: Vec<_> = seat.lock().unannounced.iter().copied().collect();
        if partitions.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            list.add_partition(&self.worker.name, number(*partition));
        }
        let answers = match self.client.committed_offsets(list, REQUEST_TIMEOUT) {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(%error, group = self.worker.group, "the group's positions cannot be read, trying again");
                return;
            }
        };
        for answer in answers.elements() {
            let Ok(partition) = Partition::try_from(answer.partition()) else { continue };
            if let Err(error) = answer.error() {
                tracing::warn!(%error, partition, "the group's position cannot be read, trying again");
                continue;
            }
            let committed = match answer.offset() {
                rdkafka::Offset::Offset(next) => {
                    Some(Committed { next: offset(next), metadata: answer.metadata().to_owned() })
                }
                _ => None,
            };
            seat.announce(partition, committed);
        }
    }

    /// Where the owner makes no room for a while the client stops fetching; it goes on answering rebalances.
    fn make_way(&mut self) {
        if self.worker.seat.wait_for_room(POLL) {
            self.full_since = None;
            self.flows.hold(false);
        } else if self.full_since.get_or_insert_with(Instant::now).elapsed() >= HELD_AFTER {
            self.flows.hold(true);
        }
    }

    /// Takes what the client has.
    fn gather(&mut self) -> Result<(), Ended> {
        let held = self.full_since.is_some_and(|since| since.elapsed() >= HELD_AFTER);
        if self.full_since.is_some() && !held {
            return Ok(());
        }
        let client = Arc::clone(&self.client);
        let mut batches: BTreeMap<Partition, Batch> = BTreeMap::new();
        let mut wait = POLL;
        for _ in 0..POLL_RECORDS_MAX {
            match client.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let Ok(partition) = Partition::try_from(message.partition()) else { continue };
                    let at = offset(message.offset());
                    let Some(flow) = self.flows.get(partition).filter(|flow| at >= flow.expected) else { continue };
                    flow.expected = at + 1;
                    let epoch = flow.epoch;
                    self.watch.heard(partition);
                    let batch = batches.entry(partition).or_default();
                    batch.add(epoch, incoming(&message));
                    if batch.bytes >= DELIVERY_BYTES {
                        batch.deliver(&self.worker.seat, partition);
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let Ok(partition) = Partition::try_from(partition) else { continue };
                    self.watch.heard(partition);
                    if let Some(batch) = batches.get_mut(&partition) {
                        batch.deliver(&self.worker.seat, partition);
                    }
                    if let Some(flow) = self.flows.get(partition) {
                        self.worker.seat.deliver_end(partition, flow.epoch, flow.expected);
                    }
                }
                Some(Err(error)) => self.failed(error)?,
            }
            wait = Duration::ZERO;
        }
        for (partition, mut batch) in batches {
            batch.deliver(&self.worker.seat, partition);
        }
        Ok(())
    }

    fn failed(&mut self, error: KafkaError) -> Result<(), Ended> {
        if let Some((code, reason)) = self.client.client().fatal_error() {
            tracing::warn!(%code, reason, group = self.worker.group, "a member met a fatal error");
            return Err(match code {
                RDKafkaErrorCode::FencedInstanceId => Ended::Fenced,
                _ => Ended::Failed(error),
            });
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.flows.look_again(),
            _ => tracing::info!(%error, group = self.worker.group, "a member met an error; its client goes on"),
        }
        Ok(())
    }
}

/// Records of one partition and epoch on their way to the owner.
#[derive(Default)]
struct Batch {
    epoch: u64,
    records: Vec<Record>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, epoch: u64, record: Record) {
        if self.epoch != epoch {
            self.records.clear();
            self.bytes = 0;
            self.epoch = epoch;
        }
        self.bytes += record.value.len();
        self.records.push(record);
    }

    fn deliver(&mut self, seat: &Seat, partition: Partition) {
        self.bytes = 0;
        seat.deliver(partition, self.epoch, std::mem::take(&mut self.records));
    }
}
