//! What goes when it is old enough: segments, published records, plans, and whole days of the export. Old by *log* time: a wrong
//! clock deletes nothing.
//!
//! Each owner sweeps for its own shards, once per UTC day of log time. Doing it twice, or two owners at once, changes nothing.
//! What stays whatever its age: the newest segment of a partition (it is the fence), segments that an unpublished slot or an
//! open day needs, the newest published record of a shard, days that are not behind every shard of ours.

mod days;
mod internals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::layout::{self, AccountId, date_of};
use millrace_schemas::topics;
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
use crate::config::Config;
use crate::error::Error;
use crate::sealing::Signals;
use crate::segment::ShardPart;
use crate::{limits, metrics, records};

pub(crate) struct Retention {
    pub(crate) bucket: Bucket,
    pub(crate) log_id: String,
    /// The logs whose bucket this was before.
    pub(crate) older_logs: Vec<String>,
    pub(crate) shard_count: u32,
    pub(crate) config: Config,
    pub(crate) stop: CancellationToken,
    pub(crate) signals: Arc<Signals>,
}

/// What may go, as of one moment of log time.
struct Cutoffs {
    /// Segments with nothing of this log time or later.
    segments_ms: i64,
    /// Published records up to this log time: those of the days before are read when a plan is made.
    records_ms: i64,
    /// Days of the export before this one, and their plans.
    first_kept: NaiveDate,
}

impl Retention {
    /// Runs until stopped.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut watermark = self.signals.watermark.subscribe();
        let mut swept: BTreeMap<u32, NaiveDate> = BTreeMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Error::Stopped),
                changed = watermark.changed() => changed.map_err(|_| Error::Stopped)?,
            }
            let watermark_ms = *watermark.borrow_and_update();
            let today = date_of(watermark_ms);
            let ours = self.signals.assigned.borrow().clone();
            let due: BTreeSet<u32> = ours.into_iter().filter(|shard| swept.get(shard) != Some(&today)).collect();
            if watermark_ms <= 0 || due.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(Error::Stopped),
                done = self.sweep(&due, watermark_ms) => match done {
                    Ok(()) => {}
                    Err(Error::Stopped) => return Err(Error::Stopped),
                    // Old objects that cannot be read are no reason to publish no more.
                    Err(error) => tracing::error!(%error, "retention did not finish: it goes on tomorrow"),
                },
            }
            swept.extend(due.into_iter().map(|shard| (shard, today)));
        }
    }

    /// Removes what is old enough and belongs to these shards.
    async fn sweep(&self, shards: &BTreeSet<u32>, watermark_ms: i64) -> Result<(), Error> {
        let cutoffs = self.cutoffs(watermark_ms);
        let published = self.published().await?;
        self.days(shards, &published, cutoffs.first_kept).await?;
        let logs = self.older_logs.iter().chain([&self.log_id]);
        for log_id in logs {
            let of_log = |shard: &u32| self.internals(log_id, *shard, &published, &cutoffs);
            stream::iter(shards).map(Ok).try_for_each_concurrent(limits::SWEEPS_AT_ONCE, of_log).await?;
        }
        Ok(())
    }

    fn cutoffs(&self, watermark_ms: i64) -> Cutoffs {
        let segments_ms = watermark_ms.saturating_sub(self.config.segments_retention_ms());
        let first_kept = date_of(watermark_ms.saturating_sub(self.config.export_retention_ms()));
        // A plan is made from the files of two days before.
        Cutoffs { segments_ms, records_ms: segments_ms.saturating_sub(3 * limits::DAY_MS), first_kept }
    }

    /// Removes keys, many at once.
    async fn remove(&self, what: &'static str, keys: Vec<String>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        tracing::info!(what, count = keys.len(), first = keys[0], "removing what is old enough");
        let count = keys.len() as u64;
        let remove = |key: String| async move { self.bucket.remove(&key).await };
        stream::iter(keys).map(Ok).try_for_each_concurrent(limits::PUTS_AT_ONCE, remove).await?;
        ::metrics::counter!(metrics::RETIRED, "what" => what).increment(count);
        Ok(())
    }

    /// How far every shard is, ours or not.
    async fn published(&self) -> Result<Published, Error> {
        let read = |shard: u32| async move {
            let Some(through_ms) = records::newest(&self.bucket, &self.log_id, shard).await? else {
                return Ok::<_, Error>((shard, None));
            };
            let key = layout::published_key(&self.log_id, shard, through_ms);
            Ok((shard, Some(records::read(&self.bucket, &key).await?)))
        };
        let reads = stream::iter(0..self.shard_count).map(read).buffered(limits::READS_AT_ONCE);
        let all: Vec<_> = reads.try_collect().await?;
        let mut published = Published::default();
        for (shard, record) in all {
            let Some(record) = record else {
                published.unbegun.insert(shard);
                continue;
            };
            published.through_ms.insert(shard, record.through_ms);
            for reached in record.segments {
                let from = published.needed_from.entry(reached.partition).or_insert(u64::MAX);
                *from = reached.from.min(*from);
            }
        }
        Ok(published)
    }
}

/// How far the shards are.
#[derive(Default)]
struct Published {
    through_ms: BTreeMap<u32, i64>,
    /// By partition: the first segment any of them still needs.
    needed_from: BTreeMap<u32, u64>,
    /// Shards that have published nothing: whatever has rows of them stays.
    unbegun: BTreeSet<u32>,
}

impl Published {
    /// Whether a segment's part is of a shard that has not begun, and will. What is no account's is never published.
    fn is_waited_for(&self, part: &ShardPart) -> bool {
        let accounts = || part.accounts.iter().any(|account| AccountId::parse(&account.account).is_some());
        self.unbegun.contains(&part.shard) && accounts()
    }
}

/// The key that says: segments before `start` may be gone. Made before the first of them goes.
pub(crate) fn retained_key(log_id: &str, partition: u32, start: u64) -> String {
    format!("{}{start:020}", retained_prefix(log_id, partition))
}

fn retained_prefix(log_id: &str, partition: u32) -> String {
    format!("_millrace/retained/{log_id}/{}/{partition:05}/", topics::ENRICHED)
}

/// Where the segments of a partition begin: 0 unless retention has been there.
pub(crate) async fn retained_from(bucket: &Bucket, log_id: &str, partition: u32) -> Result<u64, Error> {
    let keys = bucket.list(&retained_prefix(log_id, partition), None).await?;
    Ok(keys.last().and_then(|key| start_in(key)).unwrap_or_default())
}

/// The start in the key of a segment, or of [`retained_key`].
fn start_in(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// Whole days between: the last day that may go is the one before.
fn day_before(date: NaiveDate) -> NaiveDate {
    date.checked_sub_days(Days::new(1)).unwrap_or(date)
}
