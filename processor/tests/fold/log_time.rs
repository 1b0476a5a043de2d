//! Log time, de-duplication, bounds, dead letters.

use crate::support::*;
use bytes::Bytes;
use millrace_eventlog::Record;
use millrace_processor::limits::ORIGINAL_BYTES_MAX;
use millrace_processor::step::Input;
use millrace_schemas::enriched::{Kind, outcome};
use millrace_schemas::raw::raw;

fn folded() -> Folded {
    Folded::new(settings())
}

fn witnessed(folded: &mut Folded, append_time_ms: i64, witness_ms: i64) -> i64 {
    let new = new_record(0, witness_ms, tick());
    let offset = folded.state.head().folded;
    folded.record(&Record { offset, append_time_ms, version: new.version, key: new.key, value: new.value });
    folded.state.head().log_time_ms
}

#[test]
fn log_time_is_the_append_time_and_never_goes_back() {
    let mut folded = folded();
    assert_eq!(folded.tick(T0 + 10).state.head().log_time_ms, T0 + 10);
    assert_eq!(folded.tick(T0 + 5).state.head().log_time_ms, T0 + 10);
    folded.event(T0 + 7, decides("v", "1", T0, "e", "a"));
    assert_eq!(folded.outcomes[0].process_timestamp_ms, T0 + 10);
}

#[test]
fn where_append_time_and_witness_differ_by_more_than_an_hour_the_earlier_counts() {
    for (append, witness, expected) in [
        (HOUR, 0, HOUR),
        (HOUR + 1, 0, 0),
        (5, HOUR + 5, 5),
        (5, HOUR + 6, 5),
        (DAY, 2 * HOUR, 2 * HOUR),
        (2 * HOUR, DAY, 2 * HOUR),
    ] {
        assert_eq!(witnessed(&mut folded(), T0 + append, T0 + witness), T0 + expected, "{append} {witness}");
    }
}

#[test]
fn the_first_of_an_event_in_the_log_wins_whatever_the_second_says() {
    let mut folded = folded();
    folded.event(T0, decides("v", "u", T0, "e", "a")).event(T0 + 1, converts("v", "u", T0)).tick(T0 + HOUR);
    assert_eq!(folded.kinds(), ["enriched", "duplicate"]);
    let Some(outcome::What::Duplicate(duplicate)) = &folded.outcomes[1].what else { panic!() };
    assert_eq!((duplicate.account_id.as_str(), duplicate.kind()), (ACCOUNT, Kind::Conversion));
}

#[test]
fn a_uuid_is_another_event_for_another_visitor_or_account() {
    let mut folded = folded();
    let mut foreign = decides("v", "u", T0, "e", "a");
    foreign.account_id = "other".into();
    folded.event(T0, decides("v", "u", T0, "e", "a")).event(T0, decides("w", "u", T0, "e", "a")).event(T0, foreign);
    assert_eq!(folded.kinds(), ["enriched"; 3]);
}

#[test]
fn a_conversion_that_is_held_is_seen_already() {
    let mut folded = folded();
    folded.event(T0, converts("v", "u", T0)).event(T0 + 1, converts("v", "u", T0)).tick(T0 + HOUR);
    assert_eq!(folded.kinds(), ["duplicate", "enriched"]);
}

#[test]
fn a_seen_event_is_forgotten_when_its_hour_and_the_window_have_passed() {
    // Seen 30 minutes into an hour: forgotten when the hour's end and seven days are over.
    let seen = T0 + 30 * MINUTE;
    for (again, kind) in [(T0 + HOUR + 7 * DAY - 1, "duplicate"), (T0 + HOUR + 7 * DAY, "enriched")] {
        let mut folded = folded();
        folded.event(seen, decides("v", "u", T0, "e", "a")).event(again, decides("v", "u", T0, "e", "a"));
        assert_eq!(folded.kinds()[1], kind);
    }
}

#[test]
fn a_longer_window_does_not_bring_back_what_was_forgotten_also_where_its_memory_was_not_freed_yet() {
    let mut short = settings();
    short.dedupe_window_ms = 0;
    let mut folded = Folded::new(short);
    let seen = T0 + HOUR - SECOND;
    let send = |folded: &mut Folded, at| {
        for n in 0..50 {
            folded.event(at, decides("v", &n.to_string(), T0, "e", "a"));
        }
    };
    send(&mut folded, seen);
    // The hour is over: forgotten. Only one of the tables' parts is swept in a minute.
    folded.tick(T0 + HOUR);
    assert!(folded.state.sizes().0 > 25);
    let mut longer = settings();
    (longer.version, longer.dedupe_window_ms) = (2, 30 * DAY);
    folded.settings(T0 + HOUR, longer);
    send(&mut folded, T0 + HOUR);
    assert_eq!(folded.kinds(), ["enriched"; 100]);
}

#[test]
fn memory_is_freed_once_everything_is_forgotten() {
    let mut folded = folded();
    for n in 0..1000 {
        folded.event(T0, decides(&format!("v{n}"), "u", T0, "e", "a"));
    }
    assert_eq!(folded.state.sizes(), (1000, 1000));
    folded.tick(T0 + 8 * DAY);
    assert_eq!(folded.state.sizes(), (0, 1000));
    folded.tick(T0 + 98 * DAY);
    assert_eq!(folded.state.sizes(), (0, 0));
}

#[test]
fn a_reject_is_known_by_its_bytes_and_its_place_in_the_batch() {
    let mut folded = folded();
    for reject in [reject("v", b"x", 0), reject("v", b"x", 0), reject("v", b"x", 1), reject("v", b"y", 0)] {
        folded.at(T0, raw::Body::Reject(reject));
    }
    assert_eq!(folded.kinds(), ["rejected", "duplicate", "rejected", "rejected"]);
    let Some(outcome::What::Duplicate(duplicate)) = &folded.outcomes[1].what else { panic!() };
    assert_eq!(duplicate.kind(), Kind::Reject);
}

#[test]
fn a_visitor_has_so_many_events_a_minute_and_no_more() {
    let mut few = settings();
    few.events_per_visitor_minute_max = 2;
    let mut folded = Folded::new(few);
    for n in 0..3 {
        folded.event(T0 + 10, decides("v", &n.to_string(), T0, "e", "a"));
    }
    folded.event(T0 + 20, decides("w", "0", T0, "e", "a"));
    folded.event(T0 + MINUTE, decides("v", "3", T0, "e", "a"));
    assert_eq!(folded.kinds(), ["enriched", "enriched", "rejected", "enriched", "enriched"]);
    let Some(outcome::What::Rejected(rejected)) = &folded.outcomes[2].what else { panic!() };
    let reject = rejected.reject.as_ref().unwrap();
    assert_eq!((reject.reason.as_str(), reject.uuid.as_deref()), ("visitor_rate", Some("2")));
    // Sent again it is neither rejected again nor let through.
    folded.event(T0 + 2 * MINUTE, decides("v", "2", T0, "e", "a"));
    assert_eq!(folded.kinds()[5], "duplicate");
}

#[test]
fn an_event_over_the_rate_is_no_decision_and_waits_for_nothing() {
    let mut one = settings();
    one.events_per_visitor_minute_max = 1;
    let mut folded = Folded::new(one);
    folded.event(T0, converts("v", "c", T0 + 1)).event(T0, decides("v", "d", T0, "e", "a"));
    folded.event(T0, converts("v", "c2", T0)).tick(T0 + HOUR);
    assert_eq!(folded.kinds(), ["rejected", "rejected", "enriched"]);
    assert!(folded.experiments("c").is_empty());
}

fn raw_record(version: u32, value: &'static [u8]) -> Record {
    let key = Bytes::from_static(b"12345\0v");
    Record { offset: 7, append_time_ms: T0 + 1, version, key, value: Bytes::from_static(value) }
}

#[test]
fn a_record_that_does_not_decode_is_a_dead_letter_of_its_keys_account() {
    for (version, value) in [(1, &b"\xff\xff"[..]), (0, b""), (1, b""), (1, b"\x12\x00")] {
        let mut folded = folded();
        folded.record(&raw_record(version, value));
        let Some(outcome::What::Dead(dead)) = &folded.outcomes[0].what else { panic!("{value:?}") };
        assert_eq!((dead.account_id.as_str(), dead.visitor_id.as_str()), (ACCOUNT, "v"));
        assert_eq!(dead.original, value);
        assert!(!dead.reason.is_empty());
        assert_eq!(folded.state.head().log_time_ms, T0, "one clock alone does not move log time");
    }
}

#[test]
fn of_a_large_record_that_does_not_decode_the_beginning_is_kept() {
    let mut folded = folded();
    let large = Record { value: vec![0xff; ORIGINAL_BYTES_MAX + 1].into(), ..raw_record(1, b"") };
    folded.record(&large);
    let Some(outcome::What::Dead(dead)) = &folded.outcomes[0].what else { panic!("no dead letter") };
    assert_eq!(dead.original.len(), ORIGINAL_BYTES_MAX);
}

#[test]
fn a_record_of_a_later_release_is_not_read() {
    let newer = Input::read(&raw_record(2, b"")).unwrap_err();
    assert_eq!(newer.offset, 7);
    assert!(newer.to_string().contains("version 2"), "{newer}");
}

#[test]
fn every_field_of_an_event_reaches_its_outcome_also_those_of_a_later_release() {
    let mut event = decides("v", "1", T0, "e", "a");
    event.user_agent = Some("agent é".into());
    event.unknown_fields = "{\"x\":1}".into();
    let mut folded = folded();
    folded.event(T0, event.clone());
    assert_eq!(folded.enriched("1").event.as_ref(), Some(&event));
}
