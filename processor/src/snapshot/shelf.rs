//! The object store as snapshots use it.
//!
//! Plain calls, tried once: a snapshot that fails is taken again later, and one that cannot be read now is read later. Nor
//! has an answer to be doubted as the exporter's have: what a key holds follows from the key, so whoever won a create put
//! the right bytes, and what a store lost or cut is found out when it is read.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use millrace_eventlog::Partition;
use millrace_schemas::layout::{SnapshotName, SnapshotPart, snapshot_parts_prefix, snapshots_prefix};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::SnapshotError;
use super::listing::{Damaged, Listing};

/// Where the snapshots of one log are.
#[derive(Clone)]
pub(crate) struct Shelf {
    store: Arc<dyn ObjectStore>,
    log_id: Arc<str>,
}

impl Shelf {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, log_id: &str) -> Self {
        Self { store, log_id: log_id.into() }
    }

    pub(super) fn log_id(&self) -> &str {
        &self.log_id
    }

    /// The key of a snapshot, for messages.
    pub(crate) fn key(&self, partition: Partition, name: &SnapshotName) -> String {
        name.key(&self.log_id, partition)
    }

    /// The partition's snapshots of every state version, by position.
    pub(crate) async fn names(&self, partition: Partition) -> Result<Vec<SnapshotName>, Error> {
        let keys = self.list(&snapshots_prefix(&self.log_id, partition)).await?;
        let mut names: Vec<_> = keys.iter().filter_map(|(key, _)| SnapshotName::of_key(key)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All parts of the partition's snapshots: key, which part, size.
    pub(super) async fn parts(&self, partition: Partition) -> Result<Vec<(String, SnapshotPart, u64)>, Error> {
        let keys = self.list(&snapshot_parts_prefix(&self.log_id, partition)).await?;
        Ok(keys
            .into_iter()
            .filter_map(|(key, bytes)| SnapshotPart::of_key(&key).map(|part| (key, part, bytes)))
            .collect())
    }

    pub(super) async fn listing(&self, partition: Partition, name: SnapshotName) -> Result<Listing, SnapshotError> {
        let key = self.key(partition, &name);
        let bytes = self.read(&key).await?;
        Listing::read(&key, &bytes, &self.log_id, partition, name)
    }

    /// The whole object. One that is named and not there is damage: nothing that is named is ever removed.
    pub(super) async fn read(&self, key: &str) -> Result<Bytes, SnapshotError> {
        let path = Path::parse(key).map_err(Error::from)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        read.await.map_err(|error| match error {
            Error::NotFound { .. } => Damaged::new(key, "is not there").into(),
            other => other.into(),
        })
    }

    /// Puts `bytes` under a key unless it holds something.
    pub(super) async fn create(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let path = Path::parse(key).map_err(Error::from)?;
        match self.store.put_opts(&path, bytes.into(), PutOptions::from(PutMode::Create)).await {
            Err(Error::AlreadyExists { .. }) => self.store.head(&path).await.map(drop),
            put => put.map(drop),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = Path::parse(key).map_err(Error::from)?;
        match self.store.delete(&path).await {
            Err(Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        let folder = Path::parse(prefix.trim_end_matches('/')).map_err(Error::from)?;
        let found = self.store.list(Some(&folder));
        found.map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect().await
    }
}
