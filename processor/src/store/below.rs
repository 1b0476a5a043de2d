//! What the fold asks for when memory does not know it: seen events and visitors, by digest.

use std::sync::Arc;

use fjall::config::PartitioningPolicy;
use fjall::{KeyspaceCreateOptions, OwnedWriteBatch};
use millrace_eventlog::Partition;

use super::{PARTITION_BYTES, Store, hour_in, key};
use crate::step::{Below, DIGEST_BYTES, Digest, SeenHour, Share, Unreadable, Visitor, stored_visitor};

/// Tables are read by key, mostly for keys that are not there: filters in small blocks, so that the cache can be small.
pub(super) fn point_reads(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
}

impl Store {
    /// The partition's seen events and visitors, for a state to rest on.
    pub(crate) fn below(&self, partition: Partition) -> Arc<dyn Below> {
        Arc::new(Stored { store: self.clone(), prefix: partition.to_be_bytes() })
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

struct Stored {
    store: Store,
    prefix: [u8; PARTITION_BYTES],
}

impl Below for Stored {
    fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String> {
        let read = || {
            let Some(value) = self.store.events.get(key(self.prefix, &[&event.0]))? else { return Ok(None) };
            let hour = hour_in(&value).ok_or_else(|| Unreadable::new("an hour that is none"))?;
            Ok(Some(SeenHour::new(hour.into())))
        };
        self.store.marking(read).map_err(|wrong| wrong.to_string())
    }

    fn visitor(&self, visitor: &Digest, share: &mut Share<'_>) -> Result<Option<Visitor>, String> {
        let read = || {
            let found = self.store.visitors.get(key(self.prefix, &[&visitor.0]))?;
            Ok(found.map(|value| stored_visitor(&value, share)).transpose()?)
        };
        self.store.marking(read).map_err(|wrong| wrong.to_string())
    }
}
