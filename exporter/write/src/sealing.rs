//! Gather and seal: from the enriched topic to segments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_eventlog::{Consumer, Delivery, Log, Offset, Partition, ReadError, Topic};
use millrace_schemas::topics;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::beginning::Beginnings;
use crate::config::Config;
use crate::error::Error;
use crate::gather::{Gather, Ready, Then};
use crate::health::{self, Health, Wait};
use crate::progress::Progress;
use crate::seal::{Sealed, Writer};
use crate::{limits, metrics};

/// The group whose members share the enriched partitions.
pub const GROUP: &str = "millrace-exporter";

/// What sealing and publishing tell each other.
pub(crate) struct Signals {
    /// Sealing -> publishing: the partitions, and so the shards, that are ours.
    pub(crate) assigned: watch::Sender<BTreeSet<Partition>>,
    /// Sealing -> publishing: there are new segments.
    pub(crate) sealed: Notify,
    /// Publishing -> sealing: ends of slots with sealed rows, for which a watermark is waited for.
    pub(crate) waiting: watch::Sender<BTreeSet<i64>>,
    /// Publishing -> retention: the sealed watermark of all partitions.
    pub(crate) watermark: watch::Sender<i64>,
}

pub(crate) struct Sealing {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: SharedClock,
    pub(crate) stop: CancellationToken,
    pub(crate) config: Config,
    pub(crate) writer: Writer,
    pub(crate) beginnings: Beginnings,
    pub(crate) health: Health,
    pub(crate) progress: Arc<Progress>,
    pub(crate) signals: Arc<Signals>,
}

/// What was done beside the loop.
enum Done {
    /// Of the `number`th assignment.
    Begun {
        partition: Partition,
        number: u64,
        found: Result<(Offset, i64), Error>,
    },
    Sealed {
        partition: Partition,
        epoch: u64,
        sealed: Result<Sealed, Error>,
    },
}

/// A log that cannot be read at present.
struct Away {
    wait: Wait,
    again: Duration,
}

/// One membership of the group, and what is under way in it.
struct Membership<'a> {
    sealing: &'a Sealing,
    consumer: Box<dyn Consumer>,
    gather: Gather,
    /// Partitions that are ours, with the number of their assignment, until it is known where they begin.
    beginning: BTreeMap<Partition, u64>,
    under_way: JoinSet<Done>,
    lookups: Arc<Semaphore>,
    paused: bool,
    /// Counts assignments and seals, over all memberships: a write of an earlier one may still be on its way.
    number: u64,
}

impl Sealing {
    /// Runs until stopped. What is gathered and not sealed then is still in the log.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut number = 0;
        loop {
            let subscribe = || self.log.subscribe(GROUP, Topic(topics::ENRICHED));
            let consumer = self.health.ask_log(subscribe, Error::Log).await?;
            let mut membership = Membership {
                sealing: &self,
                consumer,
                gather: Gather::new(&self.config, self.writer.shards),
                beginning: BTreeMap::new(),
                under_way: JoinSet::new(),
                lookups: Arc::new(Semaphore::new(limits::READS_AT_ONCE)),
                paused: false,
                number,
            };
            membership.live().await?;
            number = membership.number;
            membership.end();
        }
    }

    async fn sleep_until(&self, due: Option<Duration>) {
        match due {
            Some(due) => self.clock.sleep(due.saturating_sub(self.clock.elapsed())).await,
            None => std::future::pending().await,
        }
    }
}

impl Membership<'_> {
    /// Lives until the log has been away for too long for this member to be trusted with its return.
    async fn live(&mut self) -> Result<(), Error> {
        let sealing = self.sealing;
        let mut waiting = sealing.signals.waiting.subscribe();
        let mut away: Option<Away> = None;
        loop {
            let slots = waiting.borrow_and_update().clone();
            for ready in self.gather.ready(sealing.clock.elapsed(), &slots) {
                self.start_seal(ready);
            }
            self.pause();
            ::metrics::gauge!(metrics::GATHERED_BYTES).set(self.gather.bytes() as f64);
            let due = self.gather.next_due(&slots);
            let again = away.as_ref().map(|away| away.again);
            tokio::select! {
                () = sealing.stop.cancelled() => return Err(Error::Stopped),
                delivery = self.consumer.next(), if again.is_none_or(|again| again <= sealing.clock.elapsed()) => match delivery {
                    Ok(delivery) => {
                        away = None;
                        self.deliver(delivery)?;
                    }
                    Err(error) => {
                        let before = away.take().map_or_else(|| sealing.health.wait(), |away| away.wait);
                        let now = self.unavailable(error, before)?;
                        if now.wait.lasted() >= limits::MEMBER_PATIENCE {
                            return Ok(());
                        }
                        away = Some(now);
                    }
                },
                Some(done) = self.under_way.join_next() => {
                    self.finish(done.map_err(|error| Error::Encode(error.to_string()))?)?;
                }
                _ = waiting.changed() => {}
                () = sealing.sleep_until(due) => {}
                () = sealing.sleep_until(again), if again.is_some_and(|again| again > sealing.clock.elapsed()) => {}
            }
        }
    }

    /// The partitions are nobody's until the next membership.
    fn end(self) {
        for partition in self.gather.assigned() {
            self.sealing.progress.gone(partition);
        }
        self.sealing.signals.assigned.send_replace(BTreeSet::new());
    }

    /// What is gathered stays, and is sealed when its time comes: only reading has to wait.
    fn unavailable(&self, error: ReadError, mut wait: Wait) -> Result<Away, Error> {
        let ReadError::Unavailable(reason) = error else { return Err(Error::Log(error)) };
        let pause = wait.failed(&health::log_is_away(&reason));
        tracing::warn!(reason, again_in_ms = pause.as_millis() as u64, "the enriched topic cannot be read now");
        Ok(Away { wait, again: self.sealing.clock.elapsed() + pause })
    }

    fn start_seal(&mut self, ready: Ready) {
        self.number += 1;
        let (writer, number) = (self.sealing.writer.clone(), self.number);
        self.under_way.spawn(async move {
            let Ready { partition, epoch, buffer } = ready;
            Done::Sealed { partition, epoch, sealed: writer.seal(partition, buffer, number).await }
        });
    }

    /// Looked up beside the loop: deliveries of other partitions go on, and a rebalance hands over many at once.
    fn start_beginning(&mut self, partition: Partition) {
        self.number += 1;
        self.beginning.insert(partition, self.number);
        let (beginnings, number) = (self.sealing.beginnings.clone(), self.number);
        let lookups = Arc::clone(&self.lookups);
        self.under_way.spawn(async move {
            let _one_of_a_few = lookups.acquire().await;
            Done::Begun { partition, number, found: beginnings.of(partition).await }
        });
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), Error> {
        match delivery {
            Delivery::Assigned { partition, .. } => self.start_beginning(partition),
            Delivery::Records { partition, records, next } => {
                self.gather.take(partition, records, next, self.sealing.clock.elapsed())?;
            }
            // Positions without records move nothing.
            Delivery::End { .. } => {}
            Delivery::Revoked { partition } | Delivery::Lost { partition } => {
                // Whatever is being sealed stands or is refused; the rest is the next owner's.
                self.beginning.remove(&partition);
                self.gather.drop(partition);
                self.sealing.progress.gone(partition);
                self.tell_assigned();
            }
        }
        Ok(())
    }

    fn finish(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Begun { partition, number, found } => {
                let (from, watermark_ms) = found?;
                // It may have gone, and have come again, in the meantime.
                if self.beginning.get(&partition) == Some(&number) {
                    self.beginning.remove(&partition);
                    tracing::info!(partition, from, "sealing this partition");
                    self.gather.assign(partition, from, watermark_ms, self.sealing.clock.elapsed());
                    self.consumer.start(partition, from);
                    self.consumer.pause(partition, self.gather.is_full());
                    self.tell_assigned();
                }
            }
            Done::Sealed { partition, epoch, sealed } => {
                let sealed = sealed?;
                let now = self.sealing.clock.elapsed();
                if let Then::ReadFrom(offset) = self.gather.sealed(partition, epoch, &sealed, now) {
                    self.consumer.start(partition, offset);
                }
                if let Some((position, watermark_ms, _)) = self.gather.state(partition) {
                    self.sealing.progress.sealed(partition, position, watermark_ms);
                }
                self.sealing.signals.sealed.notify_one();
            }
        }
        Ok(())
    }

    fn tell_assigned(&self) {
        let now = self.gather.assigned();
        self.sealing.signals.assigned.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }

    /// Stops or resumes delivery, so that what is gathered stays within the budget.
    fn pause(&mut self) {
        if self.gather.is_full() != self.paused {
            self.paused = self.gather.is_full();
            for partition in self.gather.assigned() {
                self.consumer.pause(partition, self.paused);
            }
        }
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            assigned: watch::Sender::new(BTreeSet::new()),
            sealed: Notify::new(),
            waiting: watch::Sender::new(BTreeSet::new()),
            watermark: watch::Sender::new(0),
        }
    }
}
