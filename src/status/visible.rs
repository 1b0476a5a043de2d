//! What the object store shows: asked by shard, many at once, all within one deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use millrace_directory::AccountId;
use millrace_eventlog::{Partition, Topic};
use millrace_exporter_write::SealedThrough;
use millrace_exporter_write::visible::{ShardVisible, Visible};
use millrace_schemas::{partition, topics};
use object_store::ObjectStore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::connect::Ground;
use crate::limits::{STATUS_READS_AT_ONCE, STATUS_STORE_WAIT};

/// One look at the store. What it did not say in time is not known.
pub(super) struct Look {
    shards: u32,
    visible: BTreeMap<u32, ShardVisible>,
    sealed: BTreeMap<Partition, SealedThrough>,
    until: Instant,
    /// Why something is not known.
    pub(super) trouble: Option<String>,
}

impl Look {
    /// Looks at these shards, and where asked for also at how far each partition is sealed.
    pub(super) async fn at(
        ground: &Ground,
        store: &Arc<dyn ObjectStore>,
        wanted: BTreeSet<u32>,
        also_sealed: bool,
    ) -> Self {
        let shards = ground.log.partitions(Topic(topics::ENRICHED));
        // A store that fails is asked again and again, until the deadline or the end of this look.
        let stop = CancellationToken::new();
        let _ended = stop.clone().drop_guard();
        let visible = Visible::new(Arc::clone(store), Arc::clone(&ground.clock), stop, ground.log.id(), shards);
        let until = Instant::now() + STATUS_STORE_WAIT;
        let mut look = Self { shards, visible: BTreeMap::new(), sealed: BTreeMap::new(), until, trouble: None };
        if timeout_at(until, look.ask(&visible, wanted, also_sealed)).await.is_err() {
            look.trouble = Some(format!("it did not tell everything within {} s", STATUS_STORE_WAIT.as_secs()));
        }
        look
    }

    async fn ask(&mut self, visible: &Visible, wanted: BTreeSet<u32>, also_sealed: bool) {
        let of_shard = |shard: u32| async move { (shard, visible.of_shard(shard).await) };
        let mut answers = stream::iter(wanted).map(of_shard).buffer_unordered(STATUS_READS_AT_ONCE);
        while let Some((shard, answer)) = answers.next().await {
            match answer {
                Ok(Some(found)) => {
                    self.visible.insert(shard, found);
                }
                Ok(None) => {}
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        if !also_sealed {
            return;
        }
        // The newest published record knows most segments: only what came since is listed.
        let newest = self.visible.values().max_by_key(|shard| shard.through_ms);
        let known = newest.map(|newest| newest.sealed()).unwrap_or_default();
        let sealed = |number: Partition| {
            let known = known.get(&number).copied().unwrap_or_default();
            async move { (number, visible.sealed_since(number, known).await) }
        };
        let mut answers = stream::iter(0..self.shards).map(sealed).buffer_unordered(STATUS_READS_AT_ONCE);
        while let Some((number, answer)) = answers.next().await {
            match answer {
                Ok(found) => {
                    self.sealed.insert(number, found);
                }
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
    }

    /// The instant up to which everything of the account is visible.
    pub(super) fn complete_through(&self, account: &AccountId) -> Option<i64> {
        let shard = partition::of_account(account.as_str(), self.shards);
        self.visible.get(&shard)?.complete_through(account)
    }

    /// How far a partition is sealed.
    pub(super) fn sealed(&self, number: Partition) -> Option<SealedThrough> {
        self.sealed.get(&number).copied()
    }

    /// When the look ends.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}
