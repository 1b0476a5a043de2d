//! Taking a snapshot of what the local store holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millrace_eventlog::Partition;
use millrace_schemas::layout::{SnapshotName, SnapshotPart, SnapshotShelf};
use tokio::sync::mpsc;

use super::SnapshotError;
use super::listing::{Kind, Listing, PartEntry};
use super::part::{Packed, hours, pack};
use super::shelf::Shelf;
use crate::step::hour_of;
use crate::store::{STATE_VERSION, StoreError, View};

/// Parts by the hour whose events they hold.
type ByHour = HashMap<u32, Vec<PartEntry>>;

/// Puts a snapshot of `view`, unless there is one of the same hour of log time. The snapshot that is there now.
///
/// One part is packed while another is put: that is all the memory it takes.
pub(crate) async fn take(shelf: &Shelf, partition: Partition, view: View) -> Result<SnapshotName, SnapshotError> {
    let head = view.head();
    let name = SnapshotName { folded: head.folded, state_version: STATE_VERSION, log_time_ms: head.log_time_ms.max(0) };
    let names = shelf.names(partition).await?;
    let mut before = names.into_iter().filter(|old| old.state_version == STATE_VERSION && old.folded <= name.folded);
    let before = before.next_back();
    if let Some(before) = before
        && hour_of(before.log_time_ms) == hour_of(name.log_time_ms)
    {
        return Ok(before);
    }
    let known = known_hours(shelf, partition, before).await?;
    let (first_hour, present) = hours(&view);
    let head = view.head_bytes().to_vec();
    let mut parts = put_parts(shelf, partition, view, &known).await?;
    let kept = known.into_iter().filter(|(hour, _)| (first_hour..present).contains(hour));
    parts.extend(kept.flat_map(|(_, parts)| parts));
    let log_id = shelf.log_id().to_owned();
    let listing = Listing { log_id, partition, name, first_hour, head, parts };
    shelf.create(&shelf.key(partition, &name), listing.to_bytes()).await?;
    Ok(name)
}

/// The hours whose parts the snapshot `before` names, and which are all there.
async fn known_hours(
    shelf: &Shelf,
    partition: Partition,
    before: Option<SnapshotName>,
) -> Result<ByHour, SnapshotError> {
    let Some(before) = before else { return Ok(ByHour::new()) };
    let listing = match shelf.listing(partition, before).await {
        Ok(listing) => listing,
        Err(SnapshotError::Damaged(wrong)) => {
            tracing::warn!(%wrong, "a snapshot is damaged: the next one holds everything anew");
            return Ok(ByHour::new());
        }
        Err(wrong) => return Err(wrong),
    };
    let there: HashSet<_> = shelf.parts(partition).await?.into_iter().map(|(key, _, bytes)| (key, bytes)).collect();
    let mut known = ByHour::new();
    let mut lost = HashSet::new();
    for part in &listing.parts {
        if let SnapshotShelf::Hour(hour) = part.shelf {
            if there.contains(&(part.key(&listing), part.bytes)) {
                known.entry(hour).or_default().push(part.clone());
            } else {
                lost.insert(hour);
            }
        }
    }
    // Hours that nobody sent anything in have no part, and need none; but only the listing knows that.
    let complete = listing.first_hour..hour_key_of(&before);
    for hour in complete.filter(|hour| !lost.contains(hour)) {
        known.entry(hour).or_default();
    }
    known.retain(|hour, _| !lost.contains(hour));
    Ok(known)
}

fn hour_key_of(name: &SnapshotName) -> u32 {
    crate::step::hour_key(hour_of(name.log_time_ms))
}

async fn put_parts(
    shelf: &Shelf,
    partition: Partition,
    view: View,
    known: &ByHour,
) -> Result<Vec<PartEntry>, SnapshotError> {
    let known: Arc<HashSet<u32>> = Arc::new(known.keys().copied().collect());
    let (sender, mut packed) = mpsc::channel::<Packed>(1);
    let packing = tokio::task::spawn_blocking(move || {
        // Nobody receives any more where a put failed.
        pack(&view, |hour| known.contains(&hour), |part| sender.blocking_send(part).is_ok())
    });
    let mut parts = Vec::new();
    while let Some(Packed { kind, shelf: place, sha256, bytes }) = packed.recv().await {
        let entry = PartEntry { kind, shelf: place, sha256, bytes: bytes.len() as u64 };
        let part = SnapshotPart { state_version: STATE_VERSION, shelf: entry.shelf, sha256: entry.sha256.clone() };
        shelf.create(&part.key(shelf.log_id(), partition), bytes).await?;
        parts.push(entry);
    }
    let broken = |broken: tokio::task::JoinError| StoreError::from(fjall::Error::Io(std::io::Error::other(broken)));
    packing.await.map_err(broken)??;
    debug_assert!(parts.iter().all(|part| !matches!(part.kind, Kind::Seen(_)) || part.bytes > 0));
    Ok(parts)
}
