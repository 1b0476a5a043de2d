//! What an operator can set for a cluster: one file for all roles and for the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use millrace_schemas::layout::BUCKET_DEFAULT;

use super::defaults::CLUSTER;
use super::keys::Keys;
use super::{ConfigError, Flag, Kafka, Listen, Logs, Rules, Secret, Span, Stop, Store, Text, Topics};
use super::{export, layered, must_hold_windows, take_fetch, take_ingest, take_processor};

/// Everything an operator can set for a cluster. `examples/cluster.toml` holds every key with its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Where a role listens.
    pub listen: Listen,
    /// Where log lines go, and which.
    pub logs: Logs,
    /// How a stop goes.
    pub stop: Stop,
    /// How the log's brokers are reached.
    pub kafka: Kafka,
    /// The topics as they are to be made.
    pub topics: Topics,
    /// The bucket.
    pub store: Store,
    /// What the log's settings are to be, when it is made.
    pub rules: Rules,
    /// What comes in.
    pub ingest: millrace_ingest::Config,
    /// Ticks.
    pub processor: millrace_processor::Config,
    /// The folder below which each instance has a folder for the processor's local state.
    pub state: PathBuf,
    /// Sealing and publishing.
    pub export: millrace_exporter_write::Config,
    /// Credentials and the gateway. An empty `s3_url` stands for the gateway's own address.
    pub fetch: millrace_exporter_fetch::Config,
    /// The file of the keys that sign credentials: the same for every `serve`. Empty: none.
    pub server_keys: PathBuf,
}

impl Cluster {
    /// Reads file, environment and flags. Of the environment, variables `MILLRACE__…` are looked at, and those of AWS for the
    /// store. `needed`: keys that must be set for what this process does.
    ///
    /// # Errors
    /// Every mistake in them, each with where it stands.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
        needed: &[&'static str],
    ) -> Result<Self, ConfigError> {
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let aws = environment.iter().filter(|(name, _)| name.starts_with("AWS_"));
        let aws = aws.map(|(name, value)| (name.clone(), Secret::from(value.clone()))).collect();
        let figment = layered(file, environment, flags)?;
        Self::read(figment, aws, needed).map(|(config, _)| config).map_err(ConfigError)
    }

    /// The configuration, and the keys there are.
    pub(super) fn read(
        figment: Figment,
        aws: BTreeMap<String, Secret>,
        needed: &[&'static str],
    ) -> Result<(Self, BTreeSet<&'static str>), Vec<String>> {
        let mut keys = Keys::of(figment)?;
        let store = Store::take(&mut keys, aws);
        // Where there is no bucket, no role hands addresses out.
        let bucket = if store.bucket.is_empty() { BUCKET_DEFAULT } else { &store.bucket };
        let fetch = take_fetch(&mut keys, bucket);
        let rules = Rules::take(&mut keys, &CLUSTER);
        let topics = Topics::take(&mut keys);
        must_hold_windows(&mut keys, "topics.raw_retention", Span(topics.raw_retention), &rules);
        let config = Self {
            listen: Listen::take(&mut keys),
            logs: Logs::take(&mut keys, &CLUSTER),
            stop: Stop { deadline: keys.take("stop.deadline", Span(Duration::from_secs(10))).0 },
            kafka: Kafka::take(&mut keys),
            store,
            rules,
            ingest: take_ingest(&mut keys),
            processor: take_processor(&mut keys, &CLUSTER, topics.raw_retention),
            topics,
            state: keys.take("processor.state", Text("./millrace-state".into())).0.into(),
            export: export::take(&mut keys, &CLUSTER),
            fetch,
            server_keys: keys.take("serve.server_keys", Text(String::new())).0.into(),
        };
        keys.need(needed);
        Ok((config, keys.finish()?))
    }
}
