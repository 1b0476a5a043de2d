//! What is visible, read from what the write side leaves in the store: published records, plans, closed days.

use chrono::NaiveDate;
use futures::stream::{StreamExt, TryStreamExt};
use millrace_schemas::export::{self, ExportRecordError, Plan, Published};
use millrace_schemas::layout::{self, AccountId, ExportType};
use millrace_schemas::partition;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::limits::{STATUS_DAYS_MAX, STATUS_LATELY, STATUS_LOOKS};
use crate::shelf::is_absent;

/// It cannot be told what is visible.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgressError {
    #[error("reading the store: {0}")]
    Store(#[from] object_store::Error),
    #[error("a plan: {0}")]
    Record(#[from] ExportRecordError),
    #[error("a key of ours is no key: {0}")]
    Key(#[from] object_store::path::Error),
}

/// The instant up to which everything of the account is visible, ms since 1970; `None` before its shard's first record.
///
/// # Errors
/// The store's.
pub(crate) async fn complete_through(
    store: &dyn ObjectStore,
    log_id: &str,
    shards: u32,
    account: &AccountId,
    now_ms: i64,
) -> Result<Option<i64>, ProgressError> {
    let shard = partition::of_account(account.as_str(), shards);
    // Records pile up, so the latest are looked at first.
    let lately = layout::published_key(log_id, shard, (now_ms - STATUS_LATELY.as_millis() as i64).max(0));
    let newest = match newest_published(store, log_id, shard, &lately).await? {
        None => newest_published(store, log_id, shard, &layout::published_prefix(log_id, shard)).await?,
        newest => newest,
    };
    let Some(through_ms) = newest else { return Ok(None) };
    let plan = match export::plan_needed(through_ms) {
        Some(date) => {
            let key = Path::parse(layout::plan_key(log_id, date, shard))?;
            Some(Plan::from_json(&store.get(&key).await?.bytes().await?)?)
        }
        None => None,
    };
    // A plan that is missing is an error of the store's by now.
    Ok(export::complete_through(account.as_str(), through_ms, plan.as_ref()))
}

async fn newest_published(
    store: &dyn ObjectStore,
    log_id: &str,
    shard: u32,
    after: &str,
) -> Result<Option<i64>, ProgressError> {
    let prefix = Path::parse(layout::published_prefix(log_id, shard))?;
    let mut records = store.list_with_offset(Some(&prefix), &Path::parse(after)?);
    let mut newest = None;
    while let Some(record) = records.next().await {
        match record {
            Ok(record) => newest = newest.max(Published::through_of_key(record.location.as_ref())),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(newest)
}

/// The newest closed days of an account and type, oldest first.
///
/// # Errors
/// The store's.
pub(crate) async fn closed_days(
    store: &dyn ObjectStore,
    account: &AccountId,
    export: ExportType,
) -> Result<Vec<NaiveDate>, ProgressError> {
    let folders = match store.list_with_delimiter(Some(&Path::parse(export.prefix(account))?)).await {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        listed => listed?.common_prefixes,
    };
    let day = |folder: &Path| folder.filename()?.strip_prefix("date=")?.parse().ok();
    let mut days: Vec<NaiveDate> = folders.iter().filter_map(day).collect();
    days.sort_unstable();
    days.drain(..days.len().saturating_sub(STATUS_DAYS_MAX));
    let looks = days.into_iter().map(|day| async move {
        let success = format!("{}{}", layout::date_prefix(account, export, day), layout::SUCCESS);
        match store.head(&Path::parse(success)?).await {
            Ok(_) => Ok(Some(day)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(ProgressError::from(error)),
        }
    });
    let closed: Vec<Option<NaiveDate>> = futures::stream::iter(looks).buffered(STATUS_LOOKS).try_collect().await?;
    Ok(closed.into_iter().flatten().collect())
}
