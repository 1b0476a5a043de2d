//! Putting a snapshot back into the local store.

use millrace_eventlog::{Offset, Partition};
use millrace_schemas::layout::SnapshotName;

use super::SnapshotError;
use super::listing::{Damaged, Listing, PartEntry};
use super::part::{Contents, unpack};
use super::shelf::Shelf;
use crate::metrics::SNAPSHOTS_SKIPPED;
use crate::recover::off_thread;
use crate::step::{State, stored_head};
use crate::store::{STATE_VERSION, Store};

/// What came of it.
pub(crate) enum Restored {
    /// The state of this snapshot is in the local store, and here.
    From(SnapshotName, Box<State>),
    /// No snapshot is of use; the local store is as it was, unless it held nothing.
    Nothing,
}

/// Puts the newest usable snapshot back that is not beyond `at_most`, and newer than what the local store has (`above`).
/// `names`: what there is, by position.
pub(crate) async fn restore(
    shelf: &Shelf,
    store: &Store,
    partition: Partition,
    names: &[SnapshotName],
    at_most: Offset,
    above: Option<Offset>,
) -> Result<Restored, SnapshotError> {
    let reach = |name: &&SnapshotName| name.folded <= at_most && above.is_none_or(|above| name.folded > above);
    for name in names.iter().rev().filter(reach) {
        match restore_one(shelf, store, partition, *name, above.is_some()).await {
            Ok(state) => return Ok(Restored::From(*name, Box::new(state))),
            Err(SnapshotError::Damaged(wrong)) => {
                ::metrics::counter!(SNAPSHOTS_SKIPPED).increment(1);
                tracing::warn!(partition, %wrong, "a snapshot is of no use: trying the one before");
            }
            Err(wrong) => return Err(wrong),
        }
    }
    Ok(Restored::Nothing)
}

async fn restore_one(
    shelf: &Shelf,
    store: &Store,
    partition: Partition,
    name: SnapshotName,
    store_holds_state: bool,
) -> Result<State, SnapshotError> {
    let key = shelf.key(partition, &name);
    if name.state_version != STATE_VERSION {
        let reason = format!("it is of state version {}, this release reads {STATE_VERSION}", name.state_version);
        return Err(Damaged::new(&key, reason).into());
    }
    let listing = shelf.listing(partition, name).await?;
    stored_head(&listing.head).map_err(|wrong| Damaged::new(&key, wrong.to_string()))?;
    if store_holds_state {
        // What is there is given up only for something whole.
        for part in &listing.parts {
            let key = part.key(&listing);
            let bytes = shelf.read(&key).await?;
            unpack(part, &bytes).map_err(|reason| Damaged::new(&key, reason))?;
        }
    }
    let clearing = store.clone();
    off_thread(move || clearing.clear(partition)).await?;
    for (place, part) in (0..).zip(&listing.parts) {
        put_back(shelf, store, &listing, part, place).await?;
    }
    let (storing, head) = (store.clone(), listing.head);
    let state = off_thread(move || {
        storing.put_head(partition, head)?;
        storing.load(partition)
    });
    match state.await? {
        Some(state) if state.head().folded == name.folded => Ok(state),
        Some(_) => Err(Damaged::new(&key, "its numbers are of another position").into()),
        None => Err(Damaged::new(&key, "it does not decode").into()),
    }
}

/// `place`: its number within the snapshot, which is lower than any position folded later (each portion of seen events was at
/// least one record).
async fn put_back(
    shelf: &Shelf,
    store: &Store,
    listing: &Listing,
    part: &PartEntry,
    place: Offset,
) -> Result<(), SnapshotError> {
    let key = part.key(listing);
    let bytes = shelf.read(&key).await?;
    let (store, partition, part) = (store.clone(), listing.partition, part.clone());
    let putting = off_thread(move || {
        let contents = match unpack(&part, &bytes) {
            Ok(contents) => contents,
            Err(reason) => return Ok(Err(reason)),
        };
        match (contents, part.kind) {
            (Contents::Visitors(entries), _) => store.put_visitors(partition, entries)?,
            (Contents::Held(entries), _) => store.put_held(partition, entries)?,
            (Contents::Seen(digests), super::listing::Kind::Seen(hour)) => {
                store.put_seen(partition, hour, place, digests)?;
            }
            (Contents::Seen(_), _) => return Ok(Err("seen events of no hour".into())),
        }
        Ok(Ok(()))
    });
    putting.await?.map_err(|reason: String| Damaged::new(&key, reason).into())
}
