//! What readers of the export can rely on, read from the store alone.

use std::sync::Arc;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_clock::SharedClock;
use millrace_schemas::export::success_key;
use millrace_schemas::layout::{AccountId, ExportType, date_of};
use millrace_schemas::partition;
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
use crate::error::Error;
use crate::{limits, plan, records};

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
        Self { bucket: Bucket::new(store, clock, stop), log_id: log_id.to_owned(), shards }
    }

    /// The instant, ms, up to which everything of the account is visible; `None` if nothing of its shard is out.
    ///
    /// # Errors
    /// Stopped, or an object is damaged.
    pub async fn complete_through(&self, account: &AccountId) -> Result<Option<i64>, Error> {
        let shard = partition::of_account(account.as_str(), self.shards);
        let planned = self.bucket.folders(&format!("_millrace/plan/{}/", self.log_id)).await?;
        let newest_plan = planned.iter().rev().find_map(|name| name.parse().ok());
        let newest = records::newest(&self.bucket, &self.log_id, shard, newest_plan).await?;
        let Some(through_ms) = newest else { return Ok(None) };
        let plan = plan::read(&self.bucket, &self.log_id, date_of(through_ms), shard).await?;
        Ok(Some(plan.map_or(through_ms, |plan| plan.complete_through_ms(account.as_str(), through_ms))))
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
