//! A member of a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::group::{Event, Generation, GroupKey, InFlight, MemberId};
use super::read;
use super::request::{Outputs, Work};
use super::shared::Shared;
use crate::limits::{DELIVERY_BYTES, REVOKED_PATIENCE};
use crate::{Appended, CommitError, Consumer, Delivery, Offset, Partition, ReadError, Topic, Transaction};

/// One member: what it owns, and how far it has been delivered.
pub(super) struct Member {
    shared: Arc<Shared>,
    key: GroupKey,
    id: MemberId,
    wake: Arc<Notify>,
    growth: watch::Receiver<u64>,
    owned: BTreeMap<Partition, Owned>,
    /// Told to the caller as revoked; let go when it asks for the next delivery.
    letting_go: Vec<(Partition, Generation)>,
    /// The partition served last, so that none starves the others.
    served: Partition,
}

struct Owned {
    generation: Generation,
    position: Option<Offset>,
    paused: bool,
    end_said: bool,
}

impl Member {
    pub(super) fn join(shared: Arc<Shared>, group: &str, topic: Topic) -> Self {
        let key = GroupKey { group: group.to_owned(), topic };
        let growth = shared.growth_of(topic);
        let (id, wake) = shared.groups().join(&key, shared.partitions(topic));
        Self { shared, key, id, wake, growth, owned: BTreeMap::new(), letting_go: Vec::new(), served: 0 }
    }

    fn let_go(&mut self) {
        for (partition, generation) in self.letting_go.drain(..) {
            self.shared.groups().release(&self.key, partition, generation);
        }
    }

    fn event(&mut self) -> Option<Delivery> {
        let event = self.shared.groups().event(&self.key, self.id)?;
        Some(match event {
            Event::Assigned(partition, generation) => {
                let owned = Owned { generation, position: None, paused: false, end_said: false };
                self.owned.insert(partition, owned);
                Delivery::Assigned { partition, committed: self.shared.groups().position(&self.key, partition) }
            }
            Event::Revoked(partition, generation) => {
                self.owned.remove(&partition);
                self.letting_go.push((partition, generation));
                Delivery::Revoked { partition }
            }
            Event::Lost(partition) => {
                self.owned.remove(&partition);
                self.letting_go.retain(|(letting_go, _)| *letting_go != partition);
                Delivery::Lost { partition }
            }
        })
    }

    async fn records(&mut self) -> Result<Option<Delivery>, ReadError> {
        let after = self.owned.range(self.served + 1..).chain(self.owned.range(..=self.served));
        let turns: Vec<_> = after
            .filter(|(_, owned)| !owned.paused)
            .filter_map(|(partition, owned)| Some((*partition, owned.position?, owned.end_said)))
            .collect();
        for (partition, from, end_said) in turns {
            let index = self.shared.index(self.key.topic, partition);
            if end_said && self.shared.span(index).end == from {
                continue;
            }
            let chunk = read::read(&self.shared, self.key.topic, partition, from, DELIVERY_BYTES).await?;
            let Some(owned) = self.owned.get_mut(&partition) else { continue };
            owned.position = Some(chunk.next);
            self.served = partition;
            if !chunk.records.is_empty() {
                owned.end_said = false;
                return Ok(Some(Delivery::Records { partition, records: chunk.records, next: chunk.next }));
            }
            owned.end_said = true;
            return Ok(Some(Delivery::End { partition, next: chunk.next }));
        }
        Ok(None)
    }

    fn generation(&self, partition: Partition) -> Option<Generation> {
        let letting_go = self.letting_go.iter().find(|(letting_go, _)| *letting_go == partition);
        letting_go
            .map(|(_, generation)| *generation)
            .or_else(|| self.owned.get(&partition).map(|owned| owned.generation))
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        self.let_go();
        loop {
            if let Some(delivery) = self.event() {
                return Ok(delivery);
            }
            if self.shared.is_closed() {
                return Err(ReadError::Unavailable("the log is closed".into()));
            }
            // Before looking for records: what comes while we look wakes us again.
            self.growth.mark_unchanged();
            if let Some(delivery) = self.records().await? {
                return Ok(delivery);
            }
            let others_wait = self.shared.groups().expire(&self.key, Instant::now());
            tokio::select! {
                () = self.wake.notified() => {}
                _ = self.growth.changed() => {}
                () = tokio::time::sleep(REVOKED_PATIENCE), if others_wait => {}
            }
        }
    }

    fn start(&mut self, partition: Partition, from: Offset) {
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.position = Some(from);
            owned.end_said = false;
        }
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.paused = paused;
        }
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        let Transaction { outputs, inputs } = transaction;
        let partitions: Vec<_> =
            inputs.iter().map(|(partition, _)| (*partition, self.generation(*partition))).collect();
        let aborted = self.shared.take_abort();
        let begun = self.shared.groups().begin_commit(&self.key, self.id, &partitions);
        begun.map_err(|partitions| CommitError::Fenced {
            partitions,
            reason: format!("group {} has given them to somebody else", self.key.group),
        })?;
        let partitions = partitions.into_iter().map(|(partition, _)| partition).collect();
        let in_flight = InFlight { shared: Arc::clone(&self.shared), key: self.key.clone(), partitions };
        let positions = inputs.into_iter().map(|(partition, at)| (self.key.position(partition), at)).collect();
        let work = Work {
            outputs: Outputs::Many(outputs),
            transaction: true,
            aborted,
            positions,
            in_flight: Some(in_flight),
            ..Work::default()
        };
        match self.shared.enqueue(work).await {
            Ok(_) if aborted => Err(CommitError::Aborted("aborted on request".into())),
            Ok(appended) => Ok(appended),
            // `Unknown` only comes from a log that is being closed: nobody will see its outputs before it is opened again,
            // and whoever opens it believes what it finds, not this answer.
            Err(error) => Err(CommitError::Aborted(error.to_string())),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.groups().leave(&self.key, self.id);
    }
}
