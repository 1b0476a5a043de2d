//! What a single file looks like to a reader, and where the bounds cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use millrace_clock::ManualClock;
use millrace_exporter_write::{Account, Config, Error};
use millrace_schemas::columns::{self, Column, Kind};
use millrace_schemas::enriched::Kind as EventKind;
use millrace_schemas::export::Manifest;
use millrace_schemas::layout::Codec;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::file::reader::FileReader;
use parquet::record::Field;
use parquet::schema::types::Type;
use support::script::{Doing, Script};
use support::store::{Faults, FaultyStore};
use support::{DAY_1, DAY_MS, Exporter, Folder, account, parquet as read, published};

fn at(process_ms: i64, visitor: &'static str, uuid: &'static str) -> Doing<'static> {
    Doing { account: "acme", visitor, uuid, timestamp_ms: process_ms - 6, process_ms }
}

/// Publishes a script of one partition up to the end of its first day.
async fn closed(script: &Script, config: Config) -> Folder {
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let exporter = Exporter::start(&script.log(100), folder.store(), &[account("acme", DAY_1)], &clock, config, 1);
    published(&exporter, &clock, DAY_1 + DAY_MS).await;
    exporter.stop().await.unwrap();
    folder
}

async fn file_in(folder: &Folder, prefix: &str) -> Bytes {
    let exported = folder.exported().await;
    let mut found = exported.iter().filter(|(key, _)| key.starts_with(prefix) && key.ends_with(".parquet"));
    let (_, bytes) = found.next().unwrap_or_else(|| panic!("no file under {prefix}: {:?}", exported.keys()));
    assert!(found.next().is_none(), "more than one file under {prefix}");
    bytes.clone()
}

/// One of everything, all in the first minute of the day.
fn one_of_everything() -> Script {
    let mut script = Script::new(1);
    script.decided(at(DAY_1 + 1, "ann", "u1"), &[Some("9300")]);
    script.converted(at(DAY_1 + 7, "bob", "u2"), Some("purchase"));
    script.converted(at(DAY_1 + 8, "bob", "u3"), Some("purchase"));
    script.rejected(at(DAY_1 + 9, "cid", "u4"), "no_decision");
    script.dead(at(DAY_1 + 10, "dan", "u5"));
    script.duplicate(at(DAY_1 + 11, "bob", "u3"), EventKind::Conversion);
    script.duplicate(at(DAY_1 + 12, "ann", "u1"), EventKind::Decision);
    script.duplicate(at(DAY_1 + 13, "cid", "u4"), EventKind::Reject);
    script.watermarks(DAY_1 + DAY_MS);
    script
}

fn expected_column(column: &Column) -> (Option<Physical>, ConvertedType) {
    match column.kind {
        Kind::Text => (Some(Physical::BYTE_ARRAY), ConvertedType::UTF8),
        Kind::Timestamp => (Some(Physical::INT64), ConvertedType::TIMESTAMP_MILLIS),
        Kind::Bool => (Some(Physical::BOOLEAN), ConvertedType::NONE),
        Kind::Int => (Some(Physical::INT64), ConvertedType::NONE),
        Kind::Double => (Some(Physical::DOUBLE), ConvertedType::NONE),
        Kind::Binary => (Some(Physical::BYTE_ARRAY), ConvertedType::NONE),
        Kind::List(_) => (None, ConvertedType::LIST),
        Kind::TextMap => (None, ConvertedType::MAP),
    }
}

fn assert_columns(schema: &Type, columns: &[Column]) {
    assert_eq!(
        schema.get_fields().iter().map(|field| field.name()).collect::<Vec<_>>(),
        columns.iter().map(|column| column.name).collect::<Vec<_>>()
    );
    for (field, column) in schema.get_fields().iter().zip(columns) {
        let (physical, converted) = expected_column(column);
        let info = field.get_basic_info();
        assert_eq!(field.is_primitive().then(|| field.get_physical_type()), physical, "{}", column.name);
        assert_eq!(info.converted_type(), converted, "{}", column.name);
        assert_eq!(info.repetition(), Repetition::OPTIONAL, "{}", column.name);
        if column.kind == Kind::Timestamp {
            let Some(LogicalType::Timestamp(timestamp)) = info.logical_type_ref() else { panic!("{}", column.name) };
            assert!(timestamp.is_adjusted_to_u_t_c, "{}", column.name);
        }
        if let Kind::List(of) = column.kind {
            let repeated = &field.get_fields()[0];
            assert_eq!((repeated.name(), repeated.get_fields()[0].name()), ("list", "element"));
            assert_columns(&repeated.get_fields()[0], of);
        }
        if column.kind == Kind::TextMap {
            let entries = &field.get_fields()[0];
            let names: Vec<&str> = entries.get_fields().iter().map(|field| field.name()).collect();
            assert_eq!((entries.name(), names), ("key_value", vec!["key", "value"]));
        }
    }
}

#[tokio::test]
async fn files_have_the_columns_of_their_type_and_say_where_they_come_from() {
    let folder = closed(&one_of_everything(), Config { codec: Codec::Zstd, ..Config::default() }).await;
    let day = "account_id=acme/type=decisions/date=2026-03-10/experiment=9300/part-000000-00060-0000-g0.zstd.parquet";
    assert!(folder.has(&format!("v1/{day}")).await);
    for (prefix, columns) in [
        ("v1/account_id=acme/type=decisions/", columns::DECISIONS),
        ("v1/account_id=acme/type=events/", columns::EVENTS),
        ("rejected/v1/account_id=acme/", columns::REJECTED),
    ] {
        let bytes = file_in(&folder, prefix).await;
        let reader = read::open(&bytes);
        let metadata = reader.metadata();
        assert_columns(metadata.file_metadata().schema(), columns);
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in metadata.file_metadata().key_value_metadata().unwrap() {
            pairs.push((&pair.key, pair.value.as_deref().unwrap()));
        }
        let expected = [
            ("millrace.schema_version", "1"),
            ("millrace.log_id", "test-log"),
            ("millrace.slot", "2026-03-10T00:00:00.000Z/60s"),
        ];
        assert_eq!(pairs, expected);
        assert_eq!(metadata.file_metadata().created_by(), Some("millrace version 0.1.0"));
        let codec = metadata.row_group(0).column(0).compression();
        assert!(matches!(codec, parquet::basic::Compression::ZSTD(_)), "{codec:?}");
    }
}

#[tokio::test]
async fn cells_hold_what_was_sent_and_nothing_is_an_empty_list_not_null() {
    let folder = closed(&one_of_everything(), Config::default()).await;
    let events = read::rows(&file_in(&folder, "v1/account_id=acme/type=events/").await);
    let [odd, even] = &events[..] else { panic!("{} rows", events.len()) };
    assert_eq!((read::text(odd, "uuid").unwrap(), read::text(even, "uuid").unwrap()), ("u2".into(), "u3".into()));
    let list = |row, column| match read::field(row, column) {
        Field::ListInternal(list) => list.len(),
        other => panic!("{column}: {other}"),
    };
    // Odd timestamps carry no experiment, those that three divides an attribute.
    assert_eq!((list(odd, "experiments"), list(even, "experiments")), (0, 1));
    let Field::MapInternal(tags) = read::field(odd, "tags") else { panic!("no map") };
    let tags: Vec<String> = tags.entries().iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(tags, ["\"colour\"=\"red\"", "\"twice\"=\"last\""], "a key is there once, with its last value");
    let Field::MapInternal(properties) = read::field(odd, "properties") else { panic!("no map") };
    assert_eq!(properties.len(), 0);
    assert_eq!(read::field(odd, "quantity"), &Field::Null);
    assert_eq!(read::field(odd, "revenue"), &Field::Long(4_200));
    assert_eq!(read::field(odd, "value"), &Field::Double(9.5));
    assert_eq!(read::text(odd, "event_name").as_deref(), Some("purchase"));
    assert_eq!(read::text(odd, "session_id").as_deref(), Some("-17"));
    assert_eq!(read::text(odd, "account_id").as_deref(), Some("acme"));
    assert_eq!((read::millis(odd, "timestamp"), read::millis(odd, "process_timestamp")), (DAY_1 + 1, DAY_1 + 7));

    let decided = read::rows(&file_in(&folder, "v1/account_id=acme/type=decisions/").await);
    assert_eq!(list(&decided[0], "attributes"), 0);
    assert_eq!(read::field(&decided[0], "is_holdback"), &Field::Bool(false));
    let rejected = read::rows(&file_in(&folder, "rejected/v1/account_id=acme/").await);
    let outcomes: Vec<_> = rejected.iter().map(|row| read::text(row, "outcome").unwrap()).collect();
    assert_eq!(outcomes, ["rejected", "dead"]);
    assert_eq!(read::field(&rejected[0], "original"), &Field::Bytes(b"{\xff}".to_vec().into()));
    assert_eq!(read::field(&rejected[0], "position"), &Field::Long(3));
}

#[tokio::test]
async fn a_reject_for_the_rate_blames_no_field_and_no_place() {
    let mut script = Script::new(1);
    script.rejected(at(DAY_1 + 1, "ann", "u"), "visitor_rate");
    script.watermarks(DAY_1 + DAY_MS);
    let folder = closed(&script, Config::default()).await;
    let rejected = read::rows(&file_in(&folder, "rejected/v1/account_id=acme/").await);
    assert_eq!(read::text(&rejected[0], "reason").as_deref(), Some("visitor_rate"));
    assert_eq!(
        (read::field(&rejected[0], "field"), read::field(&rejected[0], "position")),
        (&Field::Null, &Field::Null)
    );
    let manifest =
        folder.exported().await.remove("rejected/v1/account_id=acme/date=2026-03-10/_manifest.json").unwrap();
    assert_eq!(Manifest::from_json(&manifest).unwrap().rejected.unwrap(), [("visitor_rate".to_owned(), 1)].into());
}

#[tokio::test]
async fn manifests_count_events_duplicates_and_reasons() {
    let folder = closed(&one_of_everything(), Config::default()).await;
    let exported = folder.exported().await;
    let manifest =
        |prefix: &str| Manifest::from_json(&exported[&format!("{prefix}/date=2026-03-10/_manifest.json")]).unwrap();
    let decisions = manifest("v1/account_id=acme/type=decisions");
    let counts = decisions.events.unwrap();
    assert_eq!((decisions.rows, counts.accepted, counts.duplicate, decisions.unattributed), (1, 1, 1, None));
    assert_eq!((decisions.settings, decisions.generation, decisions.log_id.as_str()), (1, 0, "test-log"));
    let events = manifest("v1/account_id=acme/type=events");
    let (counts, unattributed) = (events.events.unwrap(), events.unattributed.unwrap());
    assert_eq!((events.rows, counts.accepted, counts.duplicate), (2, 2, 1));
    assert_eq!((unattributed.no_decision, unattributed.decision_later, unattributed.outside_window), (1, 0, 0));
    assert_eq!(events.files[0].min_timestamp, "2026-03-10T00:00:00.001Z");
    assert_eq!(events.files[0].max_timestamp, "2026-03-10T00:00:00.002Z");
    let rejected = manifest("rejected/v1/account_id=acme");
    assert_eq!((rejected.rows, rejected.dead, rejected.duplicate), (2, Some(1), Some(1)));
    assert_eq!(rejected.rejected.unwrap(), [("no_decision".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_file_is_cut_at_its_rows_and_at_its_bytes_whatever_the_memory() {
    let mut script = Script::new(1);
    const UUIDS: [&str; 7] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6"];
    for uuid in UUIDS {
        script.converted(at(DAY_1 + 1, "ann", uuid), Some("purchase"));
    }
    script.watermarks(DAY_1 + DAY_MS);
    let names = async |config: Config| {
        let exported = closed(&script, config).await.exported().await;
        let rows = |(key, bytes): (&String, &Bytes)| {
            key.ends_with(".parquet").then(|| (key.split('-').nth_back(1).unwrap().to_owned(), read::rows(bytes).len()))
        };
        exported.iter().filter_map(rows).collect::<Vec<_>>()
    };
    let cut = |counts: &[usize]| {
        let name = |(number, rows): (usize, &usize)| (format!("{number:04}"), *rows);
        counts.iter().enumerate().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(Config { rows_per_file: 3, ..Config::default() }).await, cut(&[3, 3, 1]));
    // Every record is larger than this, and still gets a file.
    assert_eq!(names(Config { bytes_per_file: 1, ..Config::default() }).await, cut(&[1; 7]));
}

#[tokio::test]
async fn folders_beyond_the_cap_share_one_in_the_order_of_names() {
    let mut script = Script::new(1);
    let names = ["a", "b", "c", "d", "NULL"];
    for (number, name) in names.iter().enumerate() {
        let visitor = ["zoe", "yan", "xia", "wim", "vic"][number];
        script.converted(at(DAY_1 + 1, visitor, "u1"), Some(name));
        script.converted(at(DAY_1 + 1, visitor, "u2"), Some(name));
    }
    script.converted(at(DAY_1 + 1, "una", "u0"), None);
    script.watermarks(DAY_1 + DAY_MS);
    let folder = closed(&script, Config { folders_per_slot: 3, rows_per_file: 4, ..Config::default() }).await;
    let exported = folder.exported().await;
    let keys: Vec<&str> = exported.keys().filter(|key| key.ends_with(".parquet")).map(String::as_str).collect();
    let day = "v1/account_id=acme/type=events/date=2026-03-10";
    // Null first, then by bytes: capital letters before small ones.
    let file = |folder: &str, number| format!("{day}/event={folder}/part-000000-00060-{number:04}-g0.snappy.parquet");
    let expected = [file("%4EULL", 0), file("NULL", 0), file("a", 0), file("~other", 0), file("~other", 1)];
    assert_eq!(keys, expected);
    let others = [&expected[3], &expected[4]].map(|key| read::rows(&exported[key]));
    let names: Vec<String> = others.iter().flatten().map(|row| read::text(row, "event_name").unwrap()).collect();
    assert_eq!(names, ["b", "b", "c", "c", "d", "d"]);
}

#[tokio::test]
async fn a_day_that_a_rebuild_has_taken_over_is_not_touched() {
    let script = one_of_everything();
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    folder.put("_millrace/generation/acme/events/2026-03-10/1", Bytes::new()).await;
    let exporter =
        Exporter::start(&script.log(9), folder.store(), &[account("acme", DAY_1)], &clock, Config::default(), 1);
    published(&exporter, &clock, DAY_1 + DAY_MS).await;
    exporter.stop().await.unwrap();
    let exported = folder.exported().await;
    assert!(!exported.keys().any(|key| key.contains("/type=events/")), "{:?}", exported.keys());
    assert!(exported.keys().any(|key| key.contains("/type=decisions/")));
}

#[tokio::test]
async fn an_account_has_closed_days_from_that_of_its_creation_to_that_of_its_closing() {
    let mut script = Script::new(1);
    script.watermarks(DAY_1 + 4 * DAY_MS);
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let short = Account { closed_ms: Some(DAY_1 + 2 * DAY_MS + 5), ..account("acme", DAY_1 + DAY_MS + 5) };
    let exporter =
        Exporter::start(&script.log(9), folder.store(), &[short, account("x", DAY_1)], &clock, Config::default(), 1);
    published(&exporter, &clock, DAY_1 + 4 * DAY_MS).await;
    exporter.stop().await.unwrap();
    let exported = folder.exported().await;
    let days: Vec<&str> = exported
        .keys()
        .filter(|key| key.contains("account_id=acme/type=events/") && key.ends_with("_SUCCESS"))
        .map(|key| key.split('/').nth(3).unwrap())
        .collect();
    assert_eq!(days, ["date=2026-03-11", "date=2026-03-12"]);
    let manifest = &exported["v1/account_id=acme/type=events/date=2026-03-11/_manifest.json"];
    assert_eq!(Manifest::from_json(manifest).unwrap().rows, 0);
}

#[tokio::test]
async fn thousands_of_silent_slots_cost_no_object_each() {
    let mut script = Script::new(1);
    for hour in 1..=72 {
        script.watermark(0, DAY_1 + hour * 3_600_000);
    }
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let config = Config { slot: Some(Duration::from_secs(10)), ..Config::default() };
    let exporter = Exporter::start(&script.log(1), folder.store(), &[account("acme", DAY_1)], &clock, config, 1);
    published(&exporter, &clock, DAY_1 + 3 * DAY_MS).await;
    exporter.stop().await.unwrap();
    let objects = folder.everything().await.len();
    assert!(objects < 200, "{objects} objects for 25,920 empty slots");
}

#[tokio::test]
async fn what_cannot_be_exported_ends_it_with_a_clear_error() {
    let start = async |log, folder: &Folder| {
        let clock = ManualClock::at(0);
        Exporter::start(&log, folder.store(), &[], &clock, Config::default(), 1).ended().await
    };
    let script = one_of_everything();
    let truncated = script.log(9);
    truncated.truncate(0, 3);
    let error = start(truncated, &Folder::new()).await;
    assert!(matches!(error, Error::Beginning { partition: 0, start: 3 }), "{error}");

    let newer = script.log(9);
    newer.write(0, 2, Bytes::new());
    let error = start(newer, &Folder::new()).await;
    assert!(matches!(error, Error::Record { .. }) && error.to_string().contains("upgrade"), "{error}");

    let foreign = Folder::new();
    foreign.put("_millrace/segments/another-log/millrace.enriched/00000/00000000000000000000", Bytes::new()).await;
    let error = start(script.log(9), &foreign).await;
    assert!(error.to_string().contains("another-log"), "{error}");

    let damaged = Folder::new();
    damaged
        .put("_millrace/segments/test-log/millrace.enriched/00000/00000000000000000000", Bytes::from_static(b"?"))
        .await;
    let error = start(script.log(9), &damaged).await;
    assert!(matches!(error, Error::Object { .. }), "{error}");
}

#[tokio::test]
async fn a_store_whose_creates_overwrite_is_refused_at_start() {
    let (folder, clock) = (Folder::new(), ManualClock::at(0));
    let store = FaultyStore::new(folder.store(), Faults::Overwrites);
    let exporter = Exporter::start(&one_of_everything().log(9), store, &[], &clock, Config::default(), 1);
    let error = exporter.ended().await;
    assert!(matches!(error, Error::InexactStore { won: 10 }), "{error}");
    assert!(folder.exported().await.is_empty());
}

#[tokio::test]
async fn the_digest_of_the_rows_is_the_same_whatever_the_codec_and_another_for_other_rows() {
    let files = async |script: &Script, codec| {
        let exported = closed(script, Config { codec, ..Config::default() }).await.exported().await;
        let manifest = &exported["v1/account_id=acme/type=events/date=2026-03-10/_manifest.json"];
        Manifest::from_json(manifest).unwrap().files
    };
    let named = |name: Option<&str>| {
        let mut script = Script::new(1);
        script.converted(at(DAY_1 + 7, "bob", "u2"), name);
        script.watermarks(DAY_1 + DAY_MS);
        script
    };
    let snappy = files(&named(Some("a")), Codec::Snappy).await.remove(0);
    let zstd = files(&named(Some("a")), Codec::Zstd).await.remove(0);
    assert_eq!(snappy.rows_sha256, zstd.rows_sha256);
    assert_ne!(snappy.sha256, zstd.sha256);
    let other = files(&named(None), Codec::Snappy).await.remove(0);
    assert_ne!(snappy.rows_sha256, other.rows_sha256);
}
