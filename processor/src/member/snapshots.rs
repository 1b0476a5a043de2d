//! When snapshots are taken: one at a time, each partition's once per hour of its log time.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_eventlog::Partition;
use millrace_schemas::layout::{SnapshotName, date_of};
use tokio::task::JoinSet;

use crate::limits::SNAPSHOT_RETRY_PAUSE;
use crate::metrics::{SNAPSHOT_TIME, SNAPSHOTS, SNAPSHOTS_FAILED};
use crate::snapshot::{Shelf, SnapshotError, prune, take};
use crate::step::{Head, hour_of};
use crate::store::{StoreError, View};

pub(super) struct Snapshots {
    shelf: Shelf,
    raw_retention: Duration,
    /// The newest snapshot of each owned partition, as far as we know.
    newest: BTreeMap<Partition, SnapshotName>,
    under_way: JoinSet<(Partition, Result<SnapshotName, SnapshotError>)>,
    /// Elapsed time of the clock before which none is tried.
    not_before: Duration,
}

impl Snapshots {
    pub(super) fn new(shelf: Shelf, raw_retention: Duration) -> Self {
        let (newest, under_way) = (BTreeMap::new(), JoinSet::new());
        Self { shelf, raw_retention, newest, under_way, not_before: Duration::ZERO }
    }

    /// Which of these partitions is due; none while a snapshot is under way. The one that waits longest comes first.
    pub(super) fn due<'a>(
        &self,
        heads: impl Iterator<Item = (Partition, &'a Head)>,
        elapsed: Duration,
    ) -> Option<Partition> {
        if !self.under_way.is_empty() || elapsed < self.not_before {
            return None;
        }
        let last = |partition| self.newest.get(&partition).map_or(i64::MIN, |name| hour_of(name.log_time_ms));
        heads
            // Before the settings there is nothing to remember.
            .filter(|(partition, head)| head.settings.version > 0 && hour_of(head.log_time_ms) > last(*partition))
            .map(|(partition, _)| partition)
            .min_by_key(|partition| last(*partition))
    }

    /// Starts one of the state as it is in `view`, which must be that of a committed position.
    pub(super) fn start(&mut self, partition: Partition, view: View) {
        let (shelf, raw_retention) = (self.shelf.clone(), self.raw_retention);
        let before = self.newest.get(&partition).map(|name| date_of(name.log_time_ms));
        self.under_way.spawn(async move {
            let taken = take(&shelf, partition, view).await;
            if let Ok(name) = &taken
                && before != Some(date_of(name.log_time_ms))
            {
                match prune(&shelf, partition, raw_retention).await {
                    Ok(removed) => tracing::debug!(partition, removed, "snapshots pruned"),
                    Err(wrong) => tracing::warn!(partition, %wrong, "snapshots are not pruned before tomorrow"),
                }
            }
            (partition, taken)
        });
    }

    /// Waits for the one under way; for ever if there is none. The fold does not depend on it: what failed is tried again.
    ///
    /// # Errors
    /// The local store has to be opened again first.
    pub(super) async fn finished(&mut self, clock: &dyn millrace_clock::Clock) -> Result<(), StoreError> {
        let Some(ended) = self.under_way.join_next().await else { return std::future::pending().await };
        let wrong = match ended {
            Ok((partition, Ok(name))) => {
                tracing::debug!(partition, snapshot = %name, "a snapshot is there");
                metrics::counter!(SNAPSHOTS).increment(1);
                #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
                metrics::gauge!(SNAPSHOT_TIME, "partition" => partition.to_string())
                    .set(name.log_time_ms as f64 / 1000.0);
                self.newest.insert(partition, name);
                return Ok(());
            }
            Ok((_, Err(SnapshotError::Local(wrong)))) => return Err(wrong),
            Ok((_, Err(wrong))) => wrong.to_string(),
            Err(broken) => broken.to_string(),
        };
        metrics::counter!(SNAPSHOTS_FAILED).increment(1);
        self.not_before = clock.elapsed() + SNAPSHOT_RETRY_PAUSE;
        tracing::warn!(reason = wrong, again_in = ?SNAPSHOT_RETRY_PAUSE, "a snapshot was not taken");
        Ok(())
    }

    /// The partition is not ours any more: another owner takes its snapshots.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.newest.remove(&partition);
    }
}
