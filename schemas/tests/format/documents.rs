//! Golden files of the export's own documents: what one release puts into a bucket, every later one reads.

use std::path::Path;

use chrono::NaiveDate;
use millrace_schemas::export::{
    EventCounts, Manifest, ManifestFile, Plan, Published, PublishedFile, RECORD_VERSION, Reached, SCHEMA_VERSION,
    Succession, UnattributedCounts,
};

const DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 3, 10).unwrap();

fn plan() -> Plan {
    Plan {
        version: RECORD_VERSION,
        log_id: "log".into(),
        shard: 3,
        date: DATE,
        default_slot_ms: 60_000,
        slots_ms: [("acme".to_owned(), 10_000)].into(),
        rows_per_file: 1_000_000,
        bytes_per_file: 256 << 20,
        folders_per_slot: 1_000,
        codec: "snappy".into(),
        generation: 1,
    }
}

fn succession() -> Succession {
    Succession {
        version: RECORD_VERSION,
        log_id: "new".into(),
        succeeds: "old".into(),
        first_ms: 1_773_100_800_000,
        generation: 2,
    }
}

fn published() -> Published {
    Published {
        version: RECORD_VERSION,
        log_id: "log".into(),
        shard: 3,
        through_ms: 1_773_100_860_000,
        previous_ms: 1_773_100_800_000,
        settings_version: 7,
        segments: vec![Reached { partition: 1, from: 10, end: 20, watermark_ms: 1_773_100_861_000 }],
        files: vec![PublishedFile {
            account_id: "acme".into(),
            of_type: "decisions".into(),
            folder: "experiment=9300".into(),
            key: "v1/account_id=acme/type=decisions/date=2026-03-10/experiment=9300/a.parquet".into(),
            rows: 2,
            bytes: 1_234,
            sha256: "0a".repeat(32),
            rows_sha256: "0b".repeat(32),
            min_timestamp_ms: 1_773_100_801_000,
            max_timestamp_ms: 1_773_100_802_000,
        }],
    }
}

fn manifest(of_type: &str) -> Manifest {
    let rejected = of_type == "rejected";
    Manifest {
        account_id: "acme".into(),
        of_type: of_type.into(),
        date: DATE,
        schema_version: SCHEMA_VERSION,
        release: "0.1.0".into(),
        log_id: "log".into(),
        generation: 1,
        settings: 7,
        rows: 2,
        files: vec![ManifestFile {
            key: "v1/account_id=acme/a.parquet".into(),
            rows: 2,
            bytes: 1_234,
            sha256: "0a".repeat(32),
            rows_sha256: "0b".repeat(32),
            min_timestamp: "2026-03-10T00:00:01.000Z".into(),
            max_timestamp: "2026-03-10T00:00:02.000Z".into(),
        }],
        events: (!rejected).then_some(EventCounts { accepted: 2, duplicate: 1 }),
        unattributed: (of_type == "events").then_some(UnattributedCounts {
            no_decision: 1,
            decision_later: 2,
            outside_window: 3,
        }),
        rejected: rejected.then(|| [("out_of_range".to_owned(), 2)].into()),
        dead: rejected.then_some(4),
        duplicate: rejected.then_some(5),
    }
}

/// `written` is what the golden file holds, and reading the file gives the same value again.
fn check<T: PartialEq + std::fmt::Debug>(name: &str, value: &T, written: &[u8], read: impl FnOnce(&[u8]) -> T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.v{RECORD_VERSION}.json"));
    if std::env::var_os("MILLRACE_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(&golden), "{name}: what is written changed");
    assert_eq!(&read(&golden), value, "{name}: what is read changed");
}

#[test]
fn the_exports_documents_are_written_and_read_as_they_were() {
    let (plan, succession, published) = (plan(), succession(), published());
    check("export-plan", &plan, &plan.to_json(), |json| Plan::from_json(json).unwrap());
    check("export-succession", &succession, &succession.to_json(), |json| Succession::from_json(json).unwrap());
    check("export-published", &published, &published.to_json(), |json| Published::from_json(json).unwrap());
    for of_type in ["decisions", "events", "rejected"] {
        let manifest = manifest(of_type);
        let name = format!("export-manifest-{of_type}");
        check(&name, &manifest, &manifest.to_json(), |json| Manifest::from_json(json).unwrap());
    }
}
