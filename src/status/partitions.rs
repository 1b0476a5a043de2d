//! How far each partition is folded and sealed.

use futures::{StreamExt, stream};
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_eventlog::{Log, Topic};
use millrace_processor::last_committed;
use millrace_schemas::topics;
use serde::{Deserialize, Serialize};

use super::Running;
use super::log::Extents;
use super::visible::Look;
use crate::limits::STATUS_READS_AT_ONCE;

/// A partition's way through the house.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PartitionStatus {
    pub(crate) partition: u32,
    /// The end of the raw partition.
    pub(crate) raw_end: u64,
    /// Records up to here are in the processor's state.
    pub(crate) folded: u64,
    /// Conversions that wait for their grace to pass; absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<usize>,
    pub(crate) log_time_ms: i64,
    /// No earlier row follows in the enriched topic.
    pub(crate) watermark_ms: i64,
    /// The end of the enriched partition.
    pub(crate) enriched_end: u64,
    /// Records up to here are sealed.
    pub(crate) sealed: u64,
    pub(crate) sealed_watermark_ms: i64,
    /// The version of the settings in force.
    pub(crate) settings_version: u64,
}

/// What the running process knows. Nothing while nothing runs.
pub(super) fn of_process(log: &EmbeddedLog, running: Option<&Running>) -> Vec<PartitionStatus> {
    let Some(running) = running else { return Vec::new() };
    let facts = log.facts();
    let end = |name, number| {
        let found = facts.partitions.iter().find(|facts| facts.topic == Topic(name) && facts.partition == number);
        found.map_or(0, |facts| facts.end)
    };
    let sealed = running.exporter.snapshot().partitions;
    let status = |(partition, processed): (u32, millrace_processor::PartitionProgress)| {
        let sealed = sealed.get(&partition).copied().unwrap_or_default();
        PartitionStatus {
            partition,
            raw_end: end(topics::RAW, partition),
            folded: processed.folded,
            held: Some(processed.held),
            log_time_ms: processed.log_time_ms,
            watermark_ms: processed.watermark_ms,
            enriched_end: end(topics::ENRICHED, partition),
            sealed: sealed.position,
            sealed_watermark_ms: sealed.watermark_ms,
            settings_version: processed.settings_version,
        }
    };
    running.processor.partitions().into_iter().map(status).collect()
}

/// What log and store say, whoever owns the partitions: the last watermark record, and the newest segment. Partitions that
/// cannot be told in time are left out.
pub(super) async fn of_cluster(log: &dyn Log, extents: &Extents, look: &Look) -> Vec<PartitionStatus> {
    let status = |partition: u32| async move {
        let watermark = match tokio::time::timeout_at(look.until(), last_committed(log, partition)).await {
            Ok(Ok(watermark)) => watermark.unwrap_or_default(),
            Ok(Err(reason)) => {
                tracing::warn!(partition, reason, "how far it is folded cannot be told");
                return None;
            }
            Err(_) => return None,
        };
        let sealed = look.sealed(partition)?;
        Some(PartitionStatus {
            partition,
            raw_end: extents.get(&(Topic(topics::RAW), partition))?.end,
            folded: watermark.folded,
            held: None,
            log_time_ms: watermark.log_time_ms,
            watermark_ms: watermark.watermark_ms,
            enriched_end: extents.get(&(Topic(topics::ENRICHED), partition))?.end,
            sealed: sealed.position,
            sealed_watermark_ms: sealed.watermark_ms,
            settings_version: watermark.settings_version,
        })
    };
    let all = stream::iter(0..log.partitions(Topic(topics::RAW)));
    let told: Vec<_> = all.map(status).buffered(STATUS_READS_AT_ONCE).collect().await;
    told.into_iter().flatten().collect()
}
