//! Where a partition's next segment starts: our own record decides, never the group's offsets. Where the log contradicts it, that
//! is a hard stop.

use std::sync::Arc;

use millrace_eventlog::{Log, Offset, Partition, Topic};
use millrace_schemas::{layout, topics};

use crate::bucket::{Bucket, gone};
use crate::error::Error;
use crate::health::Health;
use crate::records;
use crate::seal::read_footer;
use crate::witness::Witness;

/// Finds beginnings; many at once, since a rebalance hands over many partitions.
#[derive(Clone)]
pub(crate) struct Beginnings {
    pub(crate) bucket: Bucket,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) log_id: String,
    pub(crate) health: Health,
}

impl Beginnings {
    /// The start of the partition's next segment, and the watermark of the newest one.
    pub(crate) async fn of(&self, partition: Partition) -> Result<(Offset, i64), Error> {
        if let Some(key) = self.newest(partition).await? {
            let footer = read_footer(&self.bucket, &key).await?.ok_or_else(|| gone(&key))?;
            Witness { log: self.log.as_ref(), health: &self.health, footer: &footer }.confirm().await?;
            return Ok((footer.end, footer.watermark_ms));
        }
        let extent = || self.log.extent(Topic(topics::ENRICHED), partition);
        let start = self.health.ask_log(extent, Error::Log).await?.start;
        if start == 0 { Ok((0, 0)) } else { Err(Error::Beginning { partition, start }) }
    }

    /// The key of the newest segment. The published record of the shard of that number says where to begin to look, so that
    /// weeks of segments need not be listed.
    async fn newest(&self, partition: Partition) -> Result<Option<String>, Error> {
        let prefix = layout::segments_prefix(&self.log_id, topics::ENRICHED, partition);
        if let Some(from) = self.known(partition).await?.and_then(|from| from.checked_sub(1)) {
            let after = layout::segment_key(&self.log_id, topics::ENRICHED, partition, from);
            if let Some(newest) = self.bucket.list(&prefix, Some(&after)).await?.pop() {
                return Ok(Some(newest));
            }
        }
        Ok(self.bucket.list(&prefix, None).await?.pop())
    }

    /// The start of a segment that is there, near the newest one.
    async fn known(&self, partition: Partition) -> Result<Option<Offset>, Error> {
        let newest = records::newest(&self.bucket, &self.log_id, partition).await?;
        let Some(through_ms) = newest else { return Ok(None) };
        let key = layout::published_key(&self.log_id, partition, through_ms);
        let record = records::read(&self.bucket, &key).await?;
        Ok(record.segments.iter().find(|reached| reached.partition == partition).map(|reached| reached.from))
    }
}
