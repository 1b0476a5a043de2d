//! Whether a cluster's log is whole: topics can be deleted and made anew one by one, and what they held is missed by the others.

use std::fmt::Display;

use millrace_clock::Clock;
use millrace_directory::{Beginning, begin, beginning};
use millrace_eventlog::{Log, Partition, ReadError, Topic};
use millrace_processor::partitions_without_settings;
use millrace_schemas::raw::Settings;
use millrace_schemas::topics;

use crate::config::Rules;
use crate::error::StartError;
use crate::settings;

/// What can be told from where the topics begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wholeness {
    /// Every topic begins as it was made.
    Whole,
    /// It has not been made to the end yet.
    NotYet {
        /// Whether the access topic has its first fact.
        begun: bool,
        /// What is missing, in words.
        missing: String,
    },
    /// A topic is not the one the log was made with; which and why, in words.
    MadeAnew(String),
}

/// Looks where the topics begin. The enriched topic is compared by those who read it, with what they know of it.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn whole_log(log: &dyn Log) -> Result<Wholeness, ReadError> {
    let lacking = partitions_without_settings(log).await?;
    let nothing_sent = lacking.len() == log.partitions(Topic(topics::RAW)) as usize;
    for partition in &lacking {
        if was_enriched(log, *partition).await? {
            let reason = format!("partition {partition} has no settings, and its records were enriched once");
            return Ok(made_anew(log, topics::RAW, &reason));
        }
    }
    match beginning(log).await? {
        Beginning::ThisLog => {}
        Beginning::Nothing if nothing_sent => {
            return Ok(Wholeness::NotYet { begun: false, missing: "the log has not begun".to_owned() });
        }
        Beginning::Nothing => return Ok(made_anew(log, topics::ACCESS, "it is empty, and the raw topic is not")),
        Beginning::Other(reason) => return Ok(made_anew(log, topics::ACCESS, &reason)),
    }
    match lacking.len() {
        0 => Ok(Wholeness::Whole),
        count => Ok(Wholeness::NotYet { begun: true, missing: format!("{count} partitions have no settings") }),
    }
}

/// Makes a log to the end: the access topic's first fact, then the settings every raw partition begins with, so that a log with
/// settings has that fact. Changes nothing in a log that is whole. Answers with the settings in force.
///
/// # Errors
/// A topic was made anew; or the log cannot be read, or takes nothing.
pub(crate) async fn finish_log(log: &dyn Log, clock: &dyn Clock, rules: &Rules) -> Result<Settings, StartError> {
    let failed = |error: &dyn Display| StartError::Other(format!("the log cannot be made to the end: {error}"));
    match whole_log(log).await.map_err(|error| failed(&error))? {
        Wholeness::MadeAnew(reason) => return Err(StartError::Topics(vec![reason])),
        Wholeness::NotYet { begun: false, .. } => begin(log, clock).await.map_err(|error| failed(&error))?,
        Wholeness::NotYet { begun: true, .. } | Wholeness::Whole => {}
    }
    settings::make(log, clock, rules).await.map_err(|error| failed(&error))
}

async fn was_enriched(log: &dyn Log, partition: Partition) -> Result<bool, ReadError> {
    // A processor writes nothing before it has folded settings, not even a marker of a transaction.
    Ok(log.extent(Topic(topics::ENRICHED), partition).await?.end > 0)
}

fn made_anew(log: &dyn Log, topic: &str, reason: &str) -> Wholeness {
    Wholeness::MadeAnew(format!(
        "{topic} is not the topic log {} was made with: {reason}. It was deleted and made anew, and what it held is lost. \
         Restore it, or begin a new log: delete all of its topics and run `millrace topics`",
        log.id()
    ))
}
