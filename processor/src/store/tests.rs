use proptest::prelude::*;

use super::*;
use crate::step::{Input, Outcomes, Overlay, fold, step};
use crate::support::scripts::{records, script};
use crate::support::{T0, blank, converts, decides, fold_in, outcome_of, record};
use millrace_eventlog::Record;
use millrace_schemas::raw::raw;

/// Folds records in transactions of three, each written to the store after it was applied.
pub(crate) fn fold_through(
    store: &Store,
    state: &mut State,
    records: &[Record],
) -> Vec<millrace_schemas::enriched::Outcome> {
    let mut folded = Vec::new();
    for transaction in records.chunks(3) {
        let mut overlay = Overlay::on(state);
        let mut outcomes = Outcomes::default();
        for record in transaction {
            step(state, &mut overlay, Input::read(record).unwrap(), &mut outcomes);
        }
        let changes = Changes::of(state, &overlay);
        let swept = state.apply(overlay);
        store.commit(5, changes, swept).unwrap();
        folded.extend(outcomes.drain().map(|emitted| outcome_of(emitted.value)));
    }
    folded
}

/// Enough for a state that holds something: a visitor, a seen event.
fn one_decision() -> Record {
    record(0, T0, raw::Body::Event(decides("v", "u", T0, "e", "a")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn folding_in_two_halves_through_the_store_equals_folding_at_once(script in script(), cut in 0..120usize) {
        let records = records(&script);
        let (first, second) = records.split_at(cut.min(records.len() - 1) + 1);
        let folder = tempfile::tempdir().unwrap();
        let mut outcomes = {
            let store = Store::open(folder.path(), "log").unwrap();
            fold_through(&store, &mut blank(), first)
        };
        let store = Store::open(folder.path(), "log").unwrap();
        let mut state = store.load(5).unwrap().unwrap();
        prop_assert_eq!(state.head().folded, first.last().unwrap().offset + 1);
        outcomes.extend(fold_through(&store, &mut state, second));
        prop_assert_eq!(outcomes, fold_in(&mut blank(), &records, 3));
    }

    #[test]
    fn a_state_that_rests_on_the_store_folds_as_one_that_has_all_in_memory(script in script(), events in 1..8usize) {
        let records = records(&script);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "log").unwrap();
        let mut state = blank();
        state.rest_on(store.below(5));
        state.with_generations_of(events);
        let (first, second) = records.split_at(records.len() / 2);
        let mut outcomes = fold_through(&store, &mut state, first);
        rewrite_tables(&store);
        outcomes.extend(fold_through(&store, &mut state, second));
        prop_assert_eq!(outcomes, fold_in(&mut blank(), &records, 3));
    }

    /// What recovery does: fold without releasing, hold from where the record says.
    #[test]
    fn recovery_holds_what_the_record_says_whatever_the_grace(script in script(), cut in 0..120usize) {
        let records = records(&script);
        let (first, second) = records.split_at(cut.min(records.len() - 1) + 1);
        let mut state = blank();
        let mut outcomes = fold_in(&mut state, first, 3);
        let released = state.released();
        let mut recovered = blank();
        for some in first.chunks(2) {
            let mut overlay = Overlay::on(&recovered);
            for record in some {
                let input = Input::read(record).unwrap();
                fold(&recovered, &mut overlay, input, &mut Outcomes::default(), released);
            }
            recovered.apply(overlay);
        }
        recovered.drop_released(released);
        prop_assert_eq!(recovered.held(), state.held());
        prop_assert_eq!(recovered.watermark_ms(), state.watermark_ms());
        outcomes.extend(fold_in(&mut recovered, second, 3));
        prop_assert_eq!(outcomes, fold_in(&mut blank(), &records, 3));
    }
}

#[test]
fn a_store_of_another_log_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), "one").unwrap());
    let wrong = Store::open(folder.path(), "other").err().unwrap();
    assert!(matches!(&wrong, StoreError::OtherLog { stored, here } if stored == "one" && here == "other"), "{wrong}");
    assert!(Store::open(folder.path(), "one").is_ok());
}

#[test]
fn state_that_does_not_decode_is_thrown_away_when_the_store_is_opened_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    fold_through(&store, &mut blank(), &[one_decision()]);
    let broken = key(5u32.to_be_bytes(), &[&7u64.to_be_bytes()]);
    store.held.insert(broken, b"\xff").unwrap();
    assert!(matches!(store.load(5), Err(StoreError::Damaged(_))));
    drop(store);
    let store = Store::open(folder.path(), "log").unwrap();
    assert!(store.load(5).unwrap().is_none());
    assert!(store.visitors.is_empty().unwrap(), "nothing is left to be mixed with what is folded anew");
}

#[test]
fn a_store_that_is_still_read_is_not_opened_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    StoreError::Damaged(Damage::Database(fjall::Error::Unrecoverable)).mark(folder.path());
    let reading = store.below(5);
    drop(store);
    let second = Store::open(folder.path(), "log");
    assert!(matches!(second, Err(StoreError::Failed(fjall::Error::Locked))), "thrown away under its reader");
    drop(reading);
    assert!(Store::open(folder.path(), "log").is_ok());
}

#[test]
fn a_store_that_broke_off_is_read_whole_and_used_on_if_nothing_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    fold_through(&store, &mut blank(), &[one_decision()]);
    StoreError::Failed(fjall::Error::Poisoned).mark(folder.path());
    assert!(suspicion_marker(folder.path()).exists());
    drop(store);
    let store = Store::open(folder.path(), "log").unwrap();
    assert!(!suspicion_marker(folder.path()).exists());
    assert!(store.load(5).unwrap().is_some());
}

#[test]
fn a_snapshot_does_not_hold_what_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    let mut state = blank();
    let day = 86_400_000;
    fold_through(&store, &mut state, &[one_decision()]);
    assert_eq!(store.view(5).unwrap().unwrap().visitors().count(), 1);
    fold_through(&store, &mut state, &[record(1, T0 + 200 * day, crate::support::tick())]);
    assert_eq!(store.view(5).unwrap().unwrap().visitors().count(), 0);
    assert_eq!(store.visitors.len().unwrap(), 1, "its table was not rewritten");
}

#[test]
fn a_visitor_that_does_not_decode_stops_the_fold_and_is_thrown_away_when_the_store_is_opened_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    fold_through(&store, &mut blank(), &[one_decision()]);
    let only = store.visitors.iter().next().unwrap().key().unwrap();
    store.visitors.insert(only, b"\xff").unwrap();
    let state = store.load(5).unwrap().unwrap();
    let mut overlay = Overlay::on(&state);
    let next = record(1, T0, raw::Body::Event(converts("v", "c", T0)));
    step(&state, &mut overlay, Input::read(&next).unwrap(), &mut Outcomes::default());
    let reason = overlay.is_whole().unwrap_err();
    assert!(reason.contains("damaged"), "{reason}");
    drop((overlay, state, store));
    assert!(Store::open(folder.path(), "log").unwrap().load(5).unwrap().is_none());
}

#[test]
fn a_damaged_store_is_thrown_away_when_it_is_opened_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    fold_through(&store, &mut blank(), &[one_decision()]);
    StoreError::Damaged(Damage::Database(fjall::Error::Unrecoverable)).mark(folder.path());
    drop(store);
    let store = Store::open(folder.path(), "log").unwrap();
    assert!(store.load(5).unwrap().is_none());
    drop(store);
    assert!(Store::open(folder.path(), "log").is_ok(), "thrown away once, not for ever");
}

#[test]
fn what_state_forgets_the_store_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    let mut state = blank();
    let day = 86_400_000;
    let event = |offset, body| record(offset, T0, raw::Body::Event(body));
    let records = [
        event(0, decides("v", "u", T0, "e", "a")),
        event(1, converts("v", "c", T0)),
        record(2, T0 + 98 * day, crate::support::tick()),
        record(3, T0 + 99 * day, crate::support::tick()),
        record(4, T0 + 100 * day, crate::support::tick()),
        record(5, T0 + 101 * day, crate::support::tick()),
    ];
    fold_through(&store, &mut state, &records[..2]);
    rewrite_tables(&store);
    assert_eq!((store.visitors.len().unwrap(), store.events.len().unwrap()), (1, 2), "nothing is forgotten yet");
    fold_through(&store, &mut state, &records[2..]);
    rewrite_tables(&store);
    assert_eq!(state.sizes(), (0, 0), "seen events and visitors in memory");
    assert!(store.visitors.is_empty().unwrap());
    assert!(store.events.is_empty().unwrap());
    assert!(store.seen.is_empty().unwrap());
    assert!(store.held.is_empty().unwrap());
}

/// What happens to every table sooner or later.
fn rewrite_tables(store: &Store) {
    for keyspace in [&store.visitors, &store.events] {
        keyspace.rotate_memtable_and_wait().unwrap();
        keyspace.major_compact().unwrap();
    }
}

#[test]
fn a_state_folded_anew_finds_what_a_later_one_had_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    let day = 86_400_000;
    fold_through(&store, &mut blank(), &[one_decision(), record(1, T0 + 200 * day, crate::support::tick())]);
    store.clear(5).unwrap();
    fold_through(&store, &mut blank(), &[one_decision()]);
    rewrite_tables(&store);
    assert_eq!((store.visitors.len().unwrap(), store.events.len().unwrap()), (1, 1));
}

#[test]
fn a_visitors_rate_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let few = millrace_schemas::raw::Settings { events_per_visitor_minute_max: 1, ..crate::support::settings() };
    let event = |offset, uuid| record(offset, T0, raw::Body::Event(decides("v", uuid, T0, "e", "a")));
    let first = [record(0, T0, raw::Body::Settings(few)), event(1, "one")];
    fold_through(&Store::open(folder.path(), "log").unwrap(), &mut blank(), &first);
    let mut state = Store::open(folder.path(), "log").unwrap().load(5).unwrap().unwrap();
    let outcomes = fold_in(&mut state, &[event(2, "two")], 1);
    assert_eq!(crate::support::kind(&outcomes[0]), "rejected");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The files as they lie there while the store is open are what a killed process leaves.
    #[test]
    fn what_a_killed_process_leaves_is_the_state_at_its_last_transaction(script in script(), cut in 0..120usize, torn in 0..64u64) {
        let records = records(&script);
        let (first, second) = records.split_at(cut.min(records.len() - 1) + 1);
        let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(folder.path(), "log").unwrap();
        let mut outcomes = fold_through(&store, &mut blank(), first);
        copy(folder.path(), left.path());
        let survivor = Store::open(left.path(), "log").unwrap();
        let mut state = survivor.load(5).unwrap().unwrap();
        prop_assert_eq!(state.head().folded, first.last().unwrap().offset + 1);
        outcomes.extend(fold_through(&survivor, &mut state, second));
        let at_once = fold_in(&mut blank(), &records, 3);
        prop_assert_eq!(&outcomes, &at_once);
        drop(survivor);
        if let Some(mut earlier) = torn_store(left.path(), folder.path(), torn) {
            let folded = earlier.head().folded;
            let rest: Vec<Record> = records.iter().filter(|record| record.offset >= folded).cloned().collect();
            prop_assert!(at_once.ends_with(&fold_in(&mut earlier, &rest, 3)), "a state of no transaction's end");
        }
    }
}

/// Cuts the newest journal short, as a power cut may: what is left is the state at an earlier transaction, or none.
fn torn_store(left: &Path, origin: &Path, torn: u64) -> Option<State> {
    let again = left.join("again");
    copy(origin, &again);
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let mut journals: Vec<PathBuf> = std::fs::read_dir(again.join(DATABASE))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(is_journal)
        .collect();
    journals.sort();
    let newest = journals.pop().expect("an open store has a journal");
    let journal = std::fs::OpenOptions::new().write(true).open(&newest).unwrap();
    let length = journal.metadata().unwrap().len();
    journal.set_len(length * torn / 64).unwrap();
    match Store::open(&again, "log").and_then(|store| store.load(5)) {
        Ok(state) => state,
        Err(StoreError::Damaged(_)) => None,
        Err(wrong) => panic!("neither a state nor damage: {wrong}"),
    }
}
