//! The settings that change rows: their defaults and their bounds. They live in the raw log, not in a configuration file.

use crate::limits;
use crate::raw::{AttributionMode, AttributionRule, Settings};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The settings of a new log: version 1.
#[must_use]
pub fn defaults() -> Settings {
    Settings {
        version: 1,
        dedupe_window_ms: 7 * DAY_MS,
        attribution_mode: AttributionMode::Join.into(),
        attribution_rule: AttributionRule::Last.into(),
        attribution_window_ms: 90 * DAY_MS,
        attribution_grace_ms: MINUTE_MS,
        session_gap_ms: limits::SESSION_GAP_MS,
        session_length_max_ms: limits::SESSION_LENGTH_MAX_MS,
        session_ahead_max_ms: limits::SESSION_AHEAD_MAX_MS,
        assignments_per_visitor_max: limits::ASSIGNMENTS_PER_VISITOR_MAX,
        variation_changes_max: limits::VARIATION_CHANGES_MAX,
        events_per_visitor_minute_max: limits::EVENTS_PER_VISITOR_MINUTE_MAX,
        witness_tolerance_ms: limits::WITNESS_TOLERANCE_MS,
    }
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is {value}: it must be from {least} to {most}")]
pub struct OutOfRange {
    /// The setting.
    pub name: &'static str,
    /// What was given; times in ms.
    pub value: i64,
    /// The least it may be.
    pub least: i64,
    /// The most it may be.
    pub most: i64,
}

/// Checks every value against its bounds.
///
/// # Errors
/// All that are out of range.
pub fn validate(settings: &Settings) -> Result<(), Vec<OutOfRange>> {
    let mode = i64::from(settings.attribution_mode);
    let rule = i64::from(settings.attribution_rule);
    let version = i64::try_from(settings.version).unwrap_or(i64::MAX);
    let bounds = [
        ("version", version, 1, i64::MAX - 1),
        ("dedupe.window", settings.dedupe_window_ms, 0, 90 * DAY_MS),
        ("attribution.mode", mode, 0, i64::from(AttributionMode::None as i32)),
        ("attribution.rule", rule, 0, i64::from(AttributionRule::First as i32)),
        ("attribution.window", settings.attribution_window_ms, 0, 3_650 * DAY_MS),
        ("attribution.grace", settings.attribution_grace_ms, 0, HOUR_MS),
        ("session.gap", settings.session_gap_ms, SECOND_MS, DAY_MS),
        ("session.length_max", settings.session_length_max_ms, SECOND_MS, 30 * DAY_MS),
        ("session.ahead_max", settings.session_ahead_max_ms, 0, 365 * DAY_MS),
        ("assignments_per_visitor_max", settings.assignments_per_visitor_max.into(), 1, 10_000),
        ("variation_changes_max", settings.variation_changes_max.into(), 1, 1_000),
        ("events_per_visitor_minute_max", settings.events_per_visitor_minute_max.into(), 1, 10_000_000),
        ("witness_tolerance", settings.witness_tolerance_ms, SECOND_MS, 30 * DAY_MS),
    ];
    let wrong: Vec<_> = bounds
        .into_iter()
        .filter(|(_, value, least, most)| !(least..=most).contains(&value))
        .map(|(name, value, least, most)| OutOfRange { name, value, least, most })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, HOUR_MS, defaults, validate};

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(validate(&defaults()), Ok(()));
    }

    #[test]
    fn every_value_out_of_range_is_named_at_once() {
        let mut settings = defaults();
        settings.attribution_grace_ms = HOUR_MS + 1;
        settings.dedupe_window_ms = -DAY_MS;
        settings.attribution_mode = 7;
        let named: Vec<_> = validate(&settings).unwrap_err().into_iter().map(|wrong| wrong.name).collect();
        assert_eq!(named, ["dedupe.window", "attribution.mode", "attribution.grace"]);
    }
}
