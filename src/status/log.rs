//! What is in the log.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_eventlog::{Extent, Log, Partition, Topic};
use millrace_schemas::export::instant_text;
use millrace_schemas::topics;
use serde::{Deserialize, Serialize};

use crate::limits::STATUS_READS_AT_ONCE;

const TOPICS: [&str; 4] = [topics::RAW, topics::ENRICHED, topics::ACCESS, topics::AUDIT];

/// What each partition holds, by topic and partition; those that could be asked.
pub(super) type Extents = BTreeMap<(Topic, Partition), Extent>;

/// The log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogStatus {
    /// Its id.
    pub(crate) id: String,
    /// Its topics.
    pub(crate) topics: Vec<TopicStatus>,
    /// Bytes on disk, journals included; absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Bytes free on its file system; absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) free_bytes: Option<u64>,
    /// Why it takes no records at present, or cannot be read, if so.
    pub(crate) trouble: Option<String>,
}

/// A topic of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TopicStatus {
    pub(crate) topic: String,
    pub(crate) partitions: usize,
    /// Records ever appended, ticks, settings and watermarks included. In a cluster: positions taken, the markers of
    /// transactions too.
    pub(crate) records: u64,
    /// When the last one was appended; absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_append: Option<String>,
}

pub(super) fn of_folder(log: &EmbeddedLog) -> LogStatus {
    let facts = log.facts();
    let topics = TOPICS.into_iter().map(|name| {
        let of_topic = || facts.partitions.iter().filter(|partition| partition.topic == Topic(name));
        TopicStatus {
            topic: name.to_owned(),
            partitions: of_topic().count(),
            records: of_topic().map(|partition| partition.records).sum(),
            last_append: of_topic().filter_map(|partition| partition.last_append_ms).max().map(instant_text),
        }
    });
    LogStatus {
        id: log.id().to_owned(),
        topics: topics.collect(),
        bytes: Some(facts.journal_bytes + facts.partitions.iter().map(|partition| partition.bytes).sum::<u64>()),
        free_bytes: Some(facts.free_bytes),
        trouble: facts.trouble,
    }
}

pub(super) async fn of_cluster(log: &dyn Log) -> (LogStatus, Extents) {
    let all = TOPICS.map(Topic).into_iter();
    let all = all.flat_map(|topic| (0..log.partitions(topic)).map(move |number| (topic, number))).collect::<Vec<_>>();
    let ask = |(topic, number): (Topic, Partition)| async move { ((topic, number), log.extent(topic, number).await) };
    let answers: Vec<_> = stream::iter(all).map(ask).buffer_unordered(STATUS_READS_AT_ONCE).collect().await;
    let (mut extents, mut trouble) = (Extents::new(), None);
    for (key, answer) in answers {
        match answer {
            Ok(extent) => {
                extents.insert(key, extent);
            }
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    let topics = TOPICS.into_iter().map(|name| TopicStatus {
        topic: name.to_owned(),
        partitions: log.partitions(Topic(name)) as usize,
        records: extents.iter().filter(|((topic, _), _)| topic.0 == name).map(|(_, extent)| extent.end).sum(),
        last_append: None,
    });
    let topics = topics.collect();
    (LogStatus { id: log.id().to_owned(), topics, bytes: None, free_bytes: None, trouble }, extents)
}
