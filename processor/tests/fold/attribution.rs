//! Which experiments a conversion carries, sentence by sentence.

use crate::support::*;
use millrace_processor::limits::EXPERIMENTS_BYTES_MAX;
use millrace_schemas::enriched::Unattributed;
use millrace_schemas::raw::{AttributionMode, AttributionRule, Decision, Settings};

const GRACE: i64 = MINUTE;

fn folded() -> Folded {
    Folded::new(settings())
}

fn with(change: impl FnOnce(&mut Settings)) -> Folded {
    let mut settings = settings();
    change(&mut settings);
    Folded::new(settings)
}

#[test]
fn a_conversion_carries_the_decision_of_the_same_millisecond_and_none_a_millisecond_later() {
    let mut folded = folded();
    folded.event(T0, decides("v", "d", T0, "e", "a"));
    folded.event(T0, converts("v", "same", T0)).event(T0, converts("v", "before", T0 - 1)).tick(T0 + GRACE);
    assert_eq!(folded.experiments("same"), ["e/a"]);
    assert!(folded.experiments("before").is_empty());
}

#[test]
fn the_entry_is_the_decision_as_sent() {
    let mut holdback = decision("e", "a");
    holdback.is_holdback = Some(true);
    let mut folded = folded();
    folded.event(T0, decides_all("v", "d", T0, vec![holdback])).event(T0, converts("v", "c", T0)).tick(T0 + GRACE);
    let entry = &folded.enriched("c").experiments[0];
    assert_eq!(entry.campaign_id.as_deref(), Some("campaign-e"));
    assert_eq!(entry.experiment_id.as_deref(), Some("e"));
    assert_eq!(entry.variation_id.as_deref(), Some("a"));
    assert_eq!(entry.is_holdback, Some(true));
}

#[test]
fn what_a_conversion_carries_fits_into_a_record_and_those_seen_first_are_left_out() {
    let mut folded = folded();
    for n in 0..40 {
        let long = "x".repeat(200_000);
        folded.event(T0, decides("v", &format!("d{n}"), T0, &format!("e{n}"), &long));
    }
    folded.event(T0, converts("v", "c", T0)).tick(T0 + GRACE);
    let carried = folded.experiments("c");
    assert_eq!(carried.len(), EXPERIMENTS_BYTES_MAX / 200_000);
    assert!(carried.last().unwrap().starts_with("e39/"));
}

#[test]
fn a_conversion_counts_in_every_session_and_project_of_the_account_and_in_no_other_account() {
    let mut folded = folded();
    let mut decided = decides("v", "d", T0, "e", "a");
    decided.project_id = Some("p1".into());
    let mut later = converts("v", "later", T0 + 2 * DAY);
    later.project_id = Some("p2".into());
    let mut foreign = converts("v", "foreign", T0 + 2 * DAY);
    foreign.account_id = "other".into();
    let at = T0 + 2 * DAY;
    folded.event(T0, decided).event(at, later).event(at, foreign).event(at, converts("w", "other visitor", at));
    folded.tick(at + GRACE);
    assert_eq!(folded.experiments("later"), ["e/a"]);
    assert!(folded.experiments("foreign").is_empty());
    assert!(folded.experiments("other visitor").is_empty());
}

#[test]
fn the_rule_decides_between_variations_of_one_experiment() {
    for (rule, at_20, at_15) in [(AttributionRule::Last, "e/b", "e/a"), (AttributionRule::First, "e/a", "e/a")] {
        let mut folded = with(|settings| settings.attribution_rule = rule.into());
        folded.event(T0, decides("v", "d1", T0 + 10, "e", "a")).event(T0, decides("v", "d2", T0 + 20, "e", "b"));
        folded.event(T0, converts("v", "c20", T0 + 20)).event(T0, converts("v", "c15", T0 + 15)).tick(T0 + GRACE);
        assert_eq!(folded.experiments("c20"), [at_20], "{rule:?}");
        assert_eq!(folded.experiments("c15"), [at_15], "{rule:?}");
    }
}

#[test]
fn the_experiment_first_seen_comes_first() {
    let mut folded = folded();
    folded.event(T0, decides("v", "d1", T0 + 9, "z", "a"));
    folded.event(T0, decides_all("v", "d2", T0 + 1, vec![decision("m", "a"), decision("a", "a")]));
    folded.event(T0, decides("v", "d3", T0 + 2, "m", "b")).event(T0, decides("v", "d4", T0 + 9, "z", "a"));
    folded.event(T0, converts("v", "c", T0 + 9)).tick(T0 + GRACE);
    assert_eq!(folded.experiments("c"), ["z/a", "m/b", "a/a"]);
}

#[test]
fn a_decision_that_arrives_within_the_grace_counts_and_one_later_does_not() {
    let mut folded = folded();
    folded.event(T0, converts("v", "c", T0));
    folded.event(T0 + GRACE - 1, decides("v", "d1", T0, "in", "a"));
    // The conversion is released against the state before this record.
    folded.event(T0 + GRACE, decides("v", "d2", T0, "out", "a"));
    assert_eq!(folded.experiments("c"), ["in/a"]);
}

#[test]
fn a_conversion_keeps_the_time_of_its_arrival_and_the_watermark_waits_for_it() {
    let mut folded = folded();
    folded.event(T0 + 5, converts("v", "c", T0)).tick(T0 + GRACE);
    assert!(folded.find("c").is_none());
    assert_eq!((folded.state.watermark_ms(), folded.state.held()), (T0 + 5, 1));
    folded.tick(T0 + 5 + GRACE);
    assert_eq!(folded.outcomes.last().unwrap().process_timestamp_ms, T0 + 5);
    assert_eq!((folded.state.watermark_ms(), folded.state.held()), (T0 + 5 + GRACE, 0));
}

#[test]
fn a_decision_without_an_experiment_is_exported_and_attributes_nothing() {
    let nothing = Decision { campaign_id: Some("c".into()), ..Decision::default() };
    let mut folded = folded();
    folded.event(T0, decides_all("v", "d", T0, vec![nothing])).event(T0, converts("v", "c", T0)).tick(T0 + GRACE);
    assert!(folded.find("d").is_some());
    assert!(folded.experiments("c").is_empty());
    assert_eq!(folded.enriched("c").unattributed(), Unattributed::NoDecision);
}

#[test]
fn decisions_in_the_conversions_own_snapshot_count_as_well() {
    let mut folded = folded();
    folded.event(T0, decides("v", "d1", T0, "e", "a"));
    folded.event(T0, converts_with("v", "c", T0, vec![decision("own", "x"), decision("e", "b"), Decision::default()]));
    folded
        .event(T0 + 1, decides("v", "d2", T0, "later", "y"))
        .event(T0 + 2, converts("v", "next", T0))
        .tick(T0 + 2 + GRACE);
    // `later` was seen after the conversion, and so after its snapshot.
    assert_eq!(folded.experiments("c"), ["e/b", "own/x", "later/y"]);
    // A snapshot is the conversion's own: it is no decision of the visitor's.
    assert_eq!(folded.experiments("next"), ["e/a", "later/y"]);
}

#[test]
fn under_the_rule_first_a_snapshot_does_not_displace_an_earlier_decision() {
    let mut folded = with(|settings| settings.attribution_rule = AttributionRule::First.into());
    folded.event(T0, decides("v", "d1", T0, "e", "a"));
    folded.event(T0, converts_with("v", "c", T0, vec![decision("e", "b"), decision("own", "x")])).tick(T0 + GRACE);
    assert_eq!(folded.experiments("c"), ["e/a", "own/x"]);
}

#[test]
fn a_batch_that_wants_no_attribution_carries_exactly_its_own_snapshot() {
    let mut folded = folded();
    folded.event(T0, decides("v", "d1", T0, "e", "a"));
    let mut own = converts_with("v", "own", T0, vec![decision("own", "x"), Decision::default()]);
    let mut bare = converts("v", "bare", T0);
    own.enrich_decisions = false;
    bare.enrich_decisions = false;
    folded.event(T0, own).event(T0, bare);
    assert_eq!(folded.state.held(), 2, "held like all others");
    folded.tick(T0 + GRACE);
    assert_eq!(folded.experiments("own"), ["own/x", "null/null"]);
    assert!(folded.experiments("bare").is_empty());
    assert_eq!(folded.enriched("bare").unattributed(), Unattributed::Not);
    assert!(folded.session("bare").is_some(), "sessionised like all others");
}

#[test]
fn without_attribution_experiments_are_as_sent() {
    let mut folded = with(|settings| settings.attribution_mode = AttributionMode::None.into());
    folded.event(T0, decides("v", "d1", T0, "e", "a"));
    folded.event(T0, converts_with("v", "own", T0, vec![decision("own", "x")])).event(T0, converts("v", "bare", T0));
    assert_eq!(folded.state.held(), 2, "held like all others");
    folded.tick(T0 + GRACE);
    assert_eq!(folded.experiments("own"), ["own/x"]);
    assert!(folded.experiments("bare").is_empty());
}

#[test]
fn a_decision_is_remembered_for_the_window_since_it_was_last_made() {
    let window = 90 * DAY;
    let cases = [(window - GRACE, true), (window - GRACE + 1, false)];
    let cases =
        cases.into_iter().flat_map(|(converted, carried)| [(converted, carried, false), (converted, carried, true)]);
    for (converted, carried, ticked) in cases {
        let mut folded = folded();
        folded.event(T0, decides("v", "d1", T0, "e", "a"));
        // Made again a day later: the window counts from there.
        folded.event(T0 + DAY, decides("v", "d2", T0 + DAY, "e", "a"));
        // As of the moment the conversion is due, whatever ticks come before and after that.
        let at = T0 + DAY + converted;
        folded.event(at, converts("v", "c", at));
        if ticked {
            folded.tick(at + GRACE / 2);
        }
        folded.tick(at + GRACE + HOUR);
        assert_eq!(!folded.experiments("c").is_empty(), carried, "{converted} {ticked}");
    }
}

#[test]
fn a_conversion_without_experiments_says_why() {
    let mut folded = folded();
    folded.event(T0, decides("later", "d1", T0 + 1, "e", "a")).event(T0, decides("outside", "d2", T0, "e", "a"));
    folded.event(T0, converts("later", "c1", T0)).event(T0, converts("nobody", "c2", T0));
    let after = T0 + 91 * DAY;
    folded.event(after, converts("outside", "c3", after)).tick(after + GRACE);
    // That there ever was a decision is forgotten a week after the decision itself.
    let long_after = T0 + 98 * DAY;
    folded.event(long_after, converts("outside", "c4", long_after)).tick(long_after + GRACE);
    assert_eq!(folded.enriched("c1").unattributed(), Unattributed::DecisionLater);
    assert_eq!(folded.enriched("c2").unattributed(), Unattributed::NoDecision);
    assert_eq!(folded.enriched("c3").unattributed(), Unattributed::OutsideWindow);
    assert_eq!(folded.enriched("c4").unattributed(), Unattributed::NoDecision);
}

#[test]
fn a_conversion_with_an_experiment_gives_no_reason() {
    let mut folded = folded();
    folded.event(T0, decides("v", "d", T0, "e", "a")).event(T0, converts("v", "c", T0)).tick(T0 + GRACE);
    assert_eq!(folded.enriched("c").unattributed(), Unattributed::Not);
}

#[test]
fn of_too_many_assignments_the_least_recently_made_goes() {
    let mut folded = with(|settings| settings.assignments_per_visitor_max = 3);
    for (n, experiment) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        folded.event(T0, decides("v", &format!("d{n}"), T0, experiment, "x"));
    }
    folded.event(T0, converts("v", "c", T0)).tick(T0 + GRACE);
    // `b` went: `a` had been made again.
    assert_eq!(folded.experiments("c"), ["a/x", "c/x", "d/x"]);
}

#[test]
fn settings_change_at_their_offset_and_an_old_version_changes_nothing() {
    let mut folded = folded();
    let mut none = settings();
    none.attribution_mode = AttributionMode::None.into();
    folded.settings(T0, none).event(T0, decides("v", "1", T0, "e", "a"));
    assert!(folded.session("1").is_some(), "the same version again is ignored");
    none.version = 2;
    folded.settings(T0, none).event(T0, decides("v", "2", T0, "e", "a"));
    assert_eq!(folded.session("2"), None);
    folded.settings(T0, settings()).event(T0, decides("v", "3", T0, "e", "a"));
    assert_eq!(folded.session("3"), None, "a lower version is ignored");
}

#[test]
fn a_grace_that_shrinks_or_grows_keeps_the_queue_in_order() {
    let grace = |version, grace| Settings { version, attribution_grace_ms: grace, ..settings() };
    let mut folded = folded();
    folded.event(T0, converts("v", "1", T0)).settings(T0 + 1, grace(2, SECOND)).event(T0 + 2, converts("v", "2", T0));
    folded.tick(T0 + 2 + SECOND);
    assert_eq!(folded.outcomes.len(), 2);
    folded.event(T0 + 2 * SECOND, converts("v", "3", T0)).settings(T0 + 2 * SECOND, grace(3, HOUR));
    folded.event(T0 + 3 * SECOND, converts("v", "4", T0)).tick(T0 + HOUR);
    assert_eq!(folded.state.held(), 2);
    folded.tick(T0 + 3 * SECOND + HOUR);
    let order: Vec<u64> = folded.outcomes.iter().map(|outcome| outcome.raw_offset).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(folded.outcomes.len(), 4);
}
