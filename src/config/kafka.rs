//! `[kafka]`: how the log's brokers are reached.

use std::collections::BTreeMap;

use figment::value::Value;
use millrace_eventlog_kafka::Options;
use serde::Deserialize;

use super::keys::Keys;
use super::{Secret, Text};

/// How the log's brokers are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// Some of the brokers, `host:port,host:port`.
    pub bootstrap_servers: String,
    /// What this process is called: its own, and the same after a restart. `None`: host name and role.
    pub instance: Option<String>,
    /// Stands before the name of every topic and group, so that several logs may share the brokers.
    pub prefix: String,
    /// One broker is enough, and what it loses is lost.
    pub dev: bool,
    /// Further properties, for librdkafka: TLS and SASL.
    pub properties: BTreeMap<String, Secret>,
}

impl Kafka {
    pub(super) fn take(keys: &mut Keys) -> Self {
        let instance: Option<Text> = keys.take_if_set("kafka.instance");
        let kafka = Self {
            bootstrap_servers: keys.take("kafka.bootstrap_servers", Text(String::new())).0,
            instance: instance.map(|Text(text)| text).filter(|text| !text.is_empty()),
            prefix: keys.take("kafka.prefix", Text(String::new())).0,
            dev: keys.take("kafka.dev", false),
            properties: properties(keys),
        };
        let mut options = kafka.options(kafka.instance.as_deref().unwrap_or("unnamed"));
        if options.bootstrap_servers.is_empty() {
            // Whether they are needed is not decided here.
            options.bootstrap_servers = "unset:0".to_owned();
        }
        keys.also_wrong(options.mistakes().into_iter().map(|mistake| format!("kafka: {mistake}")));
        kafka
    }

    /// These settings, for a process of that name.
    pub(crate) fn options(&self, instance: &str) -> Options {
        let properties = self.properties.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        Options {
            prefix: self.prefix.clone(),
            properties: properties.collect(),
            dev: self.dev,
            ..Options::new(self.bootstrap_servers.clone(), instance)
        }
    }
}

/// `security.protocol = "ssl"` is a section within a section to TOML: the names are put together again.
fn properties(keys: &mut Keys) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    if let Some(value) = keys.take_if_set::<Value>("kafka.properties") {
        if value.as_dict().is_none() {
            keys.wrong("kafka.properties", "is a section, not a value");
            return properties;
        }
        if let Err(name) = flatten(String::new(), &value, &mut properties) {
            keys.wrong("kafka.properties", &format!("{name} is no text, number or truth value"));
        }
    }
    properties
}

fn flatten(name: String, value: &Value, found: &mut BTreeMap<String, Secret>) -> Result<(), String> {
    match value.as_dict() {
        Some(dict) => dict.iter().try_for_each(|(inner, value)| {
            let inside = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
            flatten(inside, value, found)
        }),
        None => {
            let text = Secret::deserialize(value).map_err(|_| name.clone())?;
            found.insert(name, text);
            Ok(())
        }
    }
}
