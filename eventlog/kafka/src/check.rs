//! Whether a topic is set as Millrace's promises need it, and how to mend it where not.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};

use crate::context::Quiet;
use crate::identity::OfTopic;
use crate::limits::{BATCH_BYTES_MAX, IN_SYNC_MIN, OPEN_TIMEOUT, REPLICATION_MIN};
use crate::options::{OpenError, Options};
use crate::topics::{Described, unusable};

/// The settings that matter here.
const KEYS: &[&str] = &[
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
    "unclean.leader.election.enable",
];

/// The settings of topics, in the order of their names.
pub(crate) async fn settings(
    admin: &AdminClient<Quiet>,
    names: &[String],
) -> Result<Vec<BTreeMap<String, String>>, OpenError> {
    let topics: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(OPEN_TIMEOUT));
    let answers = admin.describe_configs(&topics, &options).await.map_err(unusable)?;
    let mut described: Vec<_> = names.iter().map(|_| BTreeMap::new()).collect();
    for answer in answers {
        let resource = answer
            .map_err(|error| OpenError::Unreachable(format!("the settings of a topic cannot be read: {error}")))?;
        let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
        let Some(index) = names.iter().position(|asked| *asked == name) else { continue };
        let entries = resource.entries.into_iter().filter(|entry| KEYS.contains(&entry.name.as_str()));
        described[index] = entries.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect();
    }
    Ok(described)
}

/// What is wrong with a topic: each a sentence that says what is, what must be, and how to mend it.
pub(crate) fn findings(must: &OfTopic, is: &Described, options: &Options) -> Vec<String> {
    let Described { topic, replication, settings, .. } = is;
    // Spaces, which librdkafka takes, would end the word on a command line.
    let servers: String = options.bootstrap_servers.split_whitespace().collect();
    let mut findings = Vec::new();
    let mut expect = |key: &str, right: &dyn Fn(&str) -> bool, must_be: &str, why: &str| {
        let value = settings.get(key).map_or("unknown", String::as_str);
        if !right(value) {
            findings.push(format!(
                "{topic}: {key} is {value} and must be {must_be} ({why}); mend it with kafka-configs.sh \
                 --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic} --add-config \
                 {key}={must_be}"
            ));
        }
    };
    let at_least = |least: i64| move |value: &str| value.parse::<i64>().is_ok_and(|value| value >= least);
    if must.append_time {
        let why = "a row's time is the log's, not a sender's";
        expect("message.timestamp.type", &|value| value == "LogAppendTime", "LogAppendTime", why);
    }
    expect("cleanup.policy", &|value| value == "delete", "delete", "a compacted topic loses records");
    if must.retention_ms.is_none() {
        let why = "this topic is kept for ever: the state of every node is folded from all of it";
        expect("retention.ms", &|value| value == "-1", "-1", why);
        expect("retention.bytes", &|value| value == "-1", "-1", why);
    }
    let largest = BATCH_BYTES_MAX.to_string();
    let why = "our largest record must fit";
    expect("max.message.bytes", &at_least(BATCH_BYTES_MAX as i64), &largest, why);
    let why = "a replica that lags would become leader and lose what was acknowledged";
    expect("unclean.leader.election.enable", &|value| value == "false", "false", why);
    if !options.dev {
        let why = "what was acknowledged must survive a broker; --dev allows less";
        expect("min.insync.replicas", &at_least(IN_SYNC_MIN.into()), &IN_SYNC_MIN.to_string(), why);
        if *replication < REPLICATION_MIN {
            findings.push(format!(
                "{topic}: it has {replication} replicas and must have {REPLICATION_MIN} ({why}); mend it with \
                 kafka-reassign-partitions.sh"
            ));
        }
    }
    findings
}
