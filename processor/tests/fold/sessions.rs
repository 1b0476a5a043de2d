//! Which events share a session, sentence by sentence.

use crate::support::*;
use millrace_processor::step::session_id;
use millrace_schemas::raw::AttributionMode;
use xxhash_rust::xxh3::xxh3_64;

/// Folds decision events of one visitor, each `(log time, timestamp)` after `T0`, and gives the start of the session each
/// got, after `T0`.
fn starts(events: &[(i64, i64)]) -> Vec<i64> {
    let mut folded = Folded::new(settings());
    let mut candidates: Vec<i64> = events.iter().flat_map(|(log, at)| [*log, *at]).collect();
    candidates.sort_unstable();
    for (number, (log, at)) in events.iter().enumerate() {
        folded.event(T0 + log, decides("v", &number.to_string(), T0 + at, "e", "a"));
    }
    let start_of = |number: usize| {
        let id = folded.session(&number.to_string()).unwrap();
        let is = |start: &&i64| session_id(ACCOUNT, "v", T0 + **start).to_string() == id;
        *candidates.iter().find(is).expect("a session begins at one of the times")
    };
    (0..events.len()).map(start_of).collect()
}

#[test]
fn an_event_within_half_an_hour_joins_and_one_later_does_not() {
    let at = 30 * MINUTE;
    assert_eq!(starts(&[(0, 0), (at, at)]), [0, 0]);
    assert_eq!(starts(&[(0, 0), (at + 1, at + 1)]), [0, at + 1]);
}

#[test]
fn each_event_that_joins_prolongs_the_session() {
    let step = 29 * MINUTE;
    assert_eq!(starts(&[(0, 0), (step, step), (2 * step, 2 * step), (3 * step, 3 * step)]), [0; 4]);
}

#[test]
fn an_event_that_joins_out_of_order_does_not_shorten_the_session() {
    let (late, last) = (MINUTE, 40 * MINUTE);
    assert_eq!(starts(&[(0, 0), (20 * MINUTE, 20 * MINUTE), (21 * MINUTE, late), (last, last)]), [0; 4]);
}

#[test]
fn an_event_up_to_half_an_hour_before_the_start_joins_and_the_start_stays() {
    let early = -30 * MINUTE;
    assert_eq!(starts(&[(0, 0), (1, early), (2, 1)]), [0, 0, 0]);
    assert_eq!(starts(&[(0, 0), (1, early - 1)]), [0, early - 1]);
}

#[test]
fn a_session_ends_after_a_day() {
    let step = 20 * MINUTE;
    let events: Vec<(i64, i64)> = (0..=72).map(|n| (n * step, n * step)).collect();
    let starts = starts(&events);
    assert_eq!(starts[..72], [0; 72]);
    assert_eq!(starts[72], DAY);
}

#[test]
fn a_straggler_opens_a_session_of_its_own_and_the_current_one_goes_on() {
    // 0: current. An event of two hours before, seen a minute later, opens its own; the next one joins the current.
    assert_eq!(starts(&[(0, 0), (MINUTE, -2 * HOUR), (2 * MINUTE, 2 * MINUTE)]), [0, -2 * HOUR, 0]);
}

#[test]
fn a_straggler_becomes_current_once_nobody_has_joined_for_half_an_hour_of_log_time() {
    let idle = 30 * MINUTE;
    assert_eq!(starts(&[(0, 0), (idle, -2 * HOUR), (idle + 1, -2 * HOUR + 1)]), [0, -2 * HOUR, -2 * HOUR]);
    // A moment earlier it does not: the event after it opens a session of its own again.
    assert_eq!(starts(&[(0, 0), (idle - 1, -2 * HOUR), (idle, -2 * HOUR + 1)])[2], -2 * HOUR + 1);
}

#[test]
fn a_timestamp_more_than_a_day_ahead_counts_as_log_time() {
    assert_eq!(starts(&[(0, 0), (MINUTE, MINUTE + DAY + 1)]), [0, 0]);
    assert_eq!(starts(&[(0, 0), (MINUTE, MINUTE + DAY)]), [0, MINUTE + DAY]);
}

#[test]
fn a_timestamp_ahead_is_exported_as_sent() {
    let mut folded = Folded::new(settings());
    folded.event(T0, decides("v", "1", T0 + 3 * DAY, "e", "a"));
    assert_eq!(folded.enriched("1").event.as_ref().unwrap().timestamp_ms, T0 + 3 * DAY);
}

#[test]
fn the_id_is_the_low_half_of_the_hash_as_a_signed_number() {
    let mut bytes = b"12345\0v\0".to_vec();
    bytes.extend_from_slice(&T0.to_le_bytes());
    let low = (xxh3_64(&bytes) & 0xffff_ffff) as u32;
    assert_eq!(session_id(ACCOUNT, "v", T0), low as i32);
    let mut folded = Folded::new(settings());
    folded.event(T0, decides("v", "1", T0, "e", "a"));
    assert_eq!(folded.session("1"), Some((low as i32).to_string().as_str()));
}

#[test]
fn visitors_and_accounts_have_sessions_of_their_own() {
    let mut folded = Folded::new(settings());
    folded.event(T0, decides("v", "1", T0, "e", "a")).event(T0, decides("w", "1w", T0, "e", "a"));
    let mut foreign = decides("v", "1f", T0, "e", "a");
    foreign.account_id = "other".into();
    folded.event(T0, foreign);
    assert_ne!(folded.session("1"), folded.session("1w"));
    assert_ne!(folded.session("1"), folded.session("1f"));
}

#[test]
fn a_session_id_the_client_sent_is_kept() {
    for (sent, kept) in [(Some("abc"), true), (Some(""), false), (Some("AUTO"), false), (None, false)] {
        let mut folded = Folded::new(settings());
        let mut decides = decides("v", "1", T0, "e", "a");
        let mut converts = converts("v", "2", T0);
        decides.session_id = sent.map(Into::into);
        converts.session_id = sent.map(Into::into);
        folded.event(T0, decides).event(T0, converts).tick(T0 + MINUTE);
        let ours = session_id(ACCOUNT, "v", T0).to_string();
        for uuid in ["1", "2"] {
            let expected = if kept { sent.unwrap() } else { ours.as_str() };
            assert_eq!(folded.session(uuid), Some(expected), "{sent:?}");
        }
    }
}

#[test]
fn a_duplicate_does_not_prolong_a_session() {
    let mut folded = Folded::new(settings());
    folded.event(T0, decides("v", "1", T0, "e", "a"));
    folded.event(T0 + 29 * MINUTE, decides("v", "1", T0 + 29 * MINUTE, "e", "a"));
    folded.event(T0 + 31 * MINUTE, decides("v", "2", T0 + 31 * MINUTE, "e", "a"));
    assert_ne!(folded.session("1"), folded.session("2"));
}

#[test]
fn without_attribution_the_session_is_as_sent() {
    let mut none = settings();
    none.attribution_mode = AttributionMode::None.into();
    let mut folded = Folded::new(none);
    let mut with = decides("v", "1", T0, "e", "a");
    with.session_id = Some("abc".into());
    folded
        .event(T0, with)
        .event(T0, decides("v", "2", T0, "e", "a"))
        .event(T0, converts("v", "3", T0))
        .tick(T0 + MINUTE);
    assert_eq!(folded.session("1"), Some("abc"));
    assert_eq!(folded.session("2"), None);
    assert_eq!(folded.session("3"), None);
}

#[test]
fn a_session_nobody_joined_within_the_dedupe_window_is_forgotten() {
    let week = 7 * DAY;
    assert_eq!(starts(&[(0, 0), (week, 1)]), [0, 0]);
    assert_eq!(starts(&[(0, 0), (week + 1, 1)]), [0, 1]);
}
