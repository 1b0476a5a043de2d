//! Snapshots: a partition's state in the object store, so that it outlives its machine.
//!
//! A snapshot is what the local store holds of a partition at one committed position, cut into parts, and a list that names
//! them ([`Listing`]). Parts are put first and are named by their content; the list is put last, under a key that says
//! position, state version and log time. So a snapshot is there whole or not at all, and whoever puts one again (a zombie, a
//! retry) changes nothing.
//!
//! The events seen in an hour of log time do not change once log time has left the hour: their parts are put once, and named
//! by every later snapshot until the hour is forgotten. Everything else is in each snapshot anew.
//!
//! - [`take`] makes one; it reads the local store as it was at one moment, and never stops the fold.
//! - [`restore`] puts the newest usable one back into the local store.
//! - [`prune`] removes those that are not kept, and never what a kept one names.

mod listing;
mod part;
mod prune;
mod restore;
mod shelf;
mod take;

#[cfg(test)]
mod tests;

pub(crate) use listing::Damaged;
pub(crate) use prune::prune;
pub(crate) use restore::{Restored, restore};
pub(crate) use shelf::Shelf;
pub(crate) use take::take;

use crate::store::StoreError;

/// Why a snapshot was not taken, or not put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The object store does not do its work now.
    #[error("the object store: {0}")]
    ObjectStore(#[from] object_store::Error),
    /// The local store does not.
    #[error(transparent)]
    Local(#[from] StoreError),
    /// The snapshot is of no use; an older one may be.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The bucket holds a snapshot of another log where this log's are: a person must look.
    #[error("snapshot {key} belongs to log {stored}, but the log here is {here}")]
    OtherLog { key: String, stored: String, here: String },
}
