//! Recoveries on their way: few at once, one at a time per partition, tried again while the log or the object store is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Committed, Partition};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::limits::{RECOVERIES_AT_ONCE, RETRY_PAUSE, RETRY_PAUSE_MAX};
use crate::recover::{Ground, RecoverError, recover};
use crate::step::State;

type Recovered = Result<State, RecoverError>;

pub(super) struct Recoveries {
    ground: Ground,
    turns: Arc<Semaphore>,
    under_way: BTreeMap<Partition, Recovery>,
    tasks: JoinSet<(Partition, Recovered)>,
}

/// A recovery writes to the store: what happens to its partition meanwhile waits for its end.
struct Recovery {
    committed: Option<Committed>,
    fate: Fate,
    /// The pause before it is tried again, and why it must be.
    again: Option<(Duration, String)>,
}

enum Fate {
    /// Its state will be used.
    Wanted,
    /// The partition went away.
    Unwanted,
    /// The partition went away and came back, with this group position: recover it again.
    Again(Option<Committed>),
}

impl Recoveries {
    pub(super) fn new(ground: Ground) -> Self {
        let turns = Arc::new(Semaphore::new(RECOVERIES_AT_ONCE));
        Self { ground, turns, under_way: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// The partition is ours: its state is wanted.
    pub(super) fn want(&mut self, partition: Partition, committed: Option<Committed>) {
        match self.under_way.get_mut(&partition) {
            Some(recovery) => recovery.fate = Fate::Again(committed),
            None => self.start(partition, committed, None),
        }
    }

    /// The partition is not ours any more.
    pub(super) fn unwant(&mut self, partition: Partition) {
        if let Some(recovery) = self.under_way.get_mut(&partition) {
            recovery.fate = Fate::Unwanted;
        }
    }

    /// The next state that is wanted still; for ever if there is none on its way.
    pub(super) async fn next(&mut self) -> Result<(Partition, Recovered), JoinError> {
        loop {
            let Some(ended) = self.tasks.join_next().await else { return std::future::pending().await };
            let (partition, recovered) = ended?;
            let Some(Recovery { committed, fate, again }) = self.under_way.remove(&partition) else { continue };
            match (fate, recovered) {
                (Fate::Unwanted, _) => {}
                (Fate::Again(committed), _) => self.start(partition, committed, None),
                (Fate::Wanted, Err(RecoverError::Later(reason))) => {
                    let pause = again.map_or(RETRY_PAUSE, |(pause, _)| (pause * 2).min(RETRY_PAUSE_MAX));
                    self.start(partition, committed, Some((pause, reason)));
                }
                (Fate::Wanted, recovered) => return Ok((partition, recovered)),
            }
        }
    }

    /// What is waited for, as a text for operators; `None` if nothing is.
    pub(super) fn waiting(&self) -> Option<String> {
        let count = self.under_way.values().filter(|recovery| !matches!(recovery.fate, Fate::Unwanted)).count();
        let trouble = self.under_way.values().find_map(|recovery| recovery.again.as_ref());
        let trouble = trouble.map(|(_, reason)| format!("; trying again: {reason}")).unwrap_or_default();
        (count > 0).then(|| format!("folding {count} partitions from their last stored state{trouble}"))
    }

    fn start(&mut self, partition: Partition, committed: Option<Committed>, again: Option<(Duration, String)>) {
        let (ground, turns) = (self.ground.clone(), Arc::clone(&self.turns));
        let (position, pause) = (committed.clone(), again.as_ref().map(|(pause, _)| *pause));
        self.tasks.spawn(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            // Never closed.
            let _turn = turns.acquire().await;
            (partition, recover(ground, partition, position).await)
        });
        self.under_way.insert(partition, Recovery { committed, fate: Fate::Wanted, again });
    }
}
