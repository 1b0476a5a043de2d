//! Which snapshots are kept: every hour's for some days, then the last of each day for as long as raw is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_eventlog::Partition;
use millrace_schemas::layout::{SnapshotName, SnapshotShelf, date_of};

use super::SnapshotError;
use super::shelf::Shelf;
use crate::limits::SNAPSHOTS_HOURLY;

/// Removes the partition's snapshots that are not kept, and the parts that no kept one names; how many objects.
///
/// Only log time decides, by the newest snapshot there is: a zombie keeps more than the owner, never less. The parts of an
/// hour go once the oldest kept snapshot has forgotten the hour, as all later ones have then.
pub(crate) async fn prune(
    shelf: &Shelf,
    partition: Partition,
    raw_retention: Duration,
) -> Result<usize, SnapshotError> {
    let names = shelf.names(partition).await?;
    let Some(newest) = names.last().copied() else { return Ok(0) };
    let kept = kept(&names, raw_retention);
    let mut removed = 0;
    for name in names.iter().filter(|name| !kept.contains(*name)) {
        shelf.delete(&shelf.key(partition, name)).await?;
        removed += 1;
    }
    let mut first_hours = BTreeMap::new();
    for (key, part, _) in shelf.parts(partition).await? {
        let version = part.state_version;
        let needed = match part.shelf {
            SnapshotShelf::At(folded) => {
                // One that is being taken has no list yet: it is the newest.
                folded >= newest.folded
                    || kept.iter().any(|name| name.folded == folded && name.state_version == version)
            }
            SnapshotShelf::Hour(hour) => {
                let oldest = kept.iter().find(|name| name.state_version == version);
                let first = match first_hours.get(&version) {
                    Some(first) => *first,
                    None => first_hour(shelf, partition, oldest).await?,
                };
                first_hours.insert(version, first);
                hour >= first
            }
        };
        if !needed {
            shelf.delete(&key).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The first hour that the oldest kept snapshot of a state version remembers. One that cannot be read might need every hour.
async fn first_hour(shelf: &Shelf, partition: Partition, oldest: Option<&SnapshotName>) -> Result<u32, SnapshotError> {
    let Some(oldest) = oldest else { return Ok(u32::MAX) };
    match shelf.listing(partition, *oldest).await {
        Ok(listing) => Ok(listing.first_hour),
        Err(SnapshotError::Damaged(wrong)) => {
            tracing::warn!(partition, %wrong, "the oldest snapshot is damaged: what it may need is kept");
            Ok(0)
        }
        Err(wrong) => Err(wrong),
    }
}

/// The snapshots that are kept, of `names` by position.
fn kept(names: &[SnapshotName], raw_retention: Duration) -> BTreeSet<SnapshotName> {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let newest_ms = names.iter().map(|name| name.log_time_ms).max().unwrap_or_default();
    let hourly_from = newest_ms.saturating_sub(ms(SNAPSHOTS_HOURLY));
    let daily_from = newest_ms.saturating_sub(ms(raw_retention));
    let mut last_of_day = BTreeMap::new();
    for name in names {
        last_of_day.insert((name.state_version, date_of(name.log_time_ms)), *name);
    }
    let is_last = |name: &SnapshotName| last_of_day.get(&(name.state_version, date_of(name.log_time_ms))) == Some(name);
    let keep =
        |name: &&SnapshotName| name.log_time_ms >= hourly_from || (name.log_time_ms >= daily_from && is_last(name));
    names.iter().filter(keep).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn name(hour: i64) -> SnapshotName {
        SnapshotName { folded: hour.unsigned_abs() * 10, state_version: 1, log_time_ms: hour * HOUR_MS + 5_000 }
    }

    #[test]
    fn every_hour_of_eight_days_is_kept_then_the_last_of_each_day_and_then_none() {
        let names: Vec<_> = (0..40 * 24).map(name).collect();
        let kept: Vec<i64> = kept(&names, 30 * DAY).into_iter().map(|name| name.log_time_ms / HOUR_MS).collect();
        let newest = 40 * 24 - 1;
        let hourly = newest - 8 * 24..=newest;
        let daily = (0..hourly.start() / 24).map(|day| day * 24 + 23).filter(|hour| newest - hour <= 30 * 24);
        let expected: BTreeSet<i64> = daily.chain(hourly.clone()).collect();
        assert_eq!(kept, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_is_kept_however_old() {
        assert_eq!(kept(&[name(3)], Duration::ZERO).len(), 1);
        assert!(kept(&[], DAY).is_empty());
    }
}
