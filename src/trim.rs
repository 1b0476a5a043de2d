//! What the embedded log lets go of: records that are old by the log's own time and that nobody reads any more. On Kafka the
//! brokers' retention does this.

use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_eventlog::embedded::{EmbeddedLog, PartitionFacts};
use millrace_eventlog::{Log, Offset};
use millrace_schemas::topics;
use tokio_util::sync::CancellationToken;

use crate::limits::{AUDIT_RETENTION, ENRICHED_RETENTION, TRIM_PAUSE};
use crate::status::Running;

/// Trims the log until it is stopped.
pub(crate) struct Trimming {
    pub(crate) log: Arc<EmbeddedLog>,
    /// How long raw records are kept, log time.
    pub(crate) raw_retention: Duration,
    /// How far processor and exporter are: what they have not dealt with stays.
    pub(crate) running: Arc<Running>,
    pub(crate) clock: SharedClock,
}

impl Trimming {
    /// Looks every hour, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(TRIM_PAUSE) => self.trim().await,
            }
        }
    }

    async fn trim(&self) {
        for facts in self.log.facts().partitions {
            let Some(before) = self.old(&facts).await else { continue };
            let PartitionFacts { topic, partition, start, .. } = facts;
            match self.log.trim(topic, partition, before).await {
                Ok(()) => tracing::info!(%topic, partition, start, before, "trimmed what is older than its retention"),
                Err(error) => tracing::warn!(%topic, partition, %error, "not trimmed: tried again in an hour"),
            }
        }
    }

    /// The position before which everything of a partition may go, if there is anything.
    async fn old(&self, facts: &PartitionFacts) -> Option<Offset> {
        let (keep, needed_from) = self.rule(facts)?;
        let keep_ms = i64::try_from(keep.as_millis()).ok()?;
        let oldest_ms = facts.last_append_ms?.checked_sub(keep_ms)?;
        let position = match self.log.position_at(facts.topic, facts.partition, oldest_ms).await {
            Ok(position) => position?,
            Err(error) => {
                tracing::warn!(topic = %facts.topic, facts.partition, %error, "cannot tell what is old");
                return None;
            }
        };
        let before = position.min(needed_from);
        (before > facts.start).then_some(before)
    }

    /// How long records of a topic are kept, and from where on somebody needs them. `None`: for ever, or nobody knows.
    fn rule(&self, facts: &PartitionFacts) -> Option<(Duration, Offset)> {
        match facts.topic.0 {
            // Recovery reads from `released` on.
            topics::RAW => Some((self.raw_retention, self.running.processor.partition(facts.partition)?.released)),
            // Recovery reads the last watermark record: the newest records of a partition are never old.
            topics::ENRICHED => {
                let sealed = self.running.exporter.snapshot().partitions.get(&facts.partition)?.position;
                Some((ENRICHED_RETENTION, sealed))
            }
            topics::AUDIT => Some((AUDIT_RETENTION, Offset::MAX)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_clock::ManualClock;
    use millrace_eventlog::embedded::Options;
    use millrace_eventlog::{NewRecord, Topic, TopicSpec};

    use super::*;

    const TOPICS: [&str; 3] = [topics::RAW, topics::ACCESS, topics::AUDIT];

    async fn append_everywhere(log: &EmbeddedLog) {
        for name in TOPICS {
            let value = Bytes::from_static(b"v");
            let record = NewRecord { partition: 0, version: 1, key: Bytes::new(), value };
            log.append(Topic(name), vec![record]).await.unwrap();
        }
    }

    async fn start_of(log: &EmbeddedLog, name: &'static str) -> Offset {
        log.extent(Topic(name), 0).await.unwrap().start
    }

    #[tokio::test]
    async fn what_is_old_goes_but_nothing_that_is_needed_or_kept_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1_772_409_000_000);
        let specs = TOPICS.map(|name| TopicSpec { topic: Topic(name), partitions: 1 });
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let log = EmbeddedLog::open(home.path(), &specs, Arc::clone(&shared), Options::default()).unwrap();
        let running = Arc::new(Running::default());
        let trimming =
            Trimming { log: Arc::clone(&log), raw_retention: Duration::from_secs(86_400), running, clock: shared };
        append_everywhere(&log).await;
        let old = log.extent(Topic(topics::AUDIT), 0).await.unwrap().end;
        // Old by the machine's clock, but in the log no time has passed.
        clock.advance(AUDIT_RETENTION + Duration::from_secs(1));
        trimming.trim().await;
        assert_eq!(start_of(&log, topics::AUDIT).await, 0);

        append_everywhere(&log).await;
        trimming.trim().await;
        assert!(start_of(&log, topics::AUDIT).await >= old);
        assert_eq!(start_of(&log, topics::ACCESS).await, 0, "facts are kept for ever");
        assert_eq!(start_of(&log, topics::RAW).await, 0, "the processor has not said that it needs them no more");
        log.close();
    }
}
