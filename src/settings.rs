//! The log's settings: made with the log, changed by a flag.

use std::sync::Arc;

use millrace_clock::Clock;
use millrace_eventlog::Log;
use millrace_processor::{SettingsError, change_settings, create_settings, settings_in_force};
use millrace_schemas::raw::Settings;

use crate::config::Rules;
use crate::error::StartError;

/// Makes the settings of a new log; in a log that is there changes what a flag asks for, and warns of every other difference:
/// a configuration file cannot change a log.
///
/// # Errors
/// The log takes none, or cannot be read.
pub(crate) async fn prepare(log: &dyn Log, clock: &dyn Clock, rules: &Rules) -> Result<(), StartError> {
    let failed = |error: SettingsError| StartError::Other(format!("the log's settings: {error}"));
    create_settings(log, clock, &rules.settings).await.map_err(failed)?;
    if rules.grace_is_flag {
        let grace_ms = rules.settings.attribution_grace_ms;
        let set = |settings: &mut Settings| settings.attribution_grace_ms = grace_ms;
        if let Some(version) = change_settings(log, clock, set).await.map_err(failed)? {
            tracing::info!(version, grace_ms, "settings changed");
        }
    }
    warn(&settings_in_force(log).await.map_err(failed)?, rules);
    Ok(())
}

/// Makes the settings of a new log; a log that is there stays as it is. Answers with those in force.
///
/// # Errors
/// The log takes none, or cannot be read.
pub(crate) async fn make(log: &dyn Log, clock: &dyn Clock, rules: &Rules) -> Result<Settings, SettingsError> {
    create_settings(log, clock, &rules.settings).await?;
    settings_in_force(log).await
}

/// Warns, once it is known, of every setting of a log that differs from what is configured. Nothing waits for it: it reads every
/// partition.
pub(crate) fn warn_of_differences(log: Arc<dyn Log>, rules: Rules) {
    tokio::spawn(async move {
        match settings_in_force(log.as_ref()).await {
            Ok(in_force) => warn(&in_force, &rules),
            Err(error) => tracing::warn!(%error, "the log's settings cannot be compared with the configured ones"),
        }
    });
}

fn warn(in_force: &Settings, rules: &Rules) {
    for (name, in_force, configured) in differences(in_force, &rules.settings) {
        tracing::warn!(name, in_force, configured, "the log was made with another setting: it stays");
    }
}

/// Name, value in force, value configured.
pub(crate) fn differences(in_force: &Settings, wanted: &Settings) -> Vec<(&'static str, i64, i64)> {
    let pairs = [
        ("dedupe.window", in_force.dedupe_window_ms, wanted.dedupe_window_ms),
        ("attribution.mode", in_force.attribution_mode.into(), wanted.attribution_mode.into()),
        ("attribution.rule", in_force.attribution_rule.into(), wanted.attribution_rule.into()),
        ("attribution.window", in_force.attribution_window_ms, wanted.attribution_window_ms),
        ("attribution.grace", in_force.attribution_grace_ms, wanted.attribution_grace_ms),
    ];
    pairs.into_iter().filter(|(_, in_force, wanted)| in_force != wanted).collect()
}
