//! Seen events by digest: what the fold asks for when memory does not know an event.
//!
//! Nothing removes single entries. What was seen before the floor does not count, and goes whenever the store rewrites the
//! table it is in.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use fjall::config::PartitioningPolicy;
use fjall::{Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};
use millrace_eventlog::Partition;

use super::{PARTITION_BYTES, Store, key};
use crate::step::{Below, DIGEST_BYTES, Digest, SeenHour};

pub(super) const KEYSPACE: &str = "events";

/// For each partition the first hour of log time whose events count. It only rises, and may be behind: then less is freed.
#[derive(Debug, Default)]
pub(super) struct Forgotten(RwLock<BTreeMap<Partition, u32>>);

impl Forgotten {
    /// Events of hours before `hour` do not count any more.
    pub(super) fn before(&self, partition: Partition, hour: u32) {
        let mut floors = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let floor = floors.entry(partition).or_default();
        *floor = hour.max(*floor);
    }
}

/// Tables are read by key, nearly always for keys that are not there: filters in small blocks, so that the cache can be small.
pub(super) fn point_reads(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
}

/// Gives a keyspace, by its name, what filters its compactions.
type Filtering = dyn Fn(&str) -> Option<Arc<dyn Factory>> + Send + Sync;

/// What frees the entries that do not count.
pub(super) fn filters(forgotten: &Arc<Forgotten>) -> Arc<Filtering> {
    let forgotten = Arc::clone(forgotten);
    Arc::new(move |keyspace| {
        (keyspace == KEYSPACE).then(|| Arc::new(Filters(Arc::clone(&forgotten))) as Arc<dyn Factory>)
    })
}

struct Filters(Arc<Forgotten>);

impl Factory for Filters {
    fn name(&self) -> &str {
        "forgotten events"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter(self.0.0.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

struct Filter(BTreeMap<Partition, u32>);

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let partition = item.key().first_chunk().map_or(Partition::MAX, |prefix| Partition::from_be_bytes(*prefix));
        let counts = match (self.0.get(&partition), hour_in(&item.value()?)) {
            (Some(floor), Some(hour)) => hour >= *floor,
            _ => true,
        };
        // An older entry of the same event, which may come to light again, does not count either.
        Ok(if counts { Verdict::Keep } else { Verdict::Destroy })
    }
}

fn hour_in(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

impl Store {
    /// The partition's seen events, for a state to rest on.
    pub(crate) fn below(&self, partition: Partition) -> Arc<dyn Below> {
        Arc::new(Events { keyspace: self.events.clone(), prefix: partition.to_be_bytes() })
    }

    /// How many events are stored, those that do not count any more included.
    #[cfg(test)]
    pub(crate) fn events_stored(&self, partition: Partition) -> usize {
        self.events.prefix(partition.to_be_bytes()).count()
    }

    /// Adds digests, one after the other, as seen in an hour.
    pub(super) fn add_events(
        &self,
        batch: &mut OwnedWriteBatch,
        prefix: [u8; PARTITION_BYTES],
        hour: u32,
        digests: &[u8],
    ) {
        for digest in digests.chunks(DIGEST_BYTES) {
            batch.insert(&self.events, key(prefix, &[digest]), hour.to_be_bytes());
        }
    }
}

struct Events {
    keyspace: Keyspace,
    prefix: [u8; PARTITION_BYTES],
}

impl Below for Events {
    fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String> {
        let found = self.keyspace.get(key(self.prefix, &[&event.0])).map_err(|wrong| wrong.to_string())?;
        Ok(found.and_then(|hour| hour_in(&hour)).map(|hour| SeenHour::new(hour.into())))
    }
}
