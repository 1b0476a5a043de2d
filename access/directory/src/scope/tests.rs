use proptest::prelude::*;

use super::*;

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn scope(id: &str, export: Option<&str>, date: Option<&str>) -> Scope {
    Scope::validate(account(id), export, date).unwrap()
}

/// Follows `//`, `.`, `..`, backslashes and (twice) percent-encoding, as the most obliging backend would.
fn as_a_hostile_backend_reads(key: &str) -> String {
    let mut text = key.to_owned();
    for _ in 0..2 {
        for (escape, plain) in [("%2e", "."), ("%2E", "."), ("%5c", "\\"), ("%5C", "\\")] {
            text = text.replace(escape, plain);
        }
    }
    let mut out: Vec<&str> = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            name => out.push(name),
        }
    }
    out.join("/")
}

/// Text made of the pieces an attacker would use.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("//".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("%2e%2E".to_owned()),
        Just("%2f".to_owned()),
        Just("%252e".to_owned()),
        Just("\\".to_owned()),
        Just("\0".to_owned()),
        Just("v1/".to_owned()),
        Just("rejected/v1/".to_owned()),
        Just("_millrace/".to_owned()),
        Just("account_id=12".to_owned()),
        Just("account_id=123".to_owned()),
        Just("type=decisions/".to_owned()),
        Just("type=events/".to_owned()),
        Just("date=2026-01-01/".to_owned()),
        Just("date=2026-01-03/".to_owned()),
        "[a-z=%~ é]{0,4}",
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let export = prop_oneof![Just(None), Just(Some("decisions")), Just(Some("rejected")), Just(Some("audit"))];
    let date = prop_oneof![Just(None), Just(Some("2026-01-01")), Just(Some("2026-01-01..2026-01-02"))];
    (export, date).prop_map(|(export, date)| scope("12", export, date.filter(|_| export.is_some())))
}

proptest! {
    #[test]
    fn no_key_outside_the_prefix_is_ever_allowed(
        scope in any_scope(),
        tail in tricky(),
        rooted in any::<bool>(),
    ) {
        let asked = if rooted { format!("{}{tail}", scope.prefix()) } else { tail };
        if let Some(key) = scope.allow_key(&asked) {
            prop_assert!(key.as_str().starts_with(&scope.prefix()), "{key} is outside {}", scope.prefix());
            let reached = as_a_hostile_backend_reads(key.as_str());
            prop_assert!(reached.starts_with(&scope.prefix()), "{asked:?} would reach {reached:?}");
            prop_assert_eq!(reached.matches('/').count(), key.as_str().matches('/').count(), "{} -> {}", key, reached);
        }
        if let Some(prefix) = scope.allow_prefix(&asked) {
            prop_assert!(prefix.as_str().starts_with(&scope.prefix()));
            let reached = format!("{}/", as_a_hostile_backend_reads(prefix.as_str()));
            prop_assert!(reached.starts_with(&scope.prefix()), "{asked:?} would reach {reached:?}");
        }
    }

    #[test]
    fn every_key_of_the_layout_is_allowed(name in ".{0,40}", type_at in 0..2_usize) {
        let export = [ExportType::Decisions, ExportType::Events][type_at];
        let id = account("12");
        let day = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        let folder = layout::folder(export.folder_key().unwrap(), Some(&name));
        let key = format!("{}{folder}/part-000000-00010-0000-g0.snappy.parquet", layout::date_prefix(&id, export, day));
        for scope in [
            scope("12", None, None),
            scope("12", Some(export.name()), None),
            scope("12", Some(export.name()), Some("2026-01-02")),
            scope("12", Some(export.name()), Some("2026-01-01..2026-01-02")),
        ] {
            prop_assert_eq!(scope.allow_key(&key).map(|key| key.0), Some(key.clone()));
        }
        prop_assert!(!scope("1", None, None).allows_key(&key));
        prop_assert!(!scope("123", None, None).allows_key(&key));
        prop_assert!(!scope("12", Some(export.name()), Some("2026-01-03")).allows_key(&key));
        prop_assert!(!scope("12", Some(export.name()), Some("2026-01-03..2026-01-09")).allows_key(&key));
    }

    #[test]
    fn a_listing_comes_back_in_the_spelling_it_was_asked_in(slashes in 0..4_usize, tail in "[a-z=]{0,9}") {
        let asked = format!("v1/account_id=12/{}type=events/{tail}", "/".repeat(slashes));
        let prefix = scope("12", None, None).allow_prefix(&asked).unwrap();
        let key = format!("{}zz/part", prefix.as_str());
        prop_assert!(prefix.to_client(&key).starts_with(&asked));
        prop_assert_eq!(prefix.from_client(&prefix.to_client(&key)), key);
    }
}

#[test]
fn the_prefix_of_account_12_never_opens_123() {
    let scope = scope("12", None, None);
    assert!(scope.allows_key("v1/account_id=12/type=events/x"));
    for outside in ["v1/account_id=123/type=events/x", "v1/account_id=12", "v1/account_id=1", "v1/", "", "/"] {
        assert!(!scope.allows_key(outside), "{outside}");
        assert!(!scope.allows_prefix(outside), "{outside}");
    }
}

#[test]
fn a_default_scope_never_holds_rejects_audit_or_ours() {
    let scope = scope("12", None, None);
    for outside in ["rejected/v1/account_id=12/date=2026-01-01/x", "audit/v1/account_id=12/x", "_millrace/segments/x"] {
        assert!(!scope.allows_key(outside) && !scope.allows_prefix(outside), "{outside}");
    }
}

#[test]
fn dots_and_slashes_inside_are_refused_and_slashes_after_the_account_are_one() {
    let scope = scope("12", None, None);
    for escape in
        ["type=events//x", "type=events/../x", "./x", "..", "%2E%2e/x", "type=events/.%2e/x", "a\\..\\x", "x/"]
    {
        assert!(!scope.allows_key(&format!("v1/account_id=12/{escape}")), "{escape}");
    }
    let key = scope.allow_key("v1/account_id=12///type=events/x").unwrap();
    assert_eq!(key.as_str(), "v1/account_id=12/type=events/x");
    assert!(!scope.allows_key("v1//account_id=12/type=events/x"));
    assert!(!scope.allows_prefix("v1/account_id=12/type=events//"));
    assert!(!scope.allows_prefix("v1/account_id=12/.."));
    assert!(scope.allows_prefix("v1/account_id=12/type=dec"));
    assert!(!scope.allows_key(&format!("v1/account_id=12/{}", "x".repeat(SCOPE_KEY_BYTES_MAX))));
}

#[test]
fn a_range_of_days_opens_its_days_only() {
    let scope = scope("12", Some("events"), Some("2026-01-31..2026-02-01"));
    assert_eq!(scope.prefix(), "v1/account_id=12/type=events/");
    for (day, inside) in [("2026-01-30", false), ("2026-01-31", true), ("2026-02-01", true), ("2026-02-02", false)] {
        let folder = format!("v1/account_id=12/type=events/date={day}/");
        assert_eq!(scope.may_hold(&folder), inside, "{day}");
        assert_eq!(scope.allows_key(&format!("{folder}_SUCCESS")), inside, "{day}");
    }
    assert!(!scope.allows_key("v1/account_id=12/type=events/stray"));
    assert!(scope.allows_prefix("v1/account_id=12/type=events/date=2026"));
}

#[test]
fn a_scope_is_validated() {
    let refused = |export, date| Scope::validate(account("12"), export, date).unwrap_err();
    assert_eq!(refused(Some("decision"), None), ScopeError::UnknownType);
    assert_eq!(refused(Some(""), None), ScopeError::UnknownType);
    assert_eq!(refused(None, Some("2026-01-01")), ScopeError::DateWithoutType);
    for bad in ["", "2026-1-1", "2026-02-30", "+026-01-01", "2026-01-01/", "2026-01-01..", "..", "٢٠٢٦-01-01", "today"]
    {
        assert_eq!(refused(Some("events"), Some(bad)), ScopeError::BadDate, "{bad}");
    }
    assert_eq!(refused(Some("events"), Some("2026-01-02..2026-01-01")), ScopeError::Backwards);
    assert_eq!(refused(Some("events"), Some("2026-01-01..2027-02-05")), ScopeError::TooManyDays);
    assert_eq!(scope("12", Some("events"), Some("2026-01-01..2027-02-04")).days().unwrap(), "2026-01-01..2027-02-04");
}

#[test]
fn a_scope_shows_in_its_prefix() {
    assert_eq!(scope("12", None, None).prefix(), "v1/account_id=12/");
    assert_eq!(scope("12", Some("decisions"), None).prefix(), "v1/account_id=12/type=decisions/");
    assert_eq!(
        scope("12", Some("decisions"), Some("2026-01-01")).prefix(),
        "v1/account_id=12/type=decisions/date=2026-01-01/"
    );
    assert_eq!(scope("12", Some("rejected"), None).prefix(), "rejected/v1/account_id=12/");
    assert_eq!(scope("12", Some("audit"), Some("2026-01-01")).prefix(), "audit/v1/account_id=12/date=2026-01-01/");
}
