//! The record that says which log this is.

use std::collections::BTreeMap;

use millrace_eventlog::{NewRecord, Offset};
use rdkafka::producer::FutureProducer;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Found};
use crate::config;
use crate::context::Quiet;
use crate::limits::{OPEN_TIMEOUT, READ_TIMEOUT};
use crate::options::{OpenError, Options};
use crate::reader::{Fault, Place, Reader};
use crate::record::outgoing;
use crate::topics::{LOG_TOPIC, TopicSettings, unanswered, unusable};

/// The form of the record; a later release may know further ones.
const VERSION: u32 = 1;

/// A log: its id and its topics. Written once, as JSON, so that an operator can read it with Kafka's own tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) topics: Vec<OfTopic>,
}

/// What a topic must stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OfTopic {
    /// Without the prefix.
    pub(crate) name: String,
    pub(crate) partitions: u32,
    /// As it was made; an operator may change it, except where it is `null`, which is for ever.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) append_time: bool,
}

impl Identity {
    pub(crate) fn new(id: String, wanted: &[TopicSettings]) -> Self {
        let topics = wanted.iter().map(|wanted| OfTopic {
            name: wanted.topic.to_string(),
            partitions: wanted.partitions,
            retention_ms: wanted.retention_ms,
            append_time: wanted.append_time,
        });
        Self { id, topics: topics.collect() }
    }

    /// Its topics and the one this record is in.
    pub(crate) fn all(&self) -> Vec<OfTopic> {
        let own = OfTopic { name: LOG_TOPIC.into(), partitions: 1, retention_ms: None, append_time: true };
        self.topics.iter().cloned().chain([own]).collect()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&OfTopic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// Where it is not what somebody wants to make.
    pub(crate) fn differences<'a>(&'a self, wanted: &'a [TopicSettings]) -> impl Iterator<Item = String> + 'a {
        wanted.iter().filter_map(|wanted| {
            let name = wanted.topic.0;
            match self.topic(name) {
                None => Some(format!("log {} was made without {name}, and topics cannot be added to a log", self.id)),
                Some(topic) if topic.partitions != wanted.partitions => Some(format!(
                    "log {} was made with {} partitions of {name}, not {}: the count is fixed for a log's life",
                    self.id, topic.partitions, wanted.partitions
                )),
                Some(_) => None,
            }
        })
    }

    /// Its topics that are not on the cluster (any more), or not as they were made.
    pub(crate) fn missing<'a>(
        &'a self,
        options: &'a Options,
        found: &'a BTreeMap<String, Found>,
    ) -> impl Iterator<Item = String> + 'a {
        self.topics.iter().filter_map(|topic| {
            let name = format!("{}{}", options.prefix, topic.name);
            match found.get(&name) {
                None => Some(format!(
                    "{name} is missing although log {} was made with it: it was deleted, and its records are lost. Restore \
                     it, or begin a new log: delete all of its topics and run `millrace topics`",
                    self.id
                )),
                Some(found) if found.partitions != topic.partitions => Some(format!(
                    "{name} has {} partitions, but log {} was made with {}: it was made again or grown, and its records \
                     are not where they belong. Restore it, or begin a new log",
                    found.partitions, self.id, topic.partitions
                )),
                Some(_) => None,
            }
        })
    }
}

/// The identity in the topic `log_topic`, if somebody has written one.
pub(crate) async fn read(options: &Options, cluster: &Cluster, log_topic: &str) -> Result<Option<Identity>, OpenError> {
    let place = Place { topic: log_topic.into(), partition: 0 };
    let asked = place.clone();
    let extent = cluster.ask(move |cluster| cluster.extent(&asked)).await.map_err(unanswered)?;
    if extent.start > 0 {
        return Err(OpenError::NotWhole(format!(
            "{log_topic} begins at offset {}: the log's identity is lost",
            extent.start
        )));
    }
    if extent.end == 0 {
        return Ok(None);
    }
    let options = options.clone();
    let reading = tokio::task::spawn_blocking(move || first(&options, &place, extent.end));
    let value = reading.await.map_err(|error| OpenError::Unreachable(error.to_string()))??;
    let unreadable =
        |reason: String| OpenError::NotWhole(format!("{log_topic} holds no identity at its beginning: {reason}"));
    let record = value.ok_or_else(|| unreadable("it holds no records".into()))?;
    if record.0 != VERSION {
        return Err(unreadable(format!("version {} is unknown to this release, which knows {VERSION}", record.0)));
    }
    serde_json::from_slice(&record.1).map(Some).map_err(|error| unreadable(error.to_string()))
}

fn first(options: &Options, place: &Place, end: Offset) -> Result<Option<(u32, bytes::Bytes)>, OpenError> {
    let mut reader = Reader::new(options).map_err(unusable)?;
    let chunk = reader.read(place, 0, end, 1, READ_TIMEOUT).map_err(|fault| match fault {
        Fault::OutOfRange => OpenError::NotWhole(format!("{} lost its records just now", place.topic)),
        Fault::Failed(reason) => OpenError::Unreachable(reason),
    })?;
    Ok(chunk.records.into_iter().next().map(|record| (record.version, record.value)))
}

/// Writes an identity. Where two are written, the first counts.
pub(crate) async fn write(options: &Options, log_topic: &str, identity: &Identity) -> Result<(), OpenError> {
    let producer: FutureProducer<Quiet> = config::producer(options).create_with_context(Quiet).map_err(unusable)?;
    let value = serde_json::to_vec(identity).map_err(|error| OpenError::NotWhole(error.to_string()))?;
    let record = NewRecord { partition: 0, version: VERSION, key: bytes::Bytes::new(), value: value.into() };
    match producer.send(outgoing(log_topic, &record), OPEN_TIMEOUT).await {
        Ok(_) => Ok(()),
        Err((error, _)) => Err(OpenError::Unreachable(format!("{log_topic} was not written: {error}"))),
    }
}
