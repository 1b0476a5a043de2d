//! One consumer's life: poll, deliver, and look at what the owner wants, until something ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millrace_eventlog::{Partition, Record};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use tokio::time::Instant;

use super::announce::Announcer;
use super::cover::Cover;
use super::flows::Flows;
use super::seat::{Client, Seat};
use super::watch::Watch;
use super::worker::{Ended, Worker};
use crate::limits::{DELIVERY_BYTES, HELD_AFTER, POLL, POLL_RECORDS_MAX, WATCH_EVERY};
use crate::record::{incoming, offset};

/// One consumer's life.
pub(super) struct Life<'a> {
    worker: &'a Worker,
    client: Arc<Client>,
    flows: Flows,
    watch: Watch,
    cover: Cover,
    /// Since when the owner has made no room.
    full_since: Option<Instant>,
    began: Instant,
    /// Whether it has lived for a while without trouble.
    well: bool,
}

impl<'a> Life<'a> {
    pub(super) fn new(worker: &'a Worker, client: Arc<Client>) -> Self {
        let flows = Flows::new(Arc::clone(&worker.seat), Arc::clone(&worker.name));
        let watch = Watch::new(Arc::clone(&worker.seat), Arc::clone(&worker.name));
        let cover = Cover::new(&worker.group, &worker.instance, &worker.name, worker.seat.partitions);
        Self { worker, client, flows, watch, cover, full_since: None, began: Instant::now(), well: false }
    }

    pub(super) fn live(mut self) -> Ended {
        let client = Arc::clone(&self.client);
        let announcer = Announcer::new(self.worker, &client);
        thread::scope(|scope| {
            let announcing = thread::Builder::new().name("kafka-positions".into());
            if let Err(error) = announcing.spawn_scoped(scope, || announcer.run()) {
                return Ended::Failed(KafkaError::ClientCreation(format!("a thread could not be started: {error}")));
            }
            let ended = self.poll();
            announcer.end();
            ended
        })
    }

    fn poll(&mut self) -> Ended {
        let seat = Arc::clone(&self.worker.seat);
        loop {
            if seat.is_over() {
                return Ended::Left;
            }
            if let Some(restart) = seat.take_restart() {
                return Ended::Restart(restart);
            }
            self.make_way();
            self.flows.steer(&self.client);
            if let Err(ended) = self.gather() {
                return ended;
            }
            if !self.well && self.began.elapsed() >= WATCH_EVERY {
                self.well = true;
                self.worker.shared.troubles.end(&self.worker.trouble());
            }
            if let Some(partition) = self.watch.look(&self.worker.shared, &self.flows) {
                return Ended::Stalled(partition);
            }
            if self.cover.look(&self.client) {
                return Ended::Uncovered;
            }
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
        let (mut wait, mut bytes) = (POLL, 0);
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
                    let record = incoming(&message);
                    bytes += record.value.len();
                    batches.entry(partition).or_default().add(epoch, record);
                    if bytes >= DELIVERY_BYTES {
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
}

impl Batch {
    fn add(&mut self, epoch: u64, record: Record) {
        if self.epoch != epoch {
            self.records.clear();
            self.epoch = epoch;
        }
        self.records.push(record);
    }

    fn deliver(&mut self, seat: &Seat, partition: Partition) {
        seat.deliver(partition, self.epoch, std::mem::take(&mut self.records));
    }
}
