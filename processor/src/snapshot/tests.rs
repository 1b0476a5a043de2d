use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::Record;
use millrace_schemas::layout::{SnapshotName, SnapshotPart, SnapshotShelf};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::step::State;
use crate::store::tests::fold_through;
use crate::store::{STATE_VERSION, Store};
use crate::support::scripts::{records, script};
use crate::support::{DAY, HOUR, T0, blank, converts, decides, fold_in, record, tick};
use millrace_schemas::raw::raw;

const PARTITION: u32 = 5;
const FOR_EVER: Duration = Duration::from_secs(1_000 * 86_400);

/// A bucket, and one owner after the other, each with a local store of its own.
struct Bench {
    bucket: Arc<InMemory>,
    shelf: Shelf,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let bucket = Arc::new(InMemory::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { shelf: Shelf::new(bucket.clone(), "log"), bucket, runtime }
    }

    fn take(&self, store: &Store) -> SnapshotName {
        let view = store.view(PARTITION).unwrap().unwrap();
        self.runtime.block_on(take(&self.shelf, PARTITION, view)).unwrap()
    }

    fn names(&self) -> Vec<SnapshotName> {
        self.runtime.block_on(self.shelf.names(PARTITION)).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        self.runtime.block_on(async {
            use futures::TryStreamExt;
            let mut keys: Vec<_> =
                self.bucket.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
            keys.sort();
            keys
        })
    }

    fn parts(&self, of: impl Fn(SnapshotShelf) -> bool) -> Vec<String> {
        let is = |key: &String| SnapshotPart::of_key(key).is_some_and(|part| of(part.shelf));
        self.keys().into_iter().filter(is).collect()
    }

    fn overwrite(&self, key: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
        self.runtime.block_on(async {
            let path = Path::parse(key).unwrap();
            let bytes = self.bucket.get(&path).await.unwrap().bytes().await.unwrap();
            self.bucket.put(&path, change(bytes.to_vec()).into()).await.unwrap();
        });
    }

    fn remove(&self, key: &str) {
        self.runtime.block_on(self.bucket.delete(&Path::parse(key).unwrap())).unwrap();
    }

    /// A new owner's state, from the newest snapshot at or before `at_most`.
    fn restore(&self, store: &Store, at_most: u64, above: Option<u64>) -> Option<State> {
        let names = self.names();
        let restoring = restore(&self.shelf, store, PARTITION, &names, at_most, above);
        match self.runtime.block_on(restoring).unwrap() {
            Restored::From(name, state) => {
                assert_eq!(state.head().folded, name.folded);
                Some(*state)
            }
            Restored::Nothing => None,
        }
    }
}

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "log").unwrap();
    (folder, store)
}

/// A decision and a conversion each hour.
fn hours(count: u64) -> Vec<Record> {
    let at = |hour: u64| T0 + HOUR * hour as i64;
    let mut records = vec![record(0, T0, raw::Body::Settings(crate::support::settings()))];
    for hour in 0..count {
        let (decision, conversion) = (format!("d{hour}"), format!("c{hour}"));
        let decides = decides("v", &decision, at(hour), &format!("e{}", hour % 5), "a");
        records.push(record(hour * 10 + 1, at(hour), raw::Body::Event(decides)));
        records.push(record(hour * 10 + 2, at(hour), raw::Body::Event(converts("v", &conversion, at(hour)))));
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Snapshots on the way, each naming hours of the ones before; any of them may be the one that is needed.
    #[test]
    fn a_state_from_any_snapshot_folds_on_as_if_nothing_had_been(script in script(), every in 1..6usize, which in 0..40usize) {
        let records = records(&script);
        let bench = Bench::new();
        let (_first, first) = store();
        let mut state = blank();
        for some in records.chunks(every * 3) {
            fold_through(&first, &mut state, some);
            bench.take(&first);
        }
        let names = bench.names();
        let name = names[which % names.len()];
        let (_second, second) = store();
        let mut state = bench.restore(&second, name.folded, None).unwrap();
        prop_assert_eq!(state.head().folded, name.folded);
        let rest: Vec<Record> = records.iter().filter(|record| record.offset >= name.folded).cloned().collect();
        let folded_on = fold_through(&second, &mut state, &rest);
        let at_once = fold_in(&mut blank(), &records, 3);
        prop_assert!(at_once.ends_with(&folded_on), "as if nothing had been");
        // What the new owner's local store holds is whole as well.
        let mut reloaded = second.load(PARTITION).unwrap().unwrap();
        prop_assert_eq!(reloaded.held(), state.held());
        prop_assert!(second.events_stored(PARTITION) <= first.events_stored(PARTITION), "what is forgotten is not put back");
        let more = [record(100_000, state.head().log_time_ms + DAY, tick())];
        prop_assert_eq!(fold_in(&mut reloaded, &more, 1), fold_in(&mut state, &more, 1));
    }
}

#[test]
fn seen_events_of_an_hour_are_put_once_and_named_until_they_are_forgotten() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    let (records, mut state) = (hours(30), blank());
    fold_through(&store, &mut state, &records[..3]);
    bench.take(&store);
    for hour in 1..30 {
        fold_through(&store, &mut state, &records[hour * 2 + 1..hour * 2 + 3]);
        bench.take(&store);
        let shared = bench.parts(|shelf| matches!(shelf, SnapshotShelf::Hour(_)));
        assert_eq!(shared.len(), hour, "one more each hour");
    }
    let newest = *bench.names().last().unwrap();
    let own = bench.parts(|shelf| shelf == SnapshotShelf::At(newest.folded));
    assert_eq!(own.len(), 3, "visitors, held, the present hour: {own:?}");
    let (_other, other) = self::store();
    bench.restore(&other, u64::MAX, None).unwrap();
    assert_eq!(other.events_stored(PARTITION), 60, "each hour's two");
}

#[test]
fn one_snapshot_an_hour_is_enough() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    let (records, mut state) = (hours(2), blank());
    fold_through(&store, &mut state, &records[..2]);
    let first = bench.take(&store);
    fold_through(&store, &mut state, &records[2..3]);
    assert_eq!(bench.take(&store), first);
    fold_through(&store, &mut state, &records[3..]);
    assert!(bench.take(&store) > first);
    assert_eq!(bench.names().len(), 2);
}

#[test]
fn a_damaged_snapshot_is_skipped_for_the_one_before() {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let empty = |_| Vec::new();
    for (name, change) in
        [("cut", &half as &dyn Fn(Vec<u8>) -> Vec<u8>), ("a bit flipped", &flipped), ("emptied", &empty)]
    {
        for object in 0..4 {
            let (bench, (_folder, store)) = (Bench::new(), store());
            let (records, mut state) = (hours(3), blank());
            for some in [&records[..3], &records[3..5], &records[5..]] {
                fold_through(&store, &mut state, some);
                bench.take(&store);
            }
            let (newest, before) = (bench.names()[2], bench.names()[1]);
            let own = bench.parts(|shelf| shelf == SnapshotShelf::At(newest.folded));
            let key = own.get(object).cloned().unwrap_or_else(|| bench.shelf.key(PARTITION, &newest));
            bench.overwrite(&key, change);
            let (_other, other) = self::store();
            let restored = bench.restore(&other, u64::MAX, None).unwrap();
            assert_eq!(restored.head().folded, before.folded, "{key} {name}");
        }
    }
}

#[test]
fn a_damaged_snapshot_costs_no_local_state() {
    let (bench, (_folder, store), (_other, other)) = (Bench::new(), store(), self::store());
    let records = hours(3);
    fold_through(&other, &mut blank(), &records[..3]);
    fold_through(&store, &mut blank(), &records);
    let newest = bench.take(&store);
    let own = bench.parts(|shelf| shelf == SnapshotShelf::At(newest.folded));
    bench.overwrite(&own[1], |_| b"x".to_vec());
    let local = other.folded(PARTITION).unwrap();
    assert!(bench.restore(&other, u64::MAX, local).is_none());
    let kept = other.load(PARTITION).unwrap().unwrap();
    assert_eq!(Some(kept.head().folded), local);
    assert_eq!(kept.held(), 1);
}

#[test]
fn a_snapshot_of_another_state_version_is_skipped() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    fold_through(&store, &mut blank(), &hours(2));
    let name = bench.take(&store);
    let later = SnapshotName { folded: name.folded + 1, state_version: STATE_VERSION + 1, ..name };
    let key = bench.shelf.key(PARTITION, &later);
    bench.runtime.block_on(bench.shelf.create(&key, bytes::Bytes::from_static(b"of a later release"))).unwrap();
    let (_other, other) = self::store();
    assert_eq!(bench.restore(&other, u64::MAX, None).unwrap().head().folded, name.folded);
}

#[test]
fn a_part_that_is_lost_is_put_again_with_the_next_snapshot() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    let (records, mut state) = (hours(3), blank());
    for some in [&records[..3], &records[3..5]] {
        fold_through(&store, &mut state, some);
        bench.take(&store);
    }
    let shared = bench.parts(|shelf| matches!(shelf, SnapshotShelf::Hour(_)));
    bench.remove(&shared[0]);
    fold_through(&store, &mut state, &records[5..]);
    bench.take(&store);
    let (_other, other) = self::store();
    bench.restore(&other, u64::MAX, None).unwrap();
    assert_eq!(other.events_stored(PARTITION), state.sizes().0);
}

#[test]
fn what_is_pruned_is_needed_by_no_snapshot_that_is_kept() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    let (records, mut state) = (hours(24 * 24), blank());
    fold_through(&store, &mut state, &records[..1]);
    for some in records[1..].chunks(2) {
        fold_through(&store, &mut state, some);
        bench.take(&store);
    }
    let before = bench.keys();
    let retention = Duration::from_secs(10 * 86_400);
    let removed = bench.runtime.block_on(prune(&bench.shelf, PARTITION, retention)).unwrap();
    let names = bench.names();
    assert_eq!(before.len() - bench.keys().len(), removed);
    assert_eq!(names.len(), 8 * 24 + 1 + 2, "eight days of hours, and the last of two days more");
    for name in names.iter().take(4).chain(names.iter().skip(4).step_by(60)) {
        let (_other, other) = self::store();
        let restored = bench.restore(&other, name.folded, None).unwrap();
        assert_eq!(restored.head().folded, name.folded, "each that is kept is whole");
    }
    let hour = |key: &String| match SnapshotPart::of_key(key).map(|part| part.shelf) {
        Some(SnapshotShelf::Hour(hour)) => i64::from(hour),
        _ => i64::MAX,
    };
    let oldest = bench.parts(|shelf| matches!(shelf, SnapshotShelf::Hour(_))).iter().map(hour).min().unwrap();
    let floor = names[0].log_time_ms / HOUR - 7 * 24;
    assert!(floor > T0 / HOUR, "some hours are remembered by no snapshot that is kept");
    assert_eq!(oldest, floor, "the hours that only removed ones remembered are gone");
    assert_eq!(bench.runtime.block_on(prune(&bench.shelf, PARTITION, retention)).unwrap(), 0, "once is enough");
    assert_eq!(bench.runtime.block_on(prune(&bench.shelf, PARTITION, FOR_EVER)).unwrap(), 0);
}

#[test]
fn what_an_interrupted_snapshot_left_is_pruned() {
    let (bench, (_folder, store)) = (Bench::new(), store());
    let (records, mut state) = (hours(2), blank());
    fold_through(&store, &mut state, &records[..3]);
    let first = bench.take(&store);
    bench.remove(&bench.shelf.key(PARTITION, &first));
    fold_through(&store, &mut state, &records[3..]);
    bench.take(&store);
    assert!(!bench.parts(|shelf| shelf == SnapshotShelf::At(first.folded)).is_empty());
    bench.runtime.block_on(prune(&bench.shelf, PARTITION, FOR_EVER)).unwrap();
    assert!(bench.parts(|shelf| shelf == SnapshotShelf::At(first.folded)).is_empty());
    let (_other, other) = self::store();
    bench.restore(&other, u64::MAX, None).unwrap();
    assert_eq!(other.events_stored(PARTITION), state.sizes().0);
}
