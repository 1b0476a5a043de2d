//! What readers of the export can rely on, read from the store alone.

use std::sync::Arc;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_clock::SharedClock;
use millrace_schemas::export::{self, success_key};
use millrace_schemas::layout::{self, AccountId, ExportType};
use millrace_schemas::partition;
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, gone};
use crate::error::Error;
use crate::health::Health;
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
        Self { bucket: Bucket::new(store, Health::new(None, clock, stop)), log_id: log_id.to_owned(), shards }
    }

    /// The instant, ms, up to which everything of the account is visible; `None` if nothing of its shard is out.
    ///
    /// # Errors
    /// Stopped, or an object is damaged.
    pub async fn complete_through(&self, account: &AccountId) -> Result<Option<i64>, Error> {
        let shard = partition::of_account(account.as_str(), self.shards);
        let newest = records::newest(&self.bucket, &self.log_id, shard).await?;
        let Some(through_ms) = newest else { return Ok(None) };
        let key = export::plan_needed(through_ms).map(|date| layout::plan_key(&self.log_id, date, shard));
        let plan = match &key {
            Some(key) => plan::read_key(&self.bucket, key).await?,
            None => None,
        };
        let complete_ms = export::complete_through(account.as_str(), through_ms, plan.as_ref());
        complete_ms.map(Some).ok_or_else(|| gone(&key.unwrap_or_default()))
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
