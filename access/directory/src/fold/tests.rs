use bytes::Bytes;
use millrace_schemas::access::{AccountChanged, AccountCreated, Version, fact};
use millrace_schemas::codec::Versioned;

use super::*;

fn record(offset: Offset, version: u32, value: Bytes) -> Record {
    Record { offset, append_time_ms: 1_000 + offset.cast_signed(), version, key: Bytes::new(), value }
}

fn created(id: &str, account: &str, relied: &[(&str, u64)], writes: &[&str]) -> Fact {
    Fact {
        id: id.into(),
        relied: relied
            .iter()
            .map(|(entity, version)| Version { entity: (*entity).into(), version: *version })
            .collect(),
        writes: writes.iter().map(ToString::to_string).collect(),
        change: Some(fact::Change::AccountCreated(AccountCreated { account_id: account.into(), name: id.into() })),
        ..Fact::default()
    }
}

/// Folds facts one after the other; the verdicts.
fn fold(fold: &mut Fold, facts: &[Fact]) -> Vec<Verdict> {
    let from = fold.directory.position;
    let fold_one =
        |(offset, fact): (Offset, &Fact)| fold.record(record(offset, Fact::VERSION, fact.to_bytes())).unwrap().verdict;
    (from..).zip(facts).map(fold_one).collect()
}

fn account_name(fold: &Fold, id: &str) -> Option<String> {
    fold.directory.account(&AccountId::parse(id).unwrap()).map(|account| account.name.clone())
}

#[test]
fn a_fact_whose_expectations_hold_is_applied_and_what_it_writes_goes_up_by_one() {
    let mut state = Fold::default();
    let facts = [
        created("a", "1", &[("account/1", 0), ("x/y", 0)], &["account/1"]),
        created("b", "1", &[("account/1", 1)], &["account/1"]),
    ];
    assert_eq!(fold(&mut state, &facts), [Verdict::Applied, Verdict::Applied]);
    assert_eq!((state.directory.version("account/1"), state.directory.version("x/y")), (2, 0));
    assert_eq!(account_name(&state, "1").as_deref(), Some("b"));
}

#[test]
fn a_fact_that_expects_another_version_is_void_and_leaves_everything_as_it_is() {
    for wrong in [0, 2, u64::MAX] {
        let mut state = Fold::default();
        fold(&mut state, &[created("a", "1", &[("account/1", 0)], &["account/1"])]);
        let before = state.directory.clone();
        let void = created("b", "1", &[("x/y", 0), ("account/1", wrong)], &["account/1"]);
        assert_eq!(fold(&mut state, &[void]), [Verdict::Void]);
        assert_eq!(state.directory.position, before.position + 1);
        state.directory.position = before.position;
        assert!(state.directory == before);
    }
}

#[test]
fn a_fact_id_that_was_seen_is_void_even_if_it_was_void_before() {
    let mut state = Fold::default();
    let facts = [
        created("a", "1", &[("account/1", 7)], &["account/1"]),
        created("a", "1", &[("account/1", 0)], &["account/1"]),
        created("b", "2", &[("account/2", 0)], &["account/2"]),
        created("b", "3", &[("account/3", 0)], &["account/3"]),
    ];
    assert_eq!(fold(&mut state, &facts), [Verdict::Void, Verdict::Void, Verdict::Applied, Verdict::Void]);
    assert_eq!(state.directory.account_count(), 1);
}

#[test]
fn what_is_written_must_be_relied_on_and_written_once() {
    let mut state = Fold::default();
    let facts = [
        created("a", "1", &[], &["account/1"]),
        created("b", "1", &[("account/1", 0)], &["account/1", "name/n"]),
        created("c", "1", &[("account/1", 0)], &["account/1", "account/1"]),
    ];
    assert_eq!(fold(&mut state, &facts), [Verdict::Void; 3]);
    assert_eq!(state.directory.version("account/1"), 0);
}

#[test]
fn the_time_of_a_change_is_the_logs_and_not_the_nodes() {
    let mut state = Fold::default();
    let fact = Fact { made_ms: 99, ..created("a", "1", &[("account/1", 0)], &["account/1"]) };
    state.record(record(41, 1, fact.to_bytes())).unwrap();
    assert_eq!(state.directory.account(&AccountId::parse("1").unwrap()).unwrap().created_ms, 1_041);
    assert_eq!(state.directory.position, 42);
}

#[test]
fn a_newer_version_stops_before_the_record() {
    let mut state = Fold::default();
    let fact = created("a", "1", &[("account/1", 0)], &["account/1"]);
    let newer = state.record(record(5, Fact::VERSION + 1, fact.to_bytes())).unwrap_err();
    assert_eq!((newer.offset, newer.version, newer.known), (5, Fact::VERSION + 1, Fact::VERSION));
    assert_eq!((state.directory.position, state.directory.account_count()), (0, 0));
}

#[test]
fn what_cannot_be_read_is_void() {
    let relied = [("account/1", 0)];
    let impossible = [
        Bytes::from_static(b"\xff\xff\xff"),
        Bytes::new(),
        created("a", "not/an/account", &relied, &["account/1"]).to_bytes(),
        Fact { change: None, ..created("b", "1", &relied, &["account/1"]) }.to_bytes(),
    ];
    let mut state = Fold::default();
    for value in impossible {
        let folded = state.record(record(state.directory.position, 1, value)).unwrap();
        assert_eq!(folded, Folded { fact_id: None, verdict: Verdict::Void });
    }
    assert_eq!(state.directory.version("account/1"), 0);
    // Its id was not read, so it was not seen.
    assert_eq!(fold(&mut state, &[created("a", "1", &relied, &["account/1"])]), [Verdict::Applied]);
}

#[test]
fn a_change_of_what_does_not_exist_changes_nothing_else() {
    let mut state = Fold::default();
    let changed = AccountChanged { account_id: "1".into(), slot_ms: Some(60_000), origins: None };
    let fact = Fact {
        change: Some(fact::Change::AccountChanged(changed)),
        ..created("a", "1", &[("account/1", 0)], &["account/1"])
    };
    assert_eq!(fold(&mut state, &[fact]), [Verdict::Applied]);
    assert_eq!((state.directory.account_count(), state.directory.version("account/1")), (0, 1));
}

#[test]
fn a_published_copy_does_not_change_when_the_fold_goes_on() {
    let mut state = Fold::default();
    let account = |number: u64| created(&number.to_string(), &number.to_string(), &[], &[]);
    fold(&mut state, &(0..500).map(account).collect::<Vec<_>>());
    let copy = state.directory.clone();
    fold(&mut state, &(500..1_000).map(account).collect::<Vec<_>>());
    assert_eq!((copy.account_count(), state.directory.account_count()), (500, 1_000));
    assert_eq!(copy.accounts().count(), 500);
}
