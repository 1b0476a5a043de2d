//! The log of a cluster: opening it, and making its topics.

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::Topic;
use millrace_eventlog_kafka::topics::{Described, TopicSettings, create, describe};
use millrace_eventlog_kafka::{KafkaLog, OpenError};
use millrace_schemas::topics;

use crate::config::{Kafka, Topics};
use crate::error::StartError;
use crate::host;

/// Every role checks all of them: a log with one wrong topic is a wrong log.
const TOPICS: [Topic; 4] = [Topic(topics::RAW), Topic(topics::ENRICHED), Topic(topics::ACCESS), Topic(topics::AUDIT)];

/// What `millrace topics` is called on the cluster.
const TOPICS_COMMAND: &str = "command-topics";

/// What this process is called: as configured, or host name and role.
pub(super) fn instance(config: &Kafka, role: &str) -> String {
    config.instance.clone().unwrap_or_else(|| format!("{}-{role}", host::name()))
}

/// Opens the log, and checks its topics.
///
/// # Errors
/// The log's.
pub(super) async fn open_log(config: &Kafka, instance: &str) -> Result<Arc<KafkaLog>, OpenError> {
    KafkaLog::open(config.options(instance), &TOPICS).await
}

/// Opens the log for the length of one command. Commands come and go, several at once: each has a name of its own.
///
/// # Errors
/// The log's; it is not waited for.
pub(crate) async fn command_log(config: &Kafka) -> Result<Arc<KafkaLog>, StartError> {
    Ok(open_log(config, &format!("command-{}", std::process::id())).await?)
}

/// Makes the log where it is not there, and says how its topics are.
///
/// # Errors
/// The brokers cannot be reached, or will not.
pub(crate) async fn make_topics(kafka: &Kafka, wanted: &Topics) -> Result<Vec<Described>, StartError> {
    let replication = if kafka.dev { 1 } else { wanted.replication };
    Ok(create(&kafka.options(TOPICS_COMMAND), &settings(wanted), replication).await?)
}

/// Says how the topics are, and changes nothing.
///
/// # Errors
/// The brokers cannot be reached, or the topics are not as they must be.
pub(crate) async fn topics_now(kafka: &Kafka) -> Result<Vec<Described>, StartError> {
    Ok(describe(&kafka.options(TOPICS_COMMAND)).await?)
}

fn settings(wanted: &Topics) -> [TopicSettings; 4] {
    let topic = |name, partitions, retention: Option<Duration>, append_time| TopicSettings {
        topic: Topic(name),
        partitions,
        retention_ms: retention.map(|retention| i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)),
        append_time,
    };
    let many = wanted.partitions;
    [
        topic(topics::RAW, many, Some(wanted.raw_retention), true),
        topic(topics::ENRICHED, many, Some(wanted.enriched_retention), false),
        topic(topics::ACCESS, 1, None, true),
        topic(topics::AUDIT, many, Some(wanted.audit_retention), true),
    ]
}
