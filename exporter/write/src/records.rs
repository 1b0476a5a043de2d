//! Published records: what a shard's owner goes on from.

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::export::{Published, PublishedFile};
use millrace_schemas::layout;

use crate::bucket::{Bucket, damaged, gone};
use crate::error::Error;
use crate::limits;

/// The instant of the shard's newest record; `None` if there is none.
///
/// `from` is the day of the newest plan: a day is planned only once the one before is out, so the listing stays short.
pub(crate) async fn newest(
    bucket: &Bucket,
    log_id: &str,
    shard: u32,
    from: Option<NaiveDate>,
) -> Result<Option<i64>, Error> {
    let prefix = layout::published_prefix(log_id, shard);
    let after = from.map(|date| layout::published_key(log_id, shard, (layout::start_of(date) - 1).max(0)));
    let mut keys = bucket.list(&prefix, after.as_deref()).await?;
    if keys.is_empty() && after.is_some() {
        keys = bucket.list(&prefix, None).await?;
    }
    Ok(keys.iter().rev().find_map(|key| Published::through_of_key(key)))
}

/// One record, which must be there.
pub(crate) async fn read(bucket: &Bucket, key: &str) -> Result<Published, Error> {
    let bytes = bucket.read(key).await?.ok_or_else(|| gone(key))?;
    Published::from_json(&bytes).map_err(|error| damaged(key, &error.to_string()))
}

/// Every file of the slots of `date` that are out, by key. Two owners may have told of one: it is the same.
pub(crate) async fn files_of(
    bucket: &Bucket,
    log_id: &str,
    shard: u32,
    date: NaiveDate,
) -> Result<Vec<PublishedFile>, Error> {
    let start = layout::start_of(date);
    let after = layout::published_key(log_id, shard, start.max(0));
    let last = layout::published_key(log_id, shard, start + limits::DAY_MS);
    let mut keys = bucket.list(&layout::published_prefix(log_id, shard), Some(&after)).await?;
    keys.retain(|key| *key <= last);
    let read = |key: String| async move { read(bucket, &key).await };
    let records: Vec<Published> = stream::iter(keys).map(read).buffered(limits::READS_AT_ONCE).try_collect().await?;
    let mut files: Vec<PublishedFile> = records.into_iter().flat_map(|record| record.files).collect();
    files.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    files.dedup_by(|one, other| one.key == other.key);
    Ok(files)
}
