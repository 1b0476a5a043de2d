//! `[topics]`: what `millrace topics` makes.

use std::time::Duration;

use millrace_schemas::topics::PARTITIONS_KAFKA;

use super::Span;
use super::keys::Keys;
use crate::limits::TOPIC_PARTITIONS_MAX;

const DAY: u64 = 86_400;

/// The topics as they are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of raw, enriched and audit: for the log's life.
    pub partitions: u32,
    /// Brokers that hold each record.
    pub replication: u16,
    /// How far back a rebuild can reach.
    pub raw_retention: Duration,
    /// How far the exporter may fall behind.
    pub enriched_retention: Duration,
    /// How long the audit trail is kept.
    pub audit_retention: Duration,
}

impl Topics {
    pub(super) fn take(keys: &mut Keys) -> Self {
        let mut days = |key, days: u64| keys.take(key, Span(Duration::from_secs(days * DAY))).0;
        let (raw_retention, enriched_retention, audit_retention) = (
            days("topics.raw_retention", 100),
            days("topics.enriched_retention", 14),
            days("topics.audit_retention", 400),
        );
        let topics = Self {
            partitions: keys.take("topics.partitions", PARTITIONS_KAFKA),
            replication: keys.take("topics.replication", 3),
            raw_retention,
            enriched_retention,
            audit_retention,
        };
        if !(1..=TOPIC_PARTITIONS_MAX).contains(&topics.partitions) {
            keys.wrong("topics.partitions", &format!("must be from 1 to {TOPIC_PARTITIONS_MAX}"));
        }
        if topics.replication == 0 {
            keys.wrong("topics.replication", "must be at least 1");
        }
        for (key, retention) in
            [("topics.enriched_retention", enriched_retention), ("topics.audit_retention", audit_retention)]
        {
            if retention < Duration::from_secs(DAY) {
                keys.wrong(key, "must be at least a day: a day that is not closed yet is made from it");
            }
        }
        topics
    }
}
