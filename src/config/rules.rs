//! The values that change rows. They live in the log, so that every replay changes at the same record: a configuration
//! sets them when the log is made, a flag also later.

use std::time::Duration;

use millrace_schemas::raw::{AttributionMode, AttributionRule, Settings};
use millrace_schemas::settings::{defaults, validate};
use serde::Deserialize;

use super::Span;
use super::defaults::Defaults;
use super::keys::Keys;

/// What the log's settings are to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The settings of a new log.
    pub settings: Settings,
    /// Whether `--grace` was given: then a log that has another grace is changed.
    pub grace_is_flag: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Join,
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    Last,
    First,
}

impl Rules {
    pub(super) fn take(keys: &mut Keys, unless_set: &Defaults) -> Self {
        let default = defaults();
        let mode = match keys.take("attribution.mode", Mode::Join) {
            Mode::Join => AttributionMode::Join,
            Mode::None => AttributionMode::None,
        };
        let rule = match keys.take("attribution.rule", Rule::Last) {
            Rule::Last => AttributionRule::Last,
            Rule::First => AttributionRule::First,
        };
        let mut ms = |key, default: Span| milliseconds(keys.take(key, default));
        let settings = Settings {
            dedupe_window_ms: ms("dedupe.window", span(default.dedupe_window_ms)),
            attribution_mode: mode.into(),
            attribution_rule: rule.into(),
            attribution_window_ms: ms("attribution.window", span(default.attribution_window_ms)),
            attribution_grace_ms: ms("attribution.grace", unless_set.grace),
            ..default
        };
        if let Err(wrong) = validate(&settings) {
            keys.also_wrong(wrong.into_iter().map(|wrong| wrong.to_string()));
        }
        Self { settings, grace_is_flag: keys.is_flag("attribution.grace") }
    }
}

fn span(ms: i64) -> Span {
    Span(Duration::from_millis(ms.unsigned_abs()))
}

fn milliseconds(span: Span) -> i64 {
    i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)
}
