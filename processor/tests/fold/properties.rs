//! What holds for every script.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_eventlog::Record;
use millrace_processor::step::{Input, Outcomes, Overlay, fold, release, step};
use millrace_schemas::enriched::{Outcome, outcome};
use millrace_schemas::raw::raw;
use proptest::prelude::*;

use crate::support::scripts::{Happening, What, records, script};
use crate::support::*;

/// What a row says, without where its record stood.
fn row(outcome: &Outcome) -> String {
    let Outcome { raw_offset: _, process_timestamp_ms, what } = outcome;
    format!("{process_timestamp_ms} {what:?}")
}

fn visitor_of(outcome: &Outcome) -> String {
    match &outcome.what {
        Some(outcome::What::Enriched(enriched)) => enriched.event.as_ref().unwrap().visitor_id.clone(),
        Some(outcome::What::Rejected(rejected)) => rejected.reject.as_ref().unwrap().visitor_id.clone(),
        _ => String::new(),
    }
}

proptest! {
    #[test]
    fn each_event_or_reject_becomes_exactly_one_outcome(script in script()) {
        let mut records = records(&script);
        let last = records.last().unwrap();
        records.push(record(last.offset + 1, last.append_time_ms + HOUR, tick()));
        let outcomes = fold_in(&mut blank(), &records, usize::MAX);
        let mut offsets: Vec<u64> = outcomes.iter().map(|outcome| outcome.raw_offset).collect();
        offsets.sort_unstable();
        let counted = records[1..records.len() - 1].iter().zip(&script);
        let expected: Vec<u64> = counted
            .filter(|(_, happening)| !matches!(happening.what, What::Tick | What::Settings { .. }))
            .map(|(record, _)| record.offset)
            .collect();
        prop_assert_eq!(offsets, expected);
    }

    #[test]
    fn how_records_are_cut_into_transactions_changes_nothing(script in script(), size in 1..50usize) {
        let records = records(&script);
        let at_once = fold_in(&mut blank(), &records, usize::MAX);
        prop_assert_eq!(fold_in(&mut blank(), &records, size), at_once.clone());
        // And again: nothing but the records decides.
        prop_assert_eq!(fold_in(&mut blank(), &records, usize::MAX), at_once);
    }

    /// Another log gives other offsets, and ticks at other times.
    #[test]
    fn offsets_and_ticks_change_no_row(script in script(), gaps in proptest::collection::vec(1..9u64, 240), ticks in proptest::collection::vec(0..3i64, 120)) {
        let records = records(&script);
        let (mut others, mut offset) = (Vec::new(), 1_000_000_000);
        let mut gaps = gaps.into_iter();
        let mut place = |record: &Record| {
            offset += gaps.next().unwrap();
            Record { offset, ..record.clone() }
        };
        let mut now_ms = T0;
        for (record, ticks) in records.iter().zip(ticks.into_iter().chain(std::iter::once(0))) {
            // A record that does not decode takes the time that stands in the log: no tick before it.
            let decodes = record.value != Bytes::from_static(b"\xff");
            if ticks > 0 && decodes && !others.is_empty() {
                let at_ms = now_ms + (record.append_time_ms - now_ms) * ticks / 2;
                others.push(place(&crate::support::record(0, at_ms, tick())));
            }
            others.push(place(record));
            if decodes {
                now_ms = record.append_time_ms;
            }
        }
        let rows = |records: &[Record]| fold_in(&mut blank(), records, 5).iter().map(row).collect::<Vec<_>>();
        let at_last = record(u64::MAX - 1, now_ms + HOUR, tick());
        prop_assert_eq!(
            rows(&[&others[..], std::slice::from_ref(&at_last)].concat()),
            rows(&[&records[..], std::slice::from_ref(&at_last)].concat())
        );
    }

    #[test]
    fn an_aborted_transaction_leaves_no_trace(script in script(), cut in 0..120usize) {
        let records = records(&script);
        let cut = cut.min(records.len());
        let mut state = blank();
        let mut outcomes = fold_in(&mut state, &records[..cut], 7);
        let mut aborted = Overlay::on(&state);
        for record in &records[cut..] {
            step(&state, &mut aborted, Input::read(record).unwrap(), &mut Outcomes::default());
        }
        drop(aborted);
        outcomes.extend(fold_in(&mut state, &records[cut..], 7));
        prop_assert_eq!(outcomes, fold_in(&mut blank(), &records, 7));
    }

    #[test]
    fn releasing_bit_by_bit_gives_the_same_outcomes(script in script()) {
        let records = records(&script);
        let mut state = blank();
        let mut outcomes = Vec::new();
        for record in &records {
            let input = Input::read(record).unwrap();
            loop {
                let mut overlay = Overlay::on(&state);
                let mut some = Outcomes::default();
                let before = state.watermark_ms();
                // One byte is room for one conversion.
                let done = release(&state, &mut overlay, &input, &mut some, 1);
                if done {
                    fold(&state, &mut overlay, input.clone(), &mut some, 0);
                }
                prop_assert!(overlay.watermark_ms(&state) >= before, "the watermark never goes back");
                let promised = overlay.watermark_ms(&state);
                state.apply(overlay);
                prop_assert_eq!(state.watermark_ms(), promised);
                outcomes.extend(some.drain().map(|emitted| outcome_of(emitted.value)));
                if done {
                    break;
                }
            }
        }
        prop_assert_eq!(outcomes, fold_in(&mut blank(), &records, usize::MAX));
    }

    #[test]
    fn no_row_is_older_than_a_watermark_before_it(script in script()) {
        let mut state = blank();
        for record in records(&script) {
            let promised = state.watermark_ms();
            for outcome in fold_in(&mut state, &[record], 1) {
                prop_assert!(outcome.process_timestamp_ms >= promised);
            }
        }
    }

    /// Two visitors' events at the same log times may come in either order: each visitor's rows stay the same.
    #[test]
    fn any_interleaving_of_independent_visitors_gives_the_same_rows(script in script(), seed: u64) {
        // Garbage and rejects have no visitor of their own to keep in order; settings must stand where they are.
        let script: Vec<Happening> = script.into_iter()
            .filter(|happening| !matches!(happening.what, What::Garbage | What::Reject { .. })).collect();
        let records = records(&script);
        // Shuffle within runs of equal log time, keeping each visitor's own order.
        let mut shuffled = Vec::new();
        for run in records.chunk_by(|a, b| a.append_time_ms == b.append_time_ms
            && !is_settings(a) && !is_settings(b)) {
            let mut by_visitor: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for record in run {
                let order = xxhash_rust::xxh3::xxh3_64_with_seed(&record.key, seed);
                by_visitor.entry(order).or_default().push(record.clone());
            }
            shuffled.extend(by_visitor.into_values().flatten());
        }
        for (record, place) in shuffled.iter_mut().zip(&records) {
            record.offset = place.offset;
        }
        let rows = |records: &[_]| {
            let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for outcome in fold_in(&mut blank(), records, usize::MAX) {
                rows.entry(visitor_of(&outcome)).or_default().push(row(&outcome));
            }
            // Duplicates name no visitor; their number is what counts.
            rows.get_mut("").into_iter().for_each(|duplicates| duplicates.sort());
            rows
        };
        prop_assert_eq!(rows(&shuffled), rows(&records));
    }
}

fn is_settings(record: &millrace_eventlog::Record) -> bool {
    use millrace_schemas::codec::Versioned;
    let raw = millrace_schemas::raw::Raw::from_versioned(record.version, record.value.clone()).unwrap();
    matches!(raw.body, Some(raw::Body::Settings(_)))
}
