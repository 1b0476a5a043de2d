//! The open transaction: records are taken into it, and it is committed, applied, or as if it had never been.

use millrace_eventlog::{Appended, CommitError, Offset, Partition, Record, Transaction};

use super::Member;
use crate::contradiction::Contradiction;
use crate::limits::{RETRY_PAUSE, RETRY_PAUSE_MAX, TRANSACTION_AGE_MAX, TRANSACTION_BYTES_MAX};
use crate::metrics;
use crate::owned::{Applied, Owned, Refused, Taken};
use crate::recover::{RecoverError, off_thread};
use crate::run::{Interrupt, PART};

impl Member<'_> {
    pub(super) async fn take(
        &mut self,
        partition: Partition,
        records: &[Record],
        next: Offset,
    ) -> Result<(), Interrupt> {
        let now = self.services.clock.elapsed();
        for record in records {
            loop {
                let Some(owned) = self.owned.get_mut(&partition).filter(|owned| !owned.stopped) else { return Ok(()) };
                owned.last_heard = now;
                owned.at_end = false;
                match owned.take(record, self.services.log.id()) {
                    Ok(Taken::Folded) => break,
                    Ok(Taken::Full) => {
                        if !self.commit().await? {
                            // The partition starts again from its last committed position.
                            return Ok(());
                        }
                    }
                    Err(Refused::Newer(newer)) => {
                        owned.stopped = true;
                        self.consumer.pause(partition, true);
                        self.too_new.insert(partition, newer.to_string());
                        self.report();
                        return Ok(());
                    }
                    Err(Refused::Unreadable(reason)) => return Err(Interrupt::Again(reason)),
                    Err(Refused::Wrong(wrong)) => return Err(RecoverError::Stop(wrong).into()),
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
    pub(super) async fn commit(&mut self) -> Result<bool, Interrupt> {
        self.closes = None;
        let mut transaction = Transaction::default();
        for owned in self.owned.values() {
            owned.add_to(&mut transaction);
        }
        if transaction.inputs.is_empty() {
            return Ok(true);
        }
        match self.consumer.commit(transaction).await {
            Ok(appended) => {
                self.abort_pause = RETRY_PAUSE;
                self.goes_on(&appended)?;
                self.apply().await?;
                self.start_snapshot()?;
                self.report();
                Ok(true)
            }
            Err(CommitError::Aborted(reason)) => {
                self.start_over(&reason);
                tokio::time::sleep(self.abort_pause).await;
                self.abort_pause = (self.abort_pause * 2).min(RETRY_PAUSE_MAX);
                Ok(false)
            }
            Err(CommitError::Fenced { partitions, reason }) => {
                tracing::warn!(?partitions, reason, "partitions belong to another member by now");
                for partition in partitions {
                    self.drop_partition(partition);
                }
                self.start_over(&reason);
                if self.owned.is_empty() {
                    // The group may believe still that we have them: only joining anew makes it say what we have.
                    return Err(Interrupt::Again(format!("all partitions belong to another member by now: {reason}")));
                }
                Ok(false)
            }
        }
    }

    /// Offsets of a topic only rise; of one that was made anew, they begin again.
    fn goes_on(&mut self, appended: &[Appended]) -> Result<(), Interrupt> {
        for Appended { partition, offset, .. } in appended {
            let before = self.put.insert(*partition, *offset);
            if let Some(before) = before.filter(|before| offset <= before) {
                let (log_id, partition, offset) = (self.services.log.id().to_owned(), *partition, *offset);
                let anew = Contradiction::OutcomesAnew { log_id, partition, offset, before };
                return Err(RecoverError::Stop(anew).into());
            }
        }
        Ok(())
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
        let store = self.ground.store.clone();
        off_thread(move || {
            for (partition, Applied { changes, swept, .. }) in applied {
                store.commit(partition, changes, swept)?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }
}
