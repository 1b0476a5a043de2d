//! What a partition begins with.

use crate::{Extent, Log, Partition, ReadError, Record, Topic};

/// The first record of a partition, if it holds any. Positions are not dense: an end above the start proves nothing.
///
/// `extent` is what [`Log::extent`] said of it.
///
/// # Errors
/// The partition cannot be read; [`ReadError::Truncated`] where retention has taken its beginning meanwhile.
pub async fn first_record(
    log: &dyn Log,
    topic: Topic,
    partition: Partition,
    extent: Extent,
) -> Result<Option<Record>, ReadError> {
    let mut from = extent.start;
    while from < extent.end {
        let chunk = log.read(topic, partition, from, 1).await?;
        if let Some(first) = chunk.records.into_iter().next() {
            return Ok(Some(first));
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(None)
}
