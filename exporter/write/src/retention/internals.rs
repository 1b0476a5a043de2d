//! Segments, published records and plans.

use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::export::Published as Record;
use millrace_schemas::{layout, topics};

use super::{Cutoffs, Published, Retention, retained_key, retained_prefix, start_in};
use crate::error::Error;
use crate::limits;
use crate::seal::read_footer;

impl Retention {
    /// Of one log what belongs to one shard: of a log before ours also what belongs to shards that ours has not.
    pub(super) async fn internals(
        &self,
        log_id: &str,
        shard: u32,
        published: &Published,
        cutoffs: &Cutoffs,
    ) -> Result<(), Error> {
        if log_id == self.log_id {
            let needed_from = published.needed_from.get(&shard).copied().unwrap_or_default();
            self.segments(log_id, shard, needed_from, published, cutoffs).await?;
            let through_ms = published.through_ms.get(&shard).copied().unwrap_or_default();
            self.records(log_id, shard, cutoffs.records_ms.min(through_ms - 3 * limits::DAY_MS)).await?;
        } else {
            for other in self.numbers_under(&format!("_millrace/segments/{log_id}/{}/", topics::ENRICHED)).await? {
                if other % self.shard_count == shard {
                    self.segments(log_id, other, u64::MAX, &Published::default(), cutoffs).await?;
                }
            }
            for other in self.numbers_under(&format!("_millrace/published/{log_id}/")).await? {
                if other % self.shard_count == shard {
                    self.records(log_id, other, cutoffs.records_ms).await?;
                }
            }
        }
        self.plans(log_id, shard, cutoffs).await
    }

    async fn numbers_under(&self, prefix: &str) -> Result<Vec<u32>, Error> {
        let names = self.bucket.folders(prefix).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Segments go from the oldest on, up to the first that has to stay, and never the newest.
    async fn segments(
        &self,
        log_id: &str,
        partition: u32,
        needed_from: u64,
        published: &Published,
        cutoffs: &Cutoffs,
    ) -> Result<(), Error> {
        let prefix = layout::segments_prefix(log_id, topics::ENRICHED, partition);
        let mut keys = self.bucket.list(&prefix, None).await?;
        let Some(mut first_kept) = keys.pop().and_then(|newest| start_in(&newest)) else { return Ok(()) };
        let behind = |key: &String| start_in(key).is_some_and(|start| start < needed_from);
        let read = |key: String| async move { Ok::<_, Error>((read_footer(&self.bucket, &key).await?, key)) };
        let mut footers = stream::iter(keys).map(read).buffered(limits::READS_AT_ONCE);
        let mut old = Vec::new();
        while let Some((footer, key)) = footers.try_next().await? {
            // Another owner sweeps too: one that is gone is no reason to stop.
            let Some(footer) = footer else { continue };
            let waited_for = footer.shards.iter().any(|part| published.is_waited_for(part));
            if !behind(&key) || footer.latest_ms() >= cutoffs.segments_ms || waited_for {
                first_kept = footer.start;
                break;
            }
            old.push(key);
        }
        if old.is_empty() {
            return Ok(());
        }
        let retained = retained_key(log_id, partition, first_kept);
        self.bucket.create(&retained, bytes::Bytes::new()).await?;
        self.remove("segments", old).await?;
        let mut older = self.bucket.list(&retained_prefix(log_id, partition), None).await?;
        older.retain(|key| *key < retained);
        self.remove("retained", older).await
    }

    /// Never the newest, whatever its age.
    async fn records(&self, log_id: &str, shard: u32, before_ms: i64) -> Result<(), Error> {
        let mut keys = self.bucket.list(&layout::published_prefix(log_id, shard), None).await?;
        keys.pop();
        keys.retain(|key| Record::through_of_key(key).is_some_and(|through_ms| through_ms < before_ms));
        self.remove("records", keys).await
    }

    /// A plan says under which keys a day's rows stand: it stays as long as they do.
    async fn plans(&self, log_id: &str, shard: u32, cutoffs: &Cutoffs) -> Result<(), Error> {
        let days = self.bucket.folders(&layout::plans_prefix(log_id)).await?;
        let old = days.iter().filter(|day| day.parse().is_ok_and(|date: chrono::NaiveDate| date < cutoffs.first_kept));
        let mut keys = Vec::new();
        for day in old {
            let plans = self.bucket.list(&format!("{}{day}/", layout::plans_prefix(log_id)), None).await?;
            let ours = |key: &String| {
                start_in(key).is_some_and(|number| number % u64::from(self.shard_count) == u64::from(shard))
            };
            keys.extend(plans.into_iter().filter(ours));
        }
        self.remove("plans", keys).await
    }
}
