//! A member of the group: what it owns, its one open transaction, and what happens next.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use millrace_eventlog::{CommitError, Committed, Consumer, Delivery, Offset, Partition, Record, Transaction};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::{RETRY_PAUSE, TICK_INTERVAL_MIN, TRANSACTION_AGE_MAX, TRANSACTION_BYTES_MAX};
use crate::metrics;
use crate::owned::{Applied, Owned, Taken};
use crate::progress::Progress;
use crate::recover::{RecoverError, off_thread, recover};
use crate::run::{Interrupt, PART, Services};
use crate::step::State;
use crate::store::Store;
use crate::ticks::Ticker;

pub(crate) struct Member<'a> {
    services: &'a Services,
    progress: &'a Progress,
    store: Store,
    consumer: Box<dyn Consumer>,
    owned: BTreeMap<Partition, Owned>,
    recovering: BTreeMap<Partition, Recovery>,
    recoveries: JoinSet<(Partition, Result<State, RecoverError>)>,
    ticker: Ticker,
    /// Ends when the open transaction is old enough; absent while there is none.
    closes: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Partitions that hold a record of a later release, and what it is.
    too_new: BTreeMap<Partition, String>,
}

/// A recovery on its way. One at a time per partition, as it writes to the store: what happens to the partition meanwhile
/// waits for its end.
enum Recovery {
    /// Its state will be used.
    Wanted,
    /// The partition went away.
    Unwanted,
    /// The partition went away and came back, with this group position: recover it again.
    Again(Option<Committed>),
}

enum Next {
    Stop,
    Close,
    Ticked,
    Tick,
    Recovered(Partition, Box<Result<State, RecoverError>>),
    Delivered(Delivery),
}

impl<'a> Member<'a> {
    pub(crate) fn new(
        services: &'a Services,
        progress: &'a Progress,
        store: Store,
        consumer: Box<dyn Consumer>,
    ) -> Self {
        Self {
            services,
            progress,
            store,
            consumer,
            owned: BTreeMap::new(),
            recovering: BTreeMap::new(),
            recoveries: JoinSet::new(),
            ticker: Ticker::new(services.log.clone(), services.clock.clone()),
            closes: None,
            too_new: BTreeMap::new(),
        }
    }

    /// Works until `stop` (then what was taken is committed), or until something must be started again.
    pub(crate) async fn live(mut self, stop: &CancellationToken) -> Result<(), Interrupt> {
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
                Next::Recovered(partition, state) => self.recovered(partition, *state)?,
                Next::Delivered(delivery) => self.deliver(delivery).await?,
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
        let close = async {
            match &mut self.closes {
                Some(closes) => closes.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(Next::Stop),
            () = close => Ok(Next::Close),
            () = self.ticker.finished() => Ok(Next::Ticked),
            Some(recovered) = self.recoveries.join_next() => match recovered {
                Ok((partition, state)) => Ok(Next::Recovered(partition, Box::new(state))),
                Err(broken) => Err(Interrupt::Again(broken.to_string())),
            },
            () = tick => Ok(Next::Tick),
            delivery = self.consumer.next() => Ok(Next::Delivered(delivery?)),
        }
    }

    /// How long until a partition has been silent for too long; `None` while a round of ticks is on its way.
    fn until_tick(&self) -> Option<Duration> {
        if !self.ticker.is_idle() {
            return None;
        }
        let longest_silent = self.ticked().map(|owned| owned.last_heard).min()?;
        let due = longest_silent + self.tick_interval();
        Some(due.saturating_sub(self.services.clock.elapsed()))
    }

    fn tick_interval(&self) -> Duration {
        self.services.config.tick_interval.max(TICK_INTERVAL_MIN)
    }

    fn ticked(&self) -> impl Iterator<Item = &Owned> {
        self.owned.values().filter(|owned| !owned.stopped)
    }

    fn tick(&mut self) {
        let now = self.services.clock.elapsed();
        // Those that are nearly due go along, so that rounds, and the transactions they make, do not drift apart.
        let nearly = self.tick_interval() * 3 / 4;
        let mut due = Vec::new();
        for owned in self.owned.values_mut().filter(|owned| !owned.stopped && owned.last_heard + nearly <= now) {
            owned.last_heard = now;
            due.push(owned.partition);
        }
        if !due.is_empty() {
            self.ticker.tick(due);
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), Interrupt> {
        match delivery {
            Delivery::Assigned { partition, committed } => self.assigned(partition, committed),
            Delivery::Records { partition, records, next } => self.take(partition, &records, next).await?,
            Delivery::End { partition, .. } => {
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
        match self.recovering.get_mut(&partition) {
            Some(recovery) => *recovery = Recovery::Again(committed),
            None => self.recover(partition, committed),
        }
        self.report();
    }

    fn recover(&mut self, partition: Partition, committed: Option<Committed>) {
        let (log, store) = (self.services.log.clone(), self.store.clone());
        self.recoveries.spawn(async move { (partition, recover(log, store, partition, committed).await) });
        self.recovering.insert(partition, Recovery::Wanted);
    }

    fn recovered(&mut self, partition: Partition, state: Result<State, RecoverError>) -> Result<(), Interrupt> {
        match self.recovering.remove(&partition) {
            Some(Recovery::Wanted) => {}
            Some(Recovery::Again(committed)) => {
                self.recover(partition, committed);
                return Ok(());
            }
            Some(Recovery::Unwanted) | None => return Ok(()),
        }
        match state {
            Ok(state) => {
                let head = state.head();
                tracing::info!(partition, folded = head.folded, held = state.held(), "recovered");
                let owned = Owned::new(partition, state, self.services.clock.elapsed());
                self.consumer.start(partition, owned.folded());
                self.progress.set(partition, owned.progress());
                self.owned.insert(partition, owned);
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
        if let Some(recovery) = self.recovering.get_mut(&partition) {
            *recovery = Recovery::Unwanted;
        }
        self.owned.remove(&partition);
        self.too_new.remove(&partition);
        self.progress.remove(partition);
        if !self.owned.values().any(Owned::is_open) {
            self.closes = None;
        }
        self.report();
    }

    async fn take(&mut self, partition: Partition, records: &[Record], next: Offset) -> Result<(), Interrupt> {
        let now = self.services.clock.elapsed();
        for record in records {
            loop {
                let Some(owned) = self.owned.get_mut(&partition).filter(|owned| !owned.stopped) else { return Ok(()) };
                owned.last_heard = now;
                owned.at_end = false;
                match owned.take(record) {
                    Ok(Taken::Folded) => break,
                    Ok(Taken::Full) => {
                        if !self.commit().await? {
                            // The partition starts again from its last committed position.
                            return Ok(());
                        }
                    }
                    Err(newer) => {
                        owned.stopped = true;
                        self.consumer.pause(partition, true);
                        self.too_new.insert(partition, newer.to_string());
                        self.report();
                        return Ok(());
                    }
                }
            }
            if self.closes.is_none() {
                self.closes = Some(Box::pin(tokio::time::sleep(TRANSACTION_AGE_MAX)));
            }
        }
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.taken_to(next);
        }
        if self.owned.values().map(Owned::open_bytes).sum::<usize>() >= TRANSACTION_BYTES_MAX {
            self.commit().await?;
        }
        Ok(())
    }

    /// Commits the open transaction, if there is one. False: it was aborted, and its partitions start again.
    async fn commit(&mut self) -> Result<bool, Interrupt> {
        self.closes = None;
        let mut transaction = Transaction::default();
        for owned in self.owned.values() {
            owned.add_to(&mut transaction);
        }
        if transaction.inputs.is_empty() {
            return Ok(true);
        }
        match self.consumer.commit(transaction).await {
            Ok(_) => {
                self.apply().await?;
                self.report();
                Ok(true)
            }
            Err(CommitError::Aborted(reason)) => {
                self.start_over(&reason);
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(false)
            }
            Err(CommitError::Fenced { partitions, reason }) => {
                tracing::warn!(?partitions, reason, "partitions belong to another member by now");
                for partition in partitions {
                    self.drop_partition(partition);
                }
                self.start_over(&reason);
                Ok(false)
            }
        }
    }

    /// The open transaction never was: back to the last committed positions.
    fn start_over(&mut self, reason: &str) {
        ::metrics::counter!(metrics::ABORTED).increment(1);
        self.services.readiness.report(PART, Err(format!("a transaction was aborted: {reason}")));
        for owned in self.owned.values_mut().filter(|owned| owned.is_open()) {
            owned.discard();
            self.consumer.start(owned.partition, owned.folded());
        }
    }

    /// The log has the transaction: now the state has it, and then the store.
    async fn apply(&mut self) -> Result<(), Interrupt> {
        let mut applied = Vec::new();
        for owned in self.owned.values_mut() {
            if let Some(change) = owned.apply() {
                self.progress.set(owned.partition, owned.progress());
                metrics::measure(owned, &change, self.services.clock.now_ms());
                applied.push((owned.partition, change));
            }
        }
        let store = self.store.clone();
        off_thread(move || {
            for (partition, Applied { changes, swept, .. }) in applied {
                store.commit(partition, changes, swept)?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    fn report(&self) {
        let too_new: Vec<String> =
            self.too_new.iter().map(|(partition, reason)| format!("raw/{partition}: {reason}")).collect();
        let state = if !too_new.is_empty() {
            Err(too_new.join("; "))
        } else if self.recovering.is_empty() {
            Ok(())
        } else {
            Err(format!("folding {} partitions from their last stored state", self.recovering.len()))
        };
        self.services.readiness.report(PART, state);
    }
}
