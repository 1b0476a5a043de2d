//! A partition's stored state as it was at one moment, and putting such a state back.
//!
//! The store keeps old versions of what changes for as long as a [`View`] is there: reading one stops no transaction and
//! doubles nothing in memory.

use std::ops::RangeInclusive;

use fjall::{Keyspace, Readable, Snapshot};
use millrace_eventlog::{Offset, Partition};

use super::forgotten::is_remembered;
use super::{PARTITION_BYTES, Store, StoreError, hour_of, key};
use crate::step::{Head, stored_head};

/// A partition's stored state at one moment.
pub(crate) struct View {
    snapshot: Snapshot,
    store: Store,
    prefix: [u8; PARTITION_BYTES],
    head: Vec<u8>,
    read: Head,
}

/// A key without its partition, and a value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

impl Store {
    /// The partition as it is now; `None` if nothing of it is stored.
    pub(crate) fn view(&self, partition: Partition) -> Result<Option<View>, StoreError> {
        self.marking(|| {
            let snapshot = self.db.snapshot();
            let prefix = partition.to_be_bytes();
            let Some(head) = snapshot.get(&self.heads, prefix)? else { return Ok(None) };
            let read = stored_head(&head)?;
            Ok(Some(View { snapshot, store: self.clone(), prefix, head: head.to_vec(), read }))
        })
    }

    /// The position a partition is folded to; `None` if there is nothing that can be read.
    pub(crate) fn folded(&self, partition: Partition) -> Result<Option<Offset>, StoreError> {
        Ok(self.view(partition)?.map(|view| view.read.folded))
    }

    /// Removes all that is stored of a partition.
    pub(crate) fn clear(&self, partition: Partition) -> Result<(), StoreError> {
        self.marking(|| {
            let prefix = partition.to_be_bytes();
            // The head first: without it the rest is never read.
            self.heads.remove(prefix)?;
            self.forgotten.nothing_of(partition);
            for keyspace in [&self.visitors, &self.seen, &self.held, &self.events] {
                for entry in keyspace.prefix(prefix) {
                    keyspace.remove(entry.key()?)?;
                }
            }
            Ok(())
        })
    }

    /// Puts visitors back, by digest. As with all that is put back: nothing counts before [`Store::put_head`].
    pub(crate) fn put_visitors(&self, partition: Partition, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.put(&self.visitors, partition, entries)
    }

    /// Puts held conversions back, by offset.
    pub(crate) fn put_held(&self, partition: Partition, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.put(&self.held, partition, entries)
    }

    /// Puts seen events of an hour back. `place`: which of the hour's portions these are; must be no later position.
    pub(crate) fn put_seen(
        &self,
        partition: Partition,
        hour: u32,
        place: Offset,
        digests: Vec<u8>,
    ) -> Result<(), StoreError> {
        let prefix = partition.to_be_bytes();
        let mut batch = self.db.batch();
        self.add_events(&mut batch, prefix, hour, &digests);
        batch.insert(&self.seen, key(prefix, &[&hour.to_be_bytes(), &place.to_be_bytes()]), digests);
        self.marking(|| Ok(batch.commit()?))
    }

    /// Makes what was put back the partition's state.
    pub(crate) fn put_head(&self, partition: Partition, head: Vec<u8>) -> Result<(), StoreError> {
        self.marking(|| Ok(self.heads.insert(partition.to_be_bytes(), head)?))
    }

    fn put(&self, keyspace: &Keyspace, partition: Partition, entries: Vec<Entry>) -> Result<(), StoreError> {
        let mut batch = self.db.batch();
        for (place, value) in entries {
            batch.insert(keyspace, key(partition.to_be_bytes(), &[&place]), value);
        }
        self.marking(|| Ok(batch.commit()?))
    }
}

impl View {
    /// The numbers, as stored.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        &self.head
    }

    /// The numbers.
    pub(crate) fn head(&self) -> &Head {
        &self.read
    }

    /// Visitors by digest, without those that are forgotten.
    pub(crate) fn visitors(&self) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
        self.entries(&self.store.visitors).filter_map(|entry| {
            let remembered = entry.and_then(|(key, value)| {
                let counts = self.store.marking(|| Ok(is_remembered(&value, &self.read)?))?;
                Ok(counts.then_some((key, value)))
            });
            remembered.transpose()
        })
    }

    /// Held conversions by offset.
    pub(crate) fn held(&self) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
        self.entries(&self.store.held)
    }

    /// Seen events of these hours of log time, in portions, by hour.
    pub(crate) fn seen(
        &self,
        hours: RangeInclusive<u32>,
    ) -> impl Iterator<Item = Result<(u32, Vec<u8>), StoreError>> + '_ {
        let from = key(self.prefix, &[&hours.start().to_be_bytes()]);
        let to = key(self.prefix, &[&hours.end().to_be_bytes(), &Offset::MAX.to_be_bytes()]);
        self.snapshot.range(&self.store.seen, from..=to).map(|entry| {
            let (key, digests) = self.store.marking(|| Ok(entry.into_inner()?))?;
            Ok((hour_of(&key), digests.to_vec()))
        })
    }

    fn entries(&self, keyspace: &Keyspace) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
        self.snapshot.prefix(keyspace, self.prefix).map(|entry| {
            let (key, value) = self.store.marking(|| Ok(entry.into_inner()?))?;
            Ok((key[PARTITION_BYTES..].to_vec(), value.to_vec()))
        })
    }
}
