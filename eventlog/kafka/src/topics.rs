//! Making the topics of a log, and saying what they are.
//!
//! A log is made whole or not at all. Its topics come first, all empty; last comes one record in a topic of its own
//! (`millrace.log`), with the log's id and the partition counts. From then on the topics belong to that log: one that is missing, or has another count,
//! was deleted or made again, and nothing here heals that. Where the record is missing but topics hold records, somebody deleted it. A creation that was
//! interrupted before the record was written is simply finished: nothing was lost, since no role starts without the record.

use std::collections::BTreeMap;

use millrace_eventlog::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::check;
use crate::cluster::{Cluster, Found, Unanswered};
use crate::config;
use crate::context::Quiet;
use crate::identity::{self, Identity, OfTopic};
use crate::limits::{BATCH_BYTES_MAX, OPEN_TIMEOUT, REPLICATION_MIN, RETRY_PAUSE};
use crate::options::{OpenError, Options};
use crate::reader::Place;

/// The topic that holds the log's identity; not one of [`millrace_eventlog::Log`]'s.
pub const LOG_TOPIC: &str = "millrace.log";

/// A topic as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// The topic.
    pub topic: Topic,
    /// How many partitions it has, for the log's life.
    pub partitions: u32,
    /// How long records are kept, in ms; `None` is for ever, and then every role insists on it.
    pub retention_ms: Option<i64>,
    /// Whether records have the broker's time, not the sender's.
    pub append_time: bool,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name on the cluster, the prefix included.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many replicas its records have.
    pub replication: u16,
    /// Its settings, as far as they matter to Millrace.
    pub settings: BTreeMap<String, String>,
    /// Whether this call made it.
    pub made_now: bool,
}

/// Makes the log on the cluster, or finds that it is there. Doing it twice changes nothing; two at once make one log.
///
/// # Errors
/// [`OpenError`] by what an operator does next. [`OpenError::Topics`] for wrong settings, also of topics that were made before.
pub async fn create(
    options: &Options,
    wanted: &[TopicSettings],
    replication: u16,
) -> Result<Vec<Described>, OpenError> {
    let cluster = Cluster::open(options, &replication_mistakes(options, replication)).await?;
    let log_topic = log_topic(options);
    let found = cluster.found().await?;
    let recorded = match found.contains_key(&log_topic) {
        true => identity::read(options, &cluster, &log_topic).await?,
        false => None,
    };
    let mut made = Vec::new();
    if recorded.is_none() {
        for wanted in wanted {
            if let Some(topic) = found.get(&named(options, wanted.topic)) {
                must_be_unused(&cluster, topic, wanted, &log_topic).await?;
            }
        }
        made = make(options, &cluster, wanted, replication, &found).await?;
        let identity = Identity::new(uuid::Uuid::new_v4().to_string(), wanted);
        identity::write(options, &log_topic, &identity).await?;
    }
    // The first record counts, whoever wrote it.
    let identity = identity::read(options, &cluster, &log_topic).await?;
    let identity =
        identity.ok_or_else(|| OpenError::NotWhole(format!("{log_topic} does not hold what was written to it")))?;
    let found = cluster.found().await?;
    let wrong = identity.differences(wanted).chain(identity.missing(options, &found)).collect::<Vec<_>>();
    if !wrong.is_empty() {
        return Err(OpenError::NotWhole(wrong.join("; ")));
    }
    let mut described = describe_found(options, &identity.all(), &found).await?;
    for topic in &mut described {
        topic.made_now = made.contains(&topic.topic);
    }
    Ok(described)
}

/// The topics of the log as they are, the one with its identity included.
///
/// # Errors
/// [`OpenError`], where there is no log, or not a whole one, or a topic's settings are wrong.
pub async fn describe(options: &Options) -> Result<Vec<Described>, OpenError> {
    let cluster = Cluster::open(options, &[]).await?;
    let (identity, found) = identify(options, &cluster).await?;
    describe_found(options, &identity.all(), &found).await
}

/// The log's identity, and the topics on the cluster, all of the log's among them with the right counts.
pub(crate) async fn identify(
    options: &Options,
    cluster: &Cluster,
) -> Result<(Identity, BTreeMap<String, Found>), OpenError> {
    let log_topic = log_topic(options);
    let found = cluster.found().await?;
    if !found.contains_key(&log_topic) {
        return Err(OpenError::NoLog);
    }
    let identity = identity::read(options, cluster, &log_topic).await?.ok_or(OpenError::NoLog)?;
    let wrong = identity.missing(options, &found).collect::<Vec<_>>();
    if wrong.is_empty() { Ok((identity, found)) } else { Err(OpenError::NotWhole(wrong.join("; "))) }
}

/// Describes these topics; their settings must be right.
pub(crate) async fn describe_found(
    options: &Options,
    topics: &[OfTopic],
    found: &BTreeMap<String, Found>,
) -> Result<Vec<Described>, OpenError> {
    let admin: AdminClient<Quiet> = config::admin(options).create_with_context(Quiet).map_err(unusable)?;
    let names: Vec<_> = topics.iter().map(|topic| format!("{}{}", options.prefix, topic.name)).collect();
    let settings = check::settings(&admin, &names).await?;
    let (mut described, mut findings) = (Vec::new(), Vec::new());
    for ((topic, name), settings) in topics.iter().zip(names).zip(settings) {
        let Some(found) = found.get(&name) else { continue };
        let one = Described {
            partitions: found.partitions,
            replication: found.replication,
            settings,
            made_now: false,
            topic: name,
        };
        findings.extend(check::findings(topic, &one, options));
        described.push(one);
    }
    if findings.is_empty() { Ok(described) } else { Err(OpenError::Topics(findings)) }
}

/// A topic's name on the cluster.
pub(crate) fn named(options: &Options, topic: Topic) -> String {
    format!("{}{topic}", options.prefix)
}

pub(crate) fn log_topic(options: &Options) -> String {
    format!("{}{LOG_TOPIC}", options.prefix)
}

fn replication_mistakes(options: &Options, replication: u16) -> Vec<String> {
    match replication {
        0 => vec!["replication 0: at least one replica must hold a record".to_owned()],
        few if few < REPLICATION_MIN && !options.dev => vec![format!(
            "replication {few}: fewer than {REPLICATION_MIN} replicas lose what was acknowledged; for trying out only, --dev allows it"
        )],
        _ => Vec::new(),
    }
}

/// A topic that is there before the log is may only be left over from a creation that was interrupted.
async fn must_be_unused(
    cluster: &Cluster,
    topic: &Found,
    wanted: &TopicSettings,
    log_topic: &str,
) -> Result<(), OpenError> {
    if topic.partitions != wanted.partitions {
        return Err(OpenError::NotWhole(format!(
            "{} is there already, with {} partitions instead of {}, and belongs to no log: delete it",
            topic.name, topic.partitions, wanted.partitions
        )));
    }
    let places: Vec<_> =
        (0..topic.partitions).map(|partition| Place { topic: topic.name.as_str().into(), partition }).collect();
    let ends = cluster.ask(move |cluster| cluster.ends(&places)).await.map_err(unanswered)?;
    if ends.iter().all(|end| *end == 0) {
        return Ok(());
    }
    let name = &topic.name;
    Err(OpenError::NotWhole(format!(
        "{name} holds records, but {log_topic} does not say of which log: that topic was deleted. Restore it, or, to begin \
         a new log, delete {name} and all other topics of the old one"
    )))
}

/// Makes the topics that are not there, and waits until all are ready.
async fn make(
    options: &Options,
    cluster: &Cluster,
    wanted: &[TopicSettings],
    replication: u16,
    found: &BTreeMap<String, Found>,
) -> Result<Vec<String>, OpenError> {
    let admin: AdminClient<Quiet> = config::admin(options).create_with_context(Quiet).map_err(unusable)?;
    let batch_bytes = BATCH_BYTES_MAX.to_string();
    // With fewer replicas, nothing may wait for a second one.
    let min_in_sync = if replication < REPLICATION_MIN { "1" } else { "2" };
    let all = Identity::new(String::new(), wanted).all();
    let texts: Vec<_> = all
        .iter()
        .map(|topic| {
            let name = format!("{}{}", options.prefix, topic.name);
            (name, topic.retention_ms.unwrap_or(-1).to_string(), topic)
        })
        .filter(|(name, ..)| !found.contains_key(name))
        .collect();
    let new: Vec<_> = texts
        .iter()
        .map(|(name, retention_ms, topic)| {
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            NewTopic::new(name, partitions, TopicReplication::Fixed(i32::from(replication)))
                .set("cleanup.policy", "delete")
                .set("retention.ms", retention_ms)
                .set("retention.bytes", "-1")
                .set("message.timestamp.type", if topic.append_time { "LogAppendTime" } else { "CreateTime" })
                .set("min.insync.replicas", min_in_sync)
                .set("unclean.leader.election.enable", "false")
                .set("max.message.bytes", &batch_bytes)
                .set("compression.type", "producer")
        })
        .collect();
    let mut made = Vec::new();
    if !new.is_empty() {
        let answers = admin.create_topics(&new, &AdminOptions::new().operation_timeout(Some(OPEN_TIMEOUT))).await;
        for answer in answers.map_err(unusable)? {
            match answer {
                Ok(name) => made.push(name),
                // Somebody else makes the same log right now.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, error)) => {
                    return Err(OpenError::Topics(vec![format!("{name} cannot be made: {error}")]));
                }
            }
        }
    }
    ready(options, cluster, &all).await?;
    Ok(made)
}

async fn ready(options: &Options, cluster: &Cluster, topics: &[OfTopic]) -> Result<(), OpenError> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    loop {
        let found = cluster.found().await?;
        let waiting: Vec<_> = topics
            .iter()
            .map(|topic| (format!("{}{}", options.prefix, topic.name), topic.partitions))
            .filter(|(name, partitions)| {
                !found.get(name).is_some_and(|found| found.led && found.partitions >= *partitions)
            })
            .map(|(name, _)| name)
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(OpenError::Unreachable(format!("{} have no leaders yet", waiting.join(", "))));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Cluster {
    /// A client for a cluster that may be asked, if the options are right.
    pub(crate) async fn open(options: &Options, further_mistakes: &[String]) -> Result<Self, OpenError> {
        let mut mistakes = options.mistakes();
        mistakes.extend_from_slice(further_mistakes);
        if !mistakes.is_empty() {
            return Err(OpenError::Options(mistakes));
        }
        Self::new(options).map_err(unusable)
    }

    /// All topics, by name.
    pub(crate) async fn found(&self) -> Result<BTreeMap<String, Found>, OpenError> {
        let topics = self.ask(|cluster| cluster.topics(OPEN_TIMEOUT)).await;
        let topics = topics.map_err(|error| {
            let heard = self.serve().map(|heard| format!(": {heard}"));
            OpenError::Unreachable(format!("{error}{}", heard.unwrap_or_default()))
        })?;
        Ok(topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect())
    }
}

pub(crate) fn unanswered(error: Unanswered) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// A client that cannot be made, or a request it does not take. What librdkafka says of it may repeat a setting.
pub(crate) fn unusable(error: rdkafka::error::KafkaError) -> OpenError {
    match error {
        rdkafka::error::KafkaError::ClientConfig(_, _, key, _) => {
            OpenError::Options(vec![format!("property {key}: librdkafka does not take this value")])
        }
        error => OpenError::Unreachable(error.to_string()),
    }
}
