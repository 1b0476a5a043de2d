//! Published records: what a shard's owner goes on from.

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::export::{Published, PublishedFile};
use millrace_schemas::layout;

use crate::bucket::{Bucket, damaged, gone};
use crate::error::Error;
use crate::limits;

/// The newest day that any shard of the log has a plan for.
pub(crate) async fn newest_planned(bucket: &Bucket, log_id: &str) -> Result<Option<NaiveDate>, Error> {
    let planned = bucket.folders(&layout::plans_prefix(log_id)).await?;
    Ok(planned.iter().filter_map(|name| name.parse().ok()).max())
}

/// The instant of the shard's newest record; `None` if there is none.
///
/// It is looked for on the newest day that has a plan, then further and further back: most shards are as far as any, and
/// weeks of records need not be listed.
pub(crate) async fn newest(bucket: &Bucket, log_id: &str, shard: u32) -> Result<Option<i64>, Error> {
    let prefix = layout::published_prefix(log_id, shard);
    let mut from_ms = newest_planned(bucket, log_id).await?.map_or(0, layout::start_of);
    let mut back_ms = limits::DAY_MS;
    loop {
        let after = (from_ms > 0).then(|| layout::published_key(log_id, shard, from_ms - 1));
        let keys = bucket.list(&prefix, after.as_deref()).await?;
        if let Some(newest) = keys.iter().rev().find_map(|key| Published::through_of_key(key)) {
            return Ok(Some(newest));
        }
        if from_ms <= 0 {
            return Ok(None);
        }
        (from_ms, back_ms) = (from_ms - back_ms, back_ms * 4);
    }
}

/// One record, which must be there.
pub(crate) async fn read(bucket: &Bucket, key: &str) -> Result<Published, Error> {
    let bytes = bucket.read(key).await?.ok_or_else(|| gone(key))?;
    Published::from_json(&bytes).map_err(|error| damaged(key, &error.to_string()))
}

/// Every file of the slots of `date` that are out, record by record. Two owners may have told of one: it is the same.
pub(crate) async fn each_file_of(
    bucket: &Bucket,
    log_id: &str,
    shard: u32,
    date: NaiveDate,
    mut see: impl FnMut(PublishedFile),
) -> Result<(), Error> {
    let start = layout::start_of(date);
    let after = layout::published_key(log_id, shard, start.max(0));
    let last = layout::published_key(log_id, shard, start + limits::DAY_MS);
    let mut keys = bucket.list(&layout::published_prefix(log_id, shard), Some(&after)).await?;
    keys.retain(|key| *key <= last);
    let read = |key: String| async move { read(bucket, &key).await };
    let mut records = stream::iter(keys).map(read).buffered(limits::READS_AT_ONCE);
    while let Some(record) = records.try_next().await? {
        record.files.into_iter().for_each(&mut see);
    }
    Ok(())
}
