//! What an operator says about the cluster, and why a log does not open.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config;
use crate::limits::{APPEND_TIMEOUT, IN_FLIGHT_BYTES, NAME_BYTES_MAX, SESSION_TIMEOUT, TRANSACTION_TIMEOUT};

/// How to reach a cluster, and who we are there.
#[derive(Clone)]
pub struct Options {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// A name that no other process has and that this one has again after a restart. `group.instance.id` is
    /// `{instance}-{n}` for the process's n-th member of a group; `transactional.id` adds prefix and group.
    pub instance: String,
    /// Stands before the name of every topic, group and transaction, so that several logs may share a cluster.
    pub prefix: String,
    /// Settings of librdkafka, passed through: `security.protocol`, `sasl.*`, `ssl.*` and the like. Those that Millrace
    /// sets itself are refused, and so is switching the verification of certificates off.
    pub properties: BTreeMap<String, String>,
    /// One replica is enough. For trying out only: what was acknowledged is lost with its broker.
    pub dev: bool,
    /// What appends may hold in memory together.
    pub in_flight_bytes: usize,
    /// How long an append may take.
    pub append_timeout: Duration,
    /// How long a member of a group may be silent before others get its partitions.
    pub session_timeout: Duration,
    /// How long a transaction may be open before the broker aborts it.
    pub transaction_timeout: Duration,
}

impl Options {
    /// The usual options. See the fields for what `bootstrap_servers` and `instance` are.
    #[must_use]
    pub fn new(bootstrap_servers: impl Into<String>, instance: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            instance: instance.into(),
            prefix: String::new(),
            properties: BTreeMap::new(),
            dev: false,
            in_flight_bytes: IN_FLIGHT_BYTES,
            append_timeout: APPEND_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            transaction_timeout: TRANSACTION_TIMEOUT,
        }
    }

    /// Every mistake in them, as sentences; none of them repeats a property's value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for server in self.bootstrap_servers.split(',') {
            let port = server.rsplit_once(':').filter(|(host, _)| !host.trim().is_empty());
            if port.and_then(|(_, port)| port.trim().parse::<u16>().ok()).is_none() {
                mistakes.push(format!("bootstrap servers: {server:?} is not host:port"));
            }
        }
        if self.instance.is_empty() || !is_name(&self.instance) {
            mistakes.push(format!("instance {:?}: {NAME_RULE}, and at least one", self.instance));
        }
        if !is_name(&self.prefix) {
            mistakes.push(format!("prefix {:?}: {NAME_RULE}", self.prefix));
        }
        if self.in_flight_bytes < crate::limits::RECORD_BYTES_MAX {
            let least = crate::limits::RECORD_BYTES_MAX;
            mistakes.push(format!("in-flight bytes: {} do not hold the largest record, {least}", self.in_flight_bytes));
        }
        let times = [
            ("append timeout", self.append_timeout),
            ("session timeout", self.session_timeout),
            ("transaction timeout", self.transaction_timeout),
        ];
        for (name, time) in times {
            if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&time) {
                mistakes.push(format!("{name}: {time:?} is not between 1 s and 60 s"));
            }
        }
        mistakes.extend(config::property_mistakes(self));
        mistakes
    }
}

const NAME_RULE: &str = "at most 100 characters, of A-Z, a-z, 0-9, '.', '_' and '-'";

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

impl fmt::Debug for Options {
    /// Properties are shown by name only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bootstrap_servers,
            instance,
            prefix,
            properties,
            dev,
            in_flight_bytes,
            append_timeout,
            session_timeout,
            transaction_timeout,
        } = self;
        f.debug_struct("Options")
            .field("bootstrap_servers", bootstrap_servers)
            .field("instance", instance)
            .field("prefix", prefix)
            .field("properties", &properties.keys().collect::<Vec<_>>())
            .field("dev", dev)
            .field("in_flight_bytes", in_flight_bytes)
            .field("append_timeout", append_timeout)
            .field("session_timeout", session_timeout)
            .field("transaction_timeout", transaction_timeout)
            .finish()
    }
}

/// Why a log did not open, by what an operator does next.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options are wrong: each mistake is a sentence.
    #[error("the options for Kafka are wrong: {}", .0.join("; "))]
    Options(Vec<String>),
    /// No broker answered: it may work later.
    #[error("Kafka cannot be reached: {0}")]
    Unreachable(String),
    /// Topics are missing or have the wrong settings. Each entry says which topic, what it is, what it must be and how
    /// to mend it.
    #[error("the topics are not as they must be: {}", .0.join("; "))]
    Topics(Vec<String>),
    /// There is no log yet: `millrace topics` makes one.
    #[error("there is no log on this cluster: `millrace topics` makes one")]
    NoLog,
    /// The log there is not, or is not any more, the one that was made: a person must look.
    #[error("the log is not whole: {0}")]
    NotWhole(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new("one:9092,two:9093", "ingest-1")
    }

    #[test]
    fn the_usual_options_have_no_mistakes() {
        assert_eq!(options().mistakes(), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let mut options = Options::new("one", "in gest");
        options.prefix = "a/b".into();
        options.in_flight_bytes = 1;
        options.append_timeout = Duration::ZERO;
        let mistakes = options.mistakes();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
    }

    #[test]
    fn names_have_at_most_100_characters() {
        let mistakes = |characters: usize| {
            let mut options = Options::new("one:9092", "i".repeat(characters));
            options.prefix = "p".repeat(characters);
            options.mistakes().len()
        };
        assert_eq!((mistakes(NAME_BYTES_MAX), mistakes(NAME_BYTES_MAX + 1)), (0, 2));
    }

    #[test]
    fn security_settings_pass_through() {
        let mut options = options();
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "millrace"),
            ("sasl.password", "secret"),
            ("enable.ssl.certificate.verification", "true"),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("socket.timeout.ms", "15000"),
        ] {
            options.properties.insert(key.into(), value.into());
        }
        assert_eq!(options.mistakes(), Vec::<String>::new());
        assert_eq!(config::producer(&options).get("sasl.password"), Some("secret"));
        assert_eq!(config::member(&options, "group", "name").get("security.protocol"), Some("sasl_ssl"));
    }

    #[test]
    fn what_would_break_a_promise_is_refused() {
        for (key, value) in [
            ("acks", "1"),
            ("enable.idempotence", "false"),
            ("isolation.level", "read_uncommitted"),
            ("group.instance.id", "other"),
            ("enable.ssl.certificate.verification", "false"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("plugin.library.paths", "library"),
            ("delivery.report.only.error", "true"),
            ("client.rack", "rack"),
            ("api.version.request", "false"),
            ("queuing.strategy", "lifo"),
            ("socket.timeout.ms", "60000"),
            ("no.such.property", "1"),
            ("socket.timeout.ms", "soon"),
        ] {
            let mut options = options();
            options.properties.insert(key.into(), value.into());
            let mistakes = options.mistakes();
            assert!(matches!(&mistakes[..], [one] if one.contains(key)), "{key}: {mistakes:?}");
        }
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let mut options = options();
        for key in ["sasl.password", "ssl.key.password", "acks", "no.such.property", "socket.timeout.ms"] {
            options.properties.insert(key.into(), "hunter2".into());
        }
        let said = format!("{options:?} {:?} {}", options.mistakes(), OpenError::Options(options.mistakes()));
        assert!(said.contains("sasl.password") && said.contains("no.such.property"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
