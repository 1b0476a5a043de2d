//! No text from an event reaches outside its own prefix, and two names never share a folder.

use std::collections::HashMap;

use chrono::NaiveDate;
use millrace_schemas::layout::{
    AccountId, Codec, ExportType, Slot, SnapshotName, SnapshotPart, SnapshotShelf, date_of, date_prefix, folder,
    folder_other, part_name, snapshot_parts_prefix, start_of,
};
use millrace_schemas::limits::FOLDER_SEGMENT_BYTES_MAX;
use proptest::prelude::*;

const DAY_MS: i64 = 86_400_000;

#[test]
fn names_are_escaped_as_hive_escapes_them() {
    let cases = [
        (None, "event=NULL"),
        (Some("NULL"), "event=%4EULL"),
        (Some("null"), "event=null"),
        (Some("%4EULL"), "event=%254EULL"),
        (Some("add:to:cart"), "event=add%3Ato%3Acart"),
        (Some("a/b=c"), "event=a%2Fb%3Dc"),
        (Some("../../etc"), "event=..%2F..%2Fetc"),
        (Some(""), "event="),
        (Some("tab\there"), "event=tab%09here"),
        (Some("\u{7f}"), "event=%7F"),
        (Some("~other"), "event=%7Eother"),
        (Some("größe 😀"), "event=größe 😀"),
        (Some("\u{ffff}"), "event=%EF%BF%BF"),
    ];
    for (name, expected) in cases {
        assert_eq!(folder("event", name), expected, "{name:?}");
    }
    assert_eq!(folder_other("event"), "event=~other");
}

#[test]
fn a_segment_of_200_bytes_is_whole_and_a_longer_one_ends_in_its_hash() {
    let whole = "x".repeat(FOLDER_SEGMENT_BYTES_MAX - "event=".len());
    assert_eq!(folder("event", Some(&whole)), format!("event={whole}"));
    let cut = folder("event", Some(&format!("{whole}x")));
    // SHA-256 of 195 x: the first 16 digits, by another implementation.
    assert_eq!(cut, format!("event={}~{}", "x".repeat(177), SHA_195_X));
    // Never inside an escape: three bytes each, so two are left over.
    let escaped = folder("event", Some(&":".repeat(100)));
    assert!(escaped.len() <= FOLDER_SEGMENT_BYTES_MAX && escaped.starts_with(&format!("event={}~", "%3A".repeat(59))));
    // Never inside a character.
    let wide = folder("event", Some(&"😀".repeat(100)));
    assert!(wide.starts_with(&format!("event={}~", "😀".repeat(44))), "{wide}");
}

const SHA_195_X: &str = "f6d860739371a233";

/// Names that look alike to code that is careless, and arbitrary ones.
fn name() -> impl Strategy<Value = Option<String>> {
    let near = prop::sample::select(
        &[
            "NULL",
            "%4EULL",
            "%254EULL",
            "null",
            "",
            ".",
            "..",
            "~",
            "~other",
            "%7Eother",
            "%7E",
            "%",
            "%25",
            "a/b",
            "a%2Fb",
            "a%2fb",
            "a//b",
            "/a",
            "a/",
            "a=b",
            "a%3Db",
            "\0",
            "%00",
            "\\",
            "é",
            "e\u{301}",
            "\u{ffff}",
            "%EF%BF%BF",
            " ",
            "  ",
        ][..],
    );
    let long = (0..12usize, "[a:é😀/]{1,3}", 60..220usize)
        .prop_map(|(extra, unit, count)| format!("{}{}", unit.repeat(count), "y".repeat(extra)));
    prop_oneof![
        1 => Just(None),
        3 => near.prop_map(|name| Some(name.to_owned())),
        3 => any::<String>().prop_map(Some),
        3 => long.prop_map(Some),
        2 => "[%~A-F0-9/.=:]{0,12}".prop_map(Some),
    ]
}

/// Undoes the escapes, by another way than they were made.
fn unescape(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_is_one_short_segment_of_plain_characters(name in name()) {
        let folder = folder("event", name.as_deref());
        prop_assert!(folder.len() <= FOLDER_SEGMENT_BYTES_MAX, "{} bytes", folder.len());
        let value = folder.strip_prefix("event=").unwrap();
        prop_assert!(!value.contains(|c: char| c.is_ascii_control() || "/\\=:\"#'*?{}[]^".contains(c) || c == '\u{fffe}' || c == '\u{ffff}'), "{folder}");
        // Split as a store splits it, the key has exactly the segments we gave it.
        let account = AccountId::parse("acme").unwrap();
        let prefix = date_prefix(&account, ExportType::Events, NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
        let key = format!("{prefix}{folder}/part");
        prop_assert_eq!(key.split('/').count(), 6);
        prop_assert!(key.split('/').all(|segment| !["", ".", ".."].contains(&segment)), "{}", key);
        prop_assert!(key.starts_with("v1/account_id=acme/type=events/date=2026-03-01/event="));
    }

    #[test]
    fn a_folder_reads_back_as_its_name_unless_it_was_cut(name in name()) {
        let folder = folder("event", name.as_deref());
        let value = folder.strip_prefix("event=").unwrap();
        match (value.split_once('~'), name) {
            (None, None) => prop_assert_eq!(value, "NULL"),
            (None, Some(name)) => prop_assert_eq!(unescape(value), Some(name)),
            (Some((kept, hash)), Some(name)) => {
                let kept = unescape(kept);
                prop_assert!(kept.as_deref().is_some_and(|kept| name.starts_with(kept)), "cut inside an escape or a character: {folder}");
                prop_assert!(hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
                prop_assert!(folder.len() > FOLDER_SEGMENT_BYTES_MAX - 12, "not cut more than needed: {folder}");
            }
            (Some(_), None) => prop_assert!(false, "null is cut"),
        }
    }

    #[test]
    fn two_names_never_share_a_folder(names in prop::collection::vec(name(), 2..40)) {
        let mut seen: HashMap<String, Option<String>> = HashMap::new();
        for name in names {
            let folder = folder("experiment", name.as_deref());
            prop_assert_ne!(&folder, &folder_other("experiment"));
            let before = seen.insert(folder.clone(), name.clone());
            prop_assert!(before.is_none() || before == Some(name), "{folder}");
        }
    }

    #[test]
    fn a_slot_holds_its_time_and_never_reaches_over_midnight(time_ms in 0..4_102_444_800_000_i64, seconds in prop::sample::select(&[1, 10, 60, 300, 900, 3_600, 21_600, 86_400_i64][..])) {
        let slot = Slot::of(time_ms, seconds * 1_000);
        prop_assert!(slot.start_ms <= time_ms && time_ms < slot.end_ms());
        prop_assert_eq!(date_of(slot.start_ms), date_of(time_ms));
        prop_assert!(slot.end_ms() <= start_of(slot.date()) + DAY_MS);
        prop_assert_eq!(Slot::of(slot.start_ms, seconds * 1_000), slot);
        prop_assert_eq!(Slot::of(slot.end_ms() - 1, seconds * 1_000), slot);
        prop_assert_eq!(Slot::of(slot.end_ms(), seconds * 1_000).start_ms, slot.end_ms());
    }

    #[test]
    fn only_harmless_texts_are_accounts(text: String, good in "[0-9A-Za-z_-]{1,64}") {
        let harmless = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        prop_assert_eq!(AccountId::parse(&text).is_some(), harmless(&text));
        prop_assert!(AccountId::parse(&good).is_some());
    }
}

#[test]
fn part_names_say_slot_number_and_generation() {
    let start = start_of(NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
    let slot = Slot::of(start + 13 * 3_600_000 + 5 * 60_000 + 9_999, 10_000);
    assert_eq!(part_name(slot, 7, 0, Codec::Snappy), "part-130500-00010-0007-g0.snappy.parquet");
    let last = Slot::of(start + DAY_MS - 1, 21_600_000);
    assert_eq!(part_name(last, 12_345, 2, Codec::Zstd), "part-180000-21600-12345-g2.zstd.parquet");
}

#[test]
fn each_type_has_its_own_prefix() {
    let account = AccountId::parse("12").unwrap();
    let prefixes = [ExportType::Decisions, ExportType::Events, ExportType::Rejected, ExportType::Audit]
        .map(|export| export.prefix(&account));
    let expected = [
        "v1/account_id=12/type=decisions/",
        "v1/account_id=12/type=events/",
        "rejected/v1/account_id=12/",
        "audit/v1/account_id=12/",
    ];
    assert_eq!(prefixes, expected);
}

#[test]
fn a_snapshots_key_tells_position_version_and_log_time() {
    let name = SnapshotName { folded: 1_234, state_version: 7, log_time_ms: 1_790_553_600_000 };
    let key = name.key("log", 3);
    assert_eq!(key, "_millrace/snapshots/log/00003/00000000000000001234-7-01790553600000");
    assert_eq!(SnapshotName::of_key(&key), Some(name));
    for other in [
        "",
        "_millrace/snapshots/log/00003/1234-7-01790553600000",
        "_millrace/snapshots/log/00003/00000000000000001234-7",
        "_millrace/snapshots/log/00003/00000000000000001234--01790553600000",
        "_millrace/snapshots/log/00003/00000000000000001234-7-01790553600000-1",
        "_millrace/snapshots/log/00003/00000000000000001234-+7-01790553600000",
        "_millrace/snapshots/log/00003/99999999999999999999-7-01790553600000",
    ] {
        assert_eq!(SnapshotName::of_key(other), None, "{other}");
    }
}

#[test]
fn a_parts_key_tells_whose_it_is() {
    for (shelf, key) in [
        (SnapshotShelf::At(1_234), "_millrace/snapshot-parts/log/00003/7/at-00000000000000001234/00ff"),
        (SnapshotShelf::Hour(497_376), "_millrace/snapshot-parts/log/00003/7/hour-0000497376/00ff"),
    ] {
        let part = SnapshotPart { state_version: 7, shelf, sha256: "00ff".into() };
        assert_eq!(part.key("log", 3), key);
        assert_eq!(SnapshotPart::of_key(key), Some(part));
        assert!(key.starts_with(&snapshot_parts_prefix("log", 3)));
    }
    for other in ["", "7/at-1/00", "7/hour-497376/00", "7/other-0000497376/00", "x/hour-0000497376/00"] {
        assert_eq!(SnapshotPart::of_key(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn snapshots_sort_by_position(one in any::<u64>(), other in any::<u64>()) {
        let key = |folded| SnapshotName { folded, state_version: 1, log_time_ms: 0 }.key("log", 0);
        prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
    }
}
