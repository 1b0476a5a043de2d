//! What an operator can set: read once at start, handed down in pieces.
//!
//! One TOML file, then environment variables `MILLRACE__SECTION__KEY` over it, then flags over both. `examples/millrace.toml`
//! holds every key of `millrace run` with its default, `examples/cluster.toml` those of a [`Cluster`]. Unknown keys are
//! mistakes, and all mistakes are told at once.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use millrace_schemas::layout::BUCKET_DEFAULT;
use millrace_telemetry::{LogFormat, check_filter};

mod cluster;
mod defaults;
mod environment;
mod export;
mod flags;
mod kafka;
mod keys;
mod rules;
mod secret;
mod size;
mod span;
mod store;
mod text;
mod topics;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use environment::environment;
pub use flags::Flag;
pub use kafka::Kafka;
pub use rules::Rules;
pub use secret::Secret;
pub use size::Size;
pub use span::Span;
pub use store::Store;
pub use topics::Topics;

use crate::limits::RAW_RETENTION_DEFAULT;
use defaults::{Defaults, ONE_MACHINE};
use environment::Variable;
use keys::Keys;
use text::Text;

/// Everything an operator can set for `millrace run`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The data folder: log, state, store, control socket.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// Where log lines go, and which.
    pub logs: Logs,
    /// How a stop goes.
    pub stop: Stop,
    /// How the log is opened.
    pub log: LogOptions,
    /// What the log's settings are to be.
    pub rules: Rules,
    /// What comes in.
    pub ingest: millrace_ingest::Config,
    /// How long raw records are kept, log time: the source of every rebuild.
    pub raw_retention: Duration,
    /// Ticks.
    pub processor: millrace_processor::Config,
    /// Sealing and publishing.
    pub export: millrace_exporter_write::Config,
    /// Credentials and the gateway. An empty `s3_url` stands for the gateway's own address.
    pub fetch: millrace_exporter_fetch::Config,
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The API: events, credentials, `/livez`, `/readyz`, `/metrics`.
    pub api: SocketAddr,
    /// The S3 gateway.
    pub s3: SocketAddr,
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// Their form.
    pub format: LogFormat,
    /// Which: a level, or levels by module, as in `RUST_LOG`.
    pub filter: String,
}

/// How a stop goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// After SIGTERM or SIGINT it is gone within this time.
    pub deadline: Duration,
}

/// How the embedded log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// What is kept in memory of the newest records, for readers near the end.
    pub tail: Size,
    /// What is checked of the newest records before the log opens.
    pub verify: Size,
    /// An operator has looked: the machine's clock is right. Only a flag sets it: it holds for one start.
    pub confirm_clock: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        let options = millrace_eventlog::embedded::Options::default();
        Self { tail: Size::of(options.tail_bytes), verify: Size { bytes: options.verify_bytes }, confirm_clock: false }
    }
}

/// Every mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {}:\n  {}", counted(.0.len()), .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

fn counted(mistakes: usize) -> String {
    if mistakes == 1 { "a mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

impl Config {
    /// Reads file, environment and flags. Of the environment, variables `MILLRACE__…` alone are looked at.
    ///
    /// # Errors
    /// Every mistake in them, each with where it stands.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let figment = layered(file, environment, flags)?;
        Self::read(figment).map(|(config, _)| config).map_err(ConfigError)
    }

    /// The configuration, and the keys there are.
    fn read(figment: Figment) -> Result<(Self, BTreeSet<&'static str>), Vec<String>> {
        let mut keys = Keys::of(figment)?;
        let rules = Rules::take(&mut keys, &ONE_MACHINE);
        let raw_retention = take_raw_retention(&mut keys, &rules);
        let config = Self {
            raw_retention,
            data: keys.take("data", Text("./millrace-data".into())).0.into(),
            listen: Listen::take(&mut keys),
            logs: Logs::take(&mut keys, &ONE_MACHINE),
            stop: Stop { deadline: keys.take("stop.deadline", Span(Duration::from_secs(10))).0 },
            log: LogOptions::take(&mut keys),
            rules,
            ingest: take_ingest(&mut keys),
            processor: take_processor(&mut keys, &ONE_MACHINE, raw_retention),
            export: export::take(&mut keys, &ONE_MACHINE),
            fetch: take_fetch(&mut keys, BUCKET_DEFAULT),
        };
        Ok((config, keys.finish()?))
    }
}

/// File, environment, flags: what comes later goes over what comes before.
fn layered(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[Flag],
) -> Result<Figment, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        if !path.is_file() {
            return Err(ConfigError(vec![format!("{}: there is no such file (--config)", path.display())]));
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    for variable in environment.into_iter().filter_map(Variable::of) {
        figment = figment.merge(variable);
    }
    for flag in flags {
        figment = figment.merge(flag);
    }
    Ok(figment)
}

impl Listen {
    fn take(keys: &mut Keys) -> Self {
        let mut address = |key, port| {
            let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            keys.parse(key, "an address and port, like 127.0.0.1:8080", default)
        };
        Self { api: address("listen.api", 8080), s3: address("listen.s3", 9000) }
    }
}

impl Logs {
    fn take(keys: &mut Keys, defaults: &Defaults) -> Self {
        let format = keys.take("logs.format", LogFormat::Auto);
        let Text(filter) = keys.take("logs.filter", Text(defaults.log_filter.into()));
        if let Err(wrong) = check_filter(&filter) {
            keys.wrong("logs.filter", &wrong.to_string());
        }
        Self { format, filter }
    }
}

impl LogOptions {
    fn take(keys: &mut Keys) -> Self {
        let default = Self::default();
        Self {
            tail: keys.take("log.tail", default.tail),
            verify: keys.take("log.verify", default.verify),
            confirm_clock: false,
        }
    }
}

fn take_ingest(keys: &mut Keys) -> millrace_ingest::Config {
    let default = millrace_ingest::Config::default();
    millrace_ingest::Config {
        trusted_proxies: keys.take("ingest.trusted_proxies", default.trusted_proxies),
        in_flight_bytes: keys.take("ingest.in_flight", Size::of(default.in_flight_bytes)).in_memory(),
    }
}

fn take_raw_retention(keys: &mut Keys, rules: &Rules) -> Duration {
    let kept = keys.take("raw.retention", Span(RAW_RETENTION_DEFAULT));
    must_hold_windows(keys, "raw.retention", kept, rules);
    kept.0
}

/// State that is made anew is folded from the raw topic: what it has to remember must be there.
fn must_hold_windows(keys: &mut Keys, key: &'static str, kept: Span, rules: &Rules) {
    for (name, window_ms) in [
        ("dedupe.window", rules.settings.dedupe_window_ms),
        ("attribution.window", rules.settings.attribution_window_ms),
    ] {
        let window = Span(Duration::from_millis(window_ms.unsigned_abs()));
        if kept < window {
            keys.wrong(key, &format!("{kept} is shorter than {name} ({window})"));
        }
    }
}

fn take_processor(keys: &mut Keys, defaults: &Defaults, raw_retention: Duration) -> millrace_processor::Config {
    let tick_interval = keys.take("processor.tick_interval", defaults.tick_interval).0;
    millrace_processor::Config { tick_interval, raw_retention }
}

/// `bucket`: its name in addresses, unless set.
fn take_fetch(keys: &mut Keys, bucket: &str) -> millrace_exporter_fetch::Config {
    let default = millrace_exporter_fetch::Config::default();
    let own_address = Text(String::new());
    let config = millrace_exporter_fetch::Config {
        bucket: keys.take("fetch.bucket", Text(bucket.to_owned())).0,
        s3_url: keys.take("fetch.s3_url", own_address).0,
        encryption: keys.take_if_set("fetch.encryption"),
    };
    let s3_url = if config.s3_url.is_empty() { default.s3_url } else { config.s3_url.clone() };
    let whole = millrace_exporter_fetch::Config { s3_url, ..config.clone() };
    keys.also_wrong(whole.mistakes().into_iter().map(|mistake| format!("fetch: {mistake}")));
    config
}
