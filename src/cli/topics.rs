//! `millrace topics`: makes the log of a cluster, or says how it is.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use millrace_clock::SystemClock;
use millrace_eventlog::Log;
use millrace_eventlog_kafka::topics::Described;
use millrace_processor::settings_in_force;
use millrace_schemas::raw::{AttributionMode, AttributionRule, Settings};
use serde_json::{Value, json};

use super::table::table;
use super::{CommandFailure, say};
use crate::cluster::{Wholeness, command_log, finish_log, make_topics, topics_now, whole_log};
use crate::config::{Cluster, Flag, Rules, environment};
use crate::error::StartError;
use crate::settings;

const EXAMPLES: &str = "\
Examples:
  millrace topics --config cluster.toml
  millrace topics --config cluster.toml --check --json
  millrace topics --config try.toml --dev

It makes what is not there (topics, the log's id, the settings every partition begins with), changes nothing that is, and prints how
everything is. Safe to run twice. Partitions are for the log's life; retention and the like can be changed later with Kafka's own
tools. --dev makes one replica of everything: when that broker's disk is lost, so is every event.

Exit codes: 0 all is as it must be; 1 the brokers cannot be reached; 2 the command line or the configuration is wrong; 7 something is
not as it must be (it says what, and how to mend it).";

/// Make the topics of a cluster, or check them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TopicsArgs {
    /// The cluster's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One broker is enough: what it loses is lost
    #[arg(long)]
    dev: bool,
    /// Change nothing, say how everything is
    #[arg(long)]
    check: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl TopicsArgs {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let dev = self.dev.then(|| Flag { name: "--dev", key: "kafka.dev", value: "true".to_owned() });
        let flags: Vec<Flag> = dev.into_iter().collect();
        let environment = environment().map_err(StartError::from)?;
        let config = Cluster::load(self.config.as_deref(), environment, &flags, &["kafka.bootstrap_servers"])
            .map_err(StartError::from)?;
        let topics = match self.check {
            true => topics_now(&config.kafka).await?,
            false => make_topics(&config.kafka, &config.topics).await?,
        };
        let log = command_log(&config.kafka).await?;
        let in_force = self.settings(log.as_ref(), &config.rules).await;
        let id = log.id().to_owned();
        log.close().await;
        let in_force = in_force?;
        match self.json {
            true => say(&format!("{}\n", as_json(&id, &topics, &in_force))),
            false => say(&text(&id, &topics, &in_force, &config)),
        }
        Ok(())
    }

    /// The settings in force of a log that is whole, or is made so.
    async fn settings(&self, log: &dyn Log, rules: &Rules) -> Result<Settings, StartError> {
        if !self.check {
            return finish_log(log, SystemClock::shared().as_ref(), rules).await;
        }
        let unread = |error: &dyn Display| StartError::Other(format!("the log cannot be read: {error}"));
        match whole_log(log).await.map_err(|error| unread(&error))? {
            Wholeness::Whole => settings_in_force(log).await.map_err(|error| unread(&error)),
            Wholeness::NotYet { missing, .. } => {
                Err(StartError::Topics(vec![format!("{missing}: `millrace topics` without --check finishes it")]))
            }
            Wholeness::MadeAnew(reason) => Err(StartError::Topics(vec![reason])),
        }
    }
}

/// What is printed of a topic's settings: the others are the same for all, and right.
const SHOWN: [&str; 3] = ["message.timestamp.type", "min.insync.replicas", "retention.ms"];

fn text(id: &str, topics: &[Described], in_force: &Settings, config: &Cluster) -> String {
    let row = |topic: &Described| {
        let setting = |name: &str| topic.settings.get(name).cloned().unwrap_or_default();
        let [time, in_sync, kept_ms] = SHOWN.map(setting);
        let made = if topic.made_now { "made" } else { "was there" };
        vec![
            topic.topic.clone(),
            topic.partitions.to_string(),
            topic.replication.to_string(),
            in_sync,
            time,
            kept(&kept_ms),
            made.to_owned(),
        ]
    };
    let headings = ["topic", "partitions", "replicas", "in sync", "time", "kept", ""];
    let mut text = format!("Log {id} on {}\n\n", config.kafka.bootstrap_servers);
    text += &table(&headings, &topics.iter().map(row).collect::<Vec<_>>());
    text += &format!("\nSettings, version {}:\n", in_force.version);
    for (name, value) in settings_shown(in_force) {
        text += &format!("  {name:24}{}\n", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    for (name, in_force, configured) in settings::differences(in_force, &config.rules.settings) {
        text +=
            &format!("The configuration has {name} = {configured}; the log was made with {in_force}, and keeps it.\n");
    }
    if config.kafka.dev {
        text += "\nThis is for trying out (--dev): with one replica, whatever a broker's disk loses is lost, acknowledged or not.\n";
    }
    text
}

fn as_json(id: &str, topics: &[Described], in_force: &Settings) -> Value {
    let topic = |topic: &Described| {
        json!({
            "topic": topic.topic,
            "partitions": topic.partitions,
            "replication": topic.replication,
            "settings": topic.settings,
            "made_now": topic.made_now,
        })
    };
    let settings: serde_json::Map<String, Value> =
        settings_shown(in_force).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    json!({
        "log": id,
        "topics": topics.iter().map(topic).collect::<Vec<_>>(),
        "settings_version": in_force.version,
        "settings": settings,
    })
}

/// By the names they have in a configuration; durations in ms.
fn settings_shown(settings: &Settings) -> [(&'static str, Value); 5] {
    let mode = match settings.attribution_mode() {
        AttributionMode::Join => "join",
        AttributionMode::None => "none",
    };
    let rule = match settings.attribution_rule() {
        AttributionRule::Last => "last",
        AttributionRule::First => "first",
    };
    [
        ("dedupe.window_ms", settings.dedupe_window_ms.into()),
        ("attribution.mode", mode.into()),
        ("attribution.rule", rule.into()),
        ("attribution.window_ms", settings.attribution_window_ms.into()),
        ("attribution.grace_ms", settings.attribution_grace_ms.into()),
    ]
}

fn kept(ms: &str) -> String {
    match ms.parse::<i64>() {
        Ok(ms) if ms < 0 => "for ever".to_owned(),
        Ok(ms) => format!("{:.1} days", ms as f64 / 86_400_000.0),
        Err(_) => ms.to_owned(),
    }
}
