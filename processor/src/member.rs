//! A member of the group: what it owns, its one open transaction, and what happens next.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use millrace_eventlog::{Committed, Consumer, Delivery, Offset, Partition, ReadError};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::limits::{ASSIGNMENT_WAIT, RETRY_PAUSE, RETRY_PAUSE_MAX, TICK_INTERVAL_MIN};
use crate::owned::Owned;
use crate::progress::Progress;
use crate::recover::{Ground, RecoverError};
use crate::run::{Interrupt, PART, Services};
use crate::step::State;
use crate::ticks::Ticker;

mod recoveries;
mod snapshots;
mod transaction;

use recoveries::Recoveries;
use snapshots::Snapshots;

type Recovered = Result<State, RecoverError>;

pub(crate) struct Member<'a> {
    services: &'a Services,
    progress: &'a Progress,
    ground: Ground,
    consumer: Box<dyn Consumer>,
    owned: BTreeMap<Partition, Owned>,
    recoveries: Recoveries,
    snapshots: Snapshots,
    ticker: Ticker,
    /// Ends when the open transaction is old enough; absent while there is none.
    closes: Option<Pin<Box<Sleep>>>,
    /// Ends when nobody needs to wait for an assignment any more; absent once something of ours was delivered.
    joining: Option<Pin<Box<Sleep>>>,
    /// The log could not be read: when it is asked again, and why.
    unreadable: Option<Unreadable>,
    /// The latest offset of ours in each owned partition of the enriched topic, since it is owned.
    put: BTreeMap<Partition, Offset>,
    /// The pause after the next aborted transaction.
    abort_pause: Duration,
    /// Partitions that hold a record of a later release, and what it is.
    too_new: BTreeMap<Partition, String>,
}

struct Unreadable {
    asked_again: Pin<Box<Sleep>>,
    pause: Duration,
    reason: String,
}

enum Next {
    Stop,
    Close,
    Ticked,
    Tick,
    Joined,
    Recovered(Partition, Box<Recovered>),
    Snapshot,
    Delivered(Result<Delivery, ReadError>),
}

impl<'a> Member<'a> {
    pub(crate) fn new(
        services: &'a Services,
        progress: &'a Progress,
        ground: Ground,
        consumer: Box<dyn Consumer>,
    ) -> Self {
        let snapshots = Snapshots::new(ground.shelf.clone(), services.config.raw_retention);
        Self {
            services,
            progress,
            consumer,
            owned: BTreeMap::new(),
            recoveries: Recoveries::new(ground.clone()),
            snapshots,
            ticker: Ticker::new(services.log.clone(), services.clock.clone()),
            ground,
            closes: None,
            joining: Some(Box::pin(tokio::time::sleep(ASSIGNMENT_WAIT))),
            unreadable: None,
            put: BTreeMap::new(),
            abort_pause: RETRY_PAUSE,
            too_new: BTreeMap::new(),
        }
    }

    /// Works until `stop` (then what was taken is committed), or until something must be started again.
    pub(crate) async fn live(mut self, stop: &CancellationToken) -> Result<(), Interrupt> {
        self.report();
        loop {
            match self.next(stop).await? {
                Next::Stop => {
                    self.commit().await?;
                    return Ok(());
                }
                Next::Close => {
                    self.commit().await?;
                }
                Next::Ticked => {}
                Next::Tick => self.tick(),
                Next::Joined => self.joined(),
                Next::Recovered(partition, state) => self.recovered(partition, *state)?,
                Next::Snapshot => self.start_snapshot()?,
                Next::Delivered(Ok(delivery)) => {
                    self.readable();
                    self.deliver(delivery).await?;
                }
                Next::Delivered(Err(wrong)) => self.unreadable(wrong)?,
            }
        }
    }

    async fn next(&mut self, stop: &CancellationToken) -> Result<Next, Interrupt> {
        let pause = self.until_tick();
        let clock = &self.services.clock;
        let tick = async {
            match pause {
                Some(pause) => clock.sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let (consumer, unreadable) = (&mut self.consumer, &mut self.unreadable);
        let delivery = async {
            if let Some(unreadable) = unreadable {
                unreadable.asked_again.as_mut().await;
            }
            consumer.next().await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(Next::Stop),
            () = ended(&mut self.closes) => Ok(Next::Close),
            () = self.ticker.finished() => Ok(Next::Ticked),
            recovered = self.recoveries.next() => match recovered {
                Ok((partition, state)) => Ok(Next::Recovered(partition, Box::new(state))),
                Err(broken) => Err(Interrupt::Again(broken.to_string())),
            },
            () = tick => Ok(Next::Tick),
            finished = self.snapshots.finished(&**clock) => Ok(finished.map(|()| Next::Snapshot)?),
            delivery = delivery => Ok(Next::Delivered(delivery)),
            () = ended(&mut self.joining) => Ok(Next::Joined),
        }
    }

    /// How long until a partition has been silent for too long; `None` while a round of ticks is on its way.
    fn until_tick(&self) -> Option<Duration> {
        if !self.ticker.is_idle() {
            return None;
        }
        let longest_silent =
            self.owned.values().filter(|owned| owned.is_ticked()).map(|owned| owned.last_heard).min()?;
        let due = longest_silent + self.tick_interval();
        Some(due.saturating_sub(self.services.clock.elapsed()))
    }

    fn tick_interval(&self) -> Duration {
        self.services.config.tick_interval.max(TICK_INTERVAL_MIN)
    }

    fn tick(&mut self) {
        let now = self.services.clock.elapsed();
        // Those that are nearly due go along, so that rounds, and the transactions they make, do not drift apart.
        let nearly = self.tick_interval() * 3 / 4;
        let mut due = Vec::new();
        for owned in self.owned.values_mut().filter(|owned| owned.is_ticked() && owned.last_heard + nearly <= now) {
            owned.last_heard = now;
            due.push(owned.partition);
        }
        if !due.is_empty() {
            self.ticker.tick(due);
        }
    }

    /// The log is away, for minutes perhaps: what is in memory is as true as before, and waits.
    fn unreadable(&mut self, wrong: ReadError) -> Result<(), Interrupt> {
        let ReadError::Unavailable(reason) = wrong else { return Err(wrong.into()) };
        let pause = self.unreadable.as_ref().map_or(RETRY_PAUSE, |before| (before.pause * 2).min(RETRY_PAUSE_MAX));
        self.unreadable = Some(Unreadable { asked_again: Box::pin(tokio::time::sleep(pause)), pause, reason });
        self.report();
        Ok(())
    }

    fn readable(&mut self) {
        if self.unreadable.take().is_some() {
            self.report();
        }
    }

    fn joined(&mut self) {
        if self.joining.take().is_some() {
            self.report();
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), Interrupt> {
        match delivery {
            Delivery::Assigned { partition, committed } => self.assigned(partition, committed),
            Delivery::Records { partition, records, next } => {
                self.joined();
                self.take(partition, &records, next).await?;
            }
            Delivery::End { partition, .. } => {
                self.joined();
                if let Some(owned) = self.owned.get_mut(&partition) {
                    owned.at_end = true;
                }
                // Ticks alone wait for nobody: their only effect is the watermark.
                if self.owned.values().all(|owned| owned.at_end && owned.only_ticks()) {
                    self.commit().await?;
                }
            }
            Delivery::Revoked { partition } => {
                self.commit().await?;
                self.drop_partition(partition);
            }
            Delivery::Lost { partition } => self.drop_partition(partition),
        }
        Ok(())
    }

    fn assigned(&mut self, partition: Partition, committed: Option<Committed>) {
        self.drop_partition(partition);
        self.recoveries.want(partition, committed);
        self.report();
    }

    fn recovered(&mut self, partition: Partition, state: Recovered) -> Result<(), Interrupt> {
        match state {
            Ok(state) => {
                let head = state.head();
                tracing::info!(partition, folded = head.folded, held = state.held(), "recovered");
                let owned = Owned::new(partition, state, self.services.clock.elapsed());
                self.consumer.start(partition, owned.folded());
                self.progress.set(partition, owned.progress());
                self.owned.insert(partition, owned);
                self.start_snapshot()?;
            }
            Err(RecoverError::Newer(newer)) => {
                self.consumer.pause(partition, true);
                self.too_new.insert(partition, newer.to_string());
            }
            Err(wrong) => return Err(wrong.into()),
        }
        self.report();
        Ok(())
    }

    fn drop_partition(&mut self, partition: Partition) {
        self.recoveries.unwant(partition);
        self.snapshots.forget(partition);
        self.owned.remove(&partition);
        self.put.remove(&partition);
        self.too_new.remove(&partition);
        self.progress.remove(partition);
        if !self.owned.values().any(Owned::is_open) {
            self.closes = None;
        }
        self.report();
    }

    /// Takes the snapshot that is due, if one is. The store holds exactly what was committed: no write to a partition of ours
    /// is on its way.
    fn start_snapshot(&mut self) -> Result<(), Interrupt> {
        let heads = self.owned.values().map(|owned| (owned.partition, owned.head()));
        if let Some(partition) = self.snapshots.due(heads, self.services.clock.elapsed())
            && let Some(view) = self.ground.store.view(partition)?
        {
            self.snapshots.start(partition, view);
        }
        Ok(())
    }

    fn report(&self) {
        let too_new: Vec<String> =
            self.too_new.iter().map(|(partition, reason)| format!("raw/{partition}: {reason}")).collect();
        let state = if !too_new.is_empty() {
            Err(too_new.join("; "))
        } else if let Some(unreadable) = &self.unreadable {
            Err(unreadable.reason.clone())
        } else if let Some(waiting) = self.recoveries.waiting() {
            Err(waiting)
        } else if self.joining.is_some() {
            Err("waiting for partitions of the group".to_owned())
        } else {
            Ok(())
        };
        self.services.readiness.report(PART, state);
    }
}

/// Returns once the pause has ended; never, if there is none.
async fn ended(pause: &mut Option<Pin<Box<Sleep>>>) {
    match pause {
        Some(pause) => pause.await,
        None => std::future::pending().await,
    }
}
