//! What readers of the export can rely on, read from the store alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_clock::SharedClock;
use millrace_eventlog::Partition;
use millrace_schemas::export::{self, Plan, Reached, success_key};
use millrace_schemas::layout::{self, AccountId, ExportType};
use millrace_schemas::{partition, topics};
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, gone};
use crate::error::Error;
use crate::health::Health;
use crate::progress::SealedThrough;
use crate::seal::read_footer;
use crate::{limits, plan, records};

/// What is out of one shard.
#[derive(Debug, Clone)]
pub struct ShardVisible {
    /// Every slot that ends at or before is out, ms.
    pub through_ms: i64,
    plan: Option<Plan>,
    reached: Vec<Reached>,
}

impl ShardVisible {
    /// The instant, ms, up to which everything of the account, which must be one of this shard, is visible; `None` where the
    /// day's plan is needed to tell, and is not there.
    #[must_use]
    pub fn complete_through(&self, account: &AccountId) -> Option<i64> {
        export::complete_through(account.as_str(), self.through_ms, self.plan.as_ref())
    }

    /// How far each partition was sealed when this became visible.
    #[must_use]
    pub fn sealed(&self) -> BTreeMap<Partition, SealedThrough> {
        let through = |reached: &Reached| SealedThrough { position: reached.end, watermark_ms: reached.watermark_ms };
        self.reached.iter().map(|reached| (reached.partition, through(reached))).collect()
    }
}

/// The read side of the export.
pub struct Visible {
    bucket: Bucket,
    log_id: String,
    shards: u32,
}

impl Visible {
    /// `shards`: the partition count of the enriched topic. A store that fails is asked again until `stop`.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        clock: SharedClock,
        stop: CancellationToken,
        log_id: &str,
        shards: u32,
    ) -> Self {
        Self { bucket: Bucket::new(store, Health::new(None, clock, stop)), log_id: log_id.to_owned(), shards }
    }

    /// The instant, ms, up to which everything of the account is visible; `None` if nothing of its shard is out.
    ///
    /// # Errors
    /// Stopped, or an object is damaged.
    pub async fn complete_through(&self, account: &AccountId) -> Result<Option<i64>, Error> {
        let shard = partition::of_account(account.as_str(), self.shards);
        let Some(visible) = self.of_shard(shard).await? else { return Ok(None) };
        visible.complete_through(account).map(Some).ok_or_else(|| {
            let date = export::plan_needed(visible.through_ms).unwrap_or_default();
            gone(&layout::plan_key(&self.log_id, date, shard))
        })
    }

    /// What is out of a shard; `None` if nothing is.
    ///
    /// # Errors
    /// Stopped, or an object is damaged.
    pub async fn of_shard(&self, shard: u32) -> Result<Option<ShardVisible>, Error> {
        let newest = records::newest(&self.bucket, &self.log_id, shard).await?;
        let Some(through_ms) = newest else { return Ok(None) };
        let plan = match export::plan_needed(through_ms) {
            Some(date) => plan::read_key(&self.bucket, &layout::plan_key(&self.log_id, date, shard)).await?,
            None => None,
        };
        let record = records::read(&self.bucket, &layout::published_key(&self.log_id, shard, through_ms)).await?;
        Ok(Some(ShardVisible { through_ms, plan, reached: record.segments }))
    }

    /// How far a partition is sealed, going on from what is known already: nothing, or [`ShardVisible::sealed`].
    ///
    /// # Errors
    /// Stopped, or an object is damaged.
    pub async fn sealed_since(&self, partition: Partition, known: SealedThrough) -> Result<SealedThrough, Error> {
        let key = |start| layout::segment_key(&self.log_id, topics::ENRICHED, partition, start);
        let prefix = layout::segments_prefix(&self.log_id, topics::ENRICHED, partition);
        let before = known.position.checked_sub(1).map(key);
        let keys = self.bucket.list(&prefix, before.as_deref()).await?;
        let Some(newest) = keys.last() else { return Ok(known) };
        let footer = read_footer(&self.bucket, newest).await?.ok_or_else(|| gone(newest))?;
        Ok(SealedThrough { position: footer.end, watermark_ms: footer.watermark_ms.max(known.watermark_ms) })
    }

    /// The days of an account and type that are closed, in order.
    ///
    /// # Errors
    /// Stopped.
    pub async fn closed_days(&self, account: &AccountId, of_type: ExportType) -> Result<Vec<NaiveDate>, Error> {
        let folders = self.bucket.folders(&of_type.prefix(account)).await?;
        let dates = folders.iter().filter_map(|name| name.strip_prefix("date=")?.parse::<NaiveDate>().ok());
        let closed = |date: NaiveDate| async move {
            let key = success_key(account, of_type, date);
            Ok::<_, Error>(self.bucket.exists(&key).await?.then_some(date))
        };
        let dates: Vec<NaiveDate> = dates.collect();
        let found: Vec<Option<NaiveDate>> =
            stream::iter(dates).map(closed).buffered(limits::READS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}
