//! Where log lines go, and in which form.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why no logs are written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("log filter {filter:?}: {reason}; it looks like `info` or `warn,millrace_processor=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logs have been started before.
    #[error("logs are written already: {0}")]
    Twice(String),
}

/// Begins to write log lines to standard error. `filter` has the form of `RUST_LOG`: a level, or levels by module.
///
/// # Errors
/// See [`LogError`].
pub fn start_logs(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter = parse_filter(filter)?;
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // A line that cannot be written (the disk is full, the reader is gone) is lost. Told of on standard error, as is the
    // default, it would end the thread that logs: `eprintln` panics there.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(terminal).boxed()
    };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map_err(|error| LogError::Twice(error.to_string()))
}

/// Looks whether a filter is one.
///
/// # Errors
/// [`LogError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<Targets, LogError> {
    let refused = |reason: String| LogError::Filter { filter: filter.to_owned(), reason };
    // They would be taken for the name of a module that nothing has.
    if filter.contains(['[', '{']) {
        return Err(refused("levels go by module, not by span or field".to_owned()));
    }
    filter.parse().map_err(|error: ParseError| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_not_understood_is_refused_with_an_example() {
        assert!(parse_filter("warn,millrace_processor=debug").is_ok());
        let said = parse_filter("millrace=loud").expect_err("no such level").to_string();
        assert!(said.contains("millrace=loud") && said.contains("debug"), "{said}");
        let said = parse_filter("info,[request]=debug").expect_err("spans are not filtered").to_string();
        assert!(said.contains("by module, not by span"), "{said}");
    }
}
