//! Gather and seal: from the enriched topic to segments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_eventlog::{Consumer, Delivery, Log, Partition, Topic};
use millrace_schemas::topics;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;
use crate::gather::{Gather, Ready, Then};
use crate::metrics;
use crate::progress::Progress;
use crate::seal::{self, Sealed, Writer};

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
}

pub(crate) struct Sealing {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: SharedClock,
    pub(crate) stop: CancellationToken,
    pub(crate) config: Config,
    pub(crate) writer: Writer,
    pub(crate) progress: Arc<Progress>,
    pub(crate) signals: Arc<Signals>,
}

type Finished = (Partition, u64, Result<Sealed, Error>);

impl Sealing {
    /// Runs until stopped. What is gathered and not sealed then is still in the log.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let topic = Topic(topics::ENRICHED);
        let mut consumer = self.log.subscribe(GROUP, topic).await.map_err(Error::Log)?;
        let mut gather = Gather::new(&self.config, self.writer.shards);
        let mut seals: JoinSet<Finished> = JoinSet::new();
        let mut waiting = self.signals.waiting.subscribe();
        let mut paused = false;
        let mut number = 0;
        loop {
            let slots = waiting.borrow_and_update().clone();
            for ready in gather.ready(self.clock.elapsed(), &slots) {
                number += 1;
                self.start_seal(&mut seals, ready, number);
            }
            pause(consumer.as_mut(), &gather, &mut paused);
            ::metrics::gauge!(metrics::GATHERED_BYTES).set(gather.bytes() as f64);
            tokio::select! {
                () = self.stop.cancelled() => return Err(Error::Stopped),
                delivery = consumer.next() => self.deliver(delivery.map_err(Error::Log)?, consumer.as_mut(), &mut gather).await?,
                Some(finished) = seals.join_next() => {
                    let finished = finished.map_err(|error| Error::Encode(error.to_string()))?;
                    self.finish(finished, consumer.as_mut(), &mut gather)?;
                }
                _ = waiting.changed() => {}
                () = self.sleep_until(gather.next_due(&slots)) => {}
            }
        }
    }

    async fn sleep_until(&self, due: Option<Duration>) {
        match due {
            Some(due) => self.clock.sleep(due.saturating_sub(self.clock.elapsed())).await,
            None => std::future::pending().await,
        }
    }

    fn start_seal(&self, seals: &mut JoinSet<Finished>, ready: Ready, number: u64) {
        let writer = self.writer.clone();
        seals.spawn(async move {
            let sealed = writer.seal(ready.partition, ready.buffer, number).await;
            (ready.partition, ready.epoch, sealed)
        });
    }

    async fn deliver(&self, delivery: Delivery, consumer: &mut dyn Consumer, gather: &mut Gather) -> Result<(), Error> {
        match delivery {
            Delivery::Assigned { partition, .. } => {
                let (from, watermark_ms) = self.beginning(partition).await?;
                tracing::info!(partition, from, "sealing this partition");
                gather.assign(partition, from, watermark_ms, self.clock.elapsed());
                consumer.start(partition, from);
                consumer.pause(partition, gather.is_full());
                self.signals.assigned.send_replace(gather.assigned());
            }
            Delivery::Records { partition, records, next } => {
                gather.take(partition, records, next, self.clock.elapsed())?;
            }
            // Positions without records move nothing.
            Delivery::End { .. } => {}
            Delivery::Revoked { partition } | Delivery::Lost { partition } => {
                // Whatever is being sealed stands or is refused; the rest is the next owner's.
                gather.drop(partition);
                self.signals.assigned.send_replace(gather.assigned());
            }
        }
        Ok(())
    }

    /// Where a partition's next segment starts: our own record decides, never the group's offsets.
    async fn beginning(&self, partition: Partition) -> Result<(u64, i64), Error> {
        if let Some(newest) = seal::newest(&self.writer.bucket, &self.writer.log_id, partition).await? {
            return Ok((newest.end, newest.watermark_ms));
        }
        let extent = self.log.extent(Topic(topics::ENRICHED), partition).await.map_err(Error::Log)?;
        if extent.start == 0 { Ok((0, 0)) } else { Err(Error::Beginning { partition, start: extent.start }) }
    }

    fn finish(&self, finished: Finished, consumer: &mut dyn Consumer, gather: &mut Gather) -> Result<(), Error> {
        let (partition, epoch, sealed) = finished;
        let sealed = sealed?;
        if let Then::ReadFrom(offset) = gather.sealed(partition, epoch, &sealed, self.clock.elapsed()) {
            consumer.start(partition, offset);
        }
        if let Some((position, watermark_ms, _)) = gather.state(partition) {
            self.progress.sealed(partition, position, watermark_ms);
        }
        let lag_ms = self.clock.now_ms().saturating_sub(sealed.watermark_ms).max(0);
        ::metrics::gauge!(metrics::WATERMARK_LAG, "partition" => partition.to_string()).set(lag_ms as f64);
        self.signals.sealed.notify_one();
        Ok(())
    }
}

/// Stops or resumes delivery, so that what is gathered stays within the budget.
fn pause(consumer: &mut dyn Consumer, gather: &Gather, paused: &mut bool) {
    if gather.is_full() != *paused {
        *paused = gather.is_full();
        for partition in gather.assigned() {
            consumer.pause(partition, *paused);
        }
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            assigned: watch::Sender::new(BTreeSet::new()),
            sealed: Notify::new(),
            waiting: watch::Sender::new(BTreeSet::new()),
        }
    }
}
