//! Questions to the cluster that need no position: metadata, the ends of partitions, offsets by time.
//!
//! One client answers them. Its calls block, so each is made on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Extent, Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::config;
use crate::context::Heard;
use crate::limits::REQUEST_TIMEOUT;
use crate::options::Options;
use crate::reader::Place;
use crate::record::{number, offset};

/// The client for questions.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Arc<BaseConsumer<Heard>>,
    heard: Heard,
}

/// A question that was not answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The brokers know no such topic or partition.
    UnknownTopic,
    /// It may work later.
    Failed(String),
}

impl From<KafkaError> for Unanswered {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => Self::UnknownTopic,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownTopic => f.write_str("the brokers know no such topic or partition"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    /// The fewest replicas any of its partitions has.
    pub(crate) replication: u16,
    /// Whether every partition has a leader.
    pub(crate) led: bool,
}

/// The partitions of a topic.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// How many there are; 0 if the brokers do not know the topic.
    pub(crate) partitions: u32,
    /// Those that have no leader now.
    pub(crate) leaderless: Vec<Partition>,
}

impl Cluster {
    pub(crate) fn new(options: &Options) -> KafkaResult<Self> {
        let heard = Heard::default();
        let client = config::reader(options).create_with_context(heard.clone())?;
        Ok(Self { client: Arc::new(client), heard })
    }

    /// Asks on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self) -> Result<T, Unanswered> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let cluster = self.clone();
        tokio::task::spawn_blocking(move || question(&cluster))
            .await
            .unwrap_or_else(|error| Err(Unanswered::Failed(format!("a question was interrupted: {error}"))))
    }

    /// Start and stable end of a partition.
    pub(crate) fn extent(&self, place: &Place) -> Result<Extent, Unanswered> {
        let (start, end) = self.client.fetch_watermarks(&place.topic, number(place.partition), REQUEST_TIMEOUT)?;
        Ok(Extent { start: offset(start), end: offset(end) })
    }

    /// The stable ends of many partitions at once, in the order asked.
    pub(crate) fn ends(&self, places: &[Place]) -> Result<Vec<Offset>, Unanswered> {
        self.ends_within(places, REQUEST_TIMEOUT)
    }

    /// The same, if they are known soon enough. One partition without a leader keeps all waiting.
    pub(crate) fn ends_within(&self, places: &[Place], patience: Duration) -> Result<Vec<Offset>, Unanswered> {
        let mut list = TopicPartitionList::with_capacity(places.len());
        for place in places {
            list.add_partition_offset(&place.topic, number(place.partition), rdkafka::Offset::End)?;
        }
        let answers = self.client.offsets_for_times(list, patience)?;
        let end = |place: &Place| {
            let answer =
                answers.find_partition(&place.topic, number(place.partition)).ok_or(Unanswered::UnknownTopic)?;
            answer.error()?;
            match answer.offset() {
                rdkafka::Offset::Offset(end) => Ok(offset(end)),
                other => Err(Unanswered::Failed(format!("no end, but {other:?}"))),
            }
        };
        places.iter().map(end).collect()
    }

    /// The first offset whose time is at or after `time_ms`.
    pub(crate) fn offset_at(&self, place: &Place, time_ms: i64) -> Result<Option<Offset>, Unanswered> {
        let mut list = TopicPartitionList::with_capacity(1);
        // Negative times would mean other things to Kafka; no record has one.
        let time = rdkafka::Offset::Offset(time_ms.max(0));
        list.add_partition_offset(&place.topic, number(place.partition), time)?;
        let answers = self.client.offsets_for_times(list, REQUEST_TIMEOUT)?;
        let answer = answers.find_partition(&place.topic, number(place.partition)).ok_or(Unanswered::UnknownTopic)?;
        answer.error()?;
        match answer.offset() {
            rdkafka::Offset::Offset(found) => Ok(Some(offset(found))),
            _ => Ok(None),
        }
    }

    /// All topics of the cluster.
    pub(crate) fn topics(&self, patience: Duration) -> Result<Vec<Found>, Unanswered> {
        let metadata = self.client.fetch_metadata(None, patience)?;
        let found = metadata.topics().iter().map(|topic| {
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            Found {
                name: topic.name().to_owned(),
                partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
                replication: u16::try_from(replicas.unwrap_or_default()).unwrap_or(u16::MAX),
                led: topic.partitions().iter().all(|partition| partition.leader() >= 0),
            }
        });
        Ok(found.collect())
    }

    /// How many partitions a topic has; 0 if the brokers do not know it.
    pub(crate) fn partitions(&self, topic: &str) -> Result<u32, Unanswered> {
        Ok(self.layout(topic, REQUEST_TIMEOUT)?.partitions)
    }

    /// The partitions of a topic.
    pub(crate) fn layout(&self, topic: &str, patience: Duration) -> Result<Layout, Unanswered> {
        let metadata = self.client.fetch_metadata(Some(topic), patience)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(Layout::default());
        };
        let leaderless = found.partitions().iter().filter(|partition| partition.leader() < 0);
        Ok(Layout {
            partitions: u32::try_from(found.partitions().len()).unwrap_or(u32::MAX),
            leaderless: leaderless.filter_map(|partition| Partition::try_from(partition.id()).ok()).collect(),
        })
    }

    /// Serves what the client reports by itself, which would gather otherwise. The last error of it, if there is one.
    pub(crate) fn serve(&self) -> Option<String> {
        for _ in 0..32 {
            // Nothing is assigned, so only reports come.
            let _ = self.client.poll(Duration::ZERO);
        }
        self.heard.take()
    }
}
