use std::collections::BTreeSet;

use millrace_directory::AccountId;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use super::*;
use millrace_directory::scope::Scope;

const ROOT: &str = "v1/account_id=12/";

fn scope() -> Scope {
    Scope::validate(AccountId::parse("12").unwrap(), None, None).unwrap()
}

/// What S3 says of a listing, the slow and certain way: every key, in byte order.
fn as_s3_would(
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &After,
    most: usize,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix) && after.is_before(key)) {
        let group = delimiter.and_then(|delimiter| {
            let at = key[prefix.len()..].find(delimiter)?;
            Some(key[..prefix.len() + at + delimiter.len()].to_owned())
        });
        match group {
            Some(group) if after.names(&group) => {}
            Some(group) if found.last() == Some(&group) => {}
            Some(group) => found.push(group),
            None => found.push(key.clone()),
        }
        if found.len() == most {
            break;
        }
    }
    found
}

async fn fill(store: &dyn ObjectStore, keys: &BTreeSet<String>) {
    for key in keys {
        store.put(&Path::parse(key).unwrap(), key.clone().into_bytes().into()).await.unwrap();
    }
}

/// Keys and groups of a page in one order; checks that each stands where it belongs.
fn flat(page: &Page) -> Vec<String> {
    let keys: Vec<String> = page.objects.iter().map(|meta| meta.location.to_string()).collect();
    assert!(keys.is_sorted() && page.groups.is_sorted());
    let mut all: Vec<String> = keys.into_iter().chain(page.groups.iter().cloned()).collect();
    all.sort();
    all
}

async fn check(
    store: &dyn ObjectStore,
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: Option<&str>,
    start: After,
    most: usize,
) {
    let scope = scope();
    let allowed = scope.allow_prefix(&format!("{ROOT}{prefix}")).unwrap();
    let expected = as_s3_would(keys, allowed.as_str(), delimiter, &start, usize::MAX);
    let mut after = start;
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = page(store, &scope, &allowed, delimiter, after, most).await.unwrap();
        let got = flat(&page);
        assert!(got.len() <= most);
        seen.extend(got);
        match page.next {
            Some(next) => {
                assert!(seen.len() < expected.len(), "said there is more, after {seen:?} of {expected:?}");
                after = next;
            }
            None => break,
        }
    }
    assert_eq!(seen, expected, "prefix {prefix:?}, delimiter {delimiter:?}, {most} at once");
}

/// Names whose order is easily got wrong: `-` and `!` come before `/`, `0` after it.
fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop_oneof![Just("a"), Just("a-b"), Just("a!"), Just("a0"), Just("b"), Just("event=x%3Ay"), Just("é")];
    let key = prop::collection::vec(name, 1..4).prop_map(|names| format!("{ROOT}{}", names.join("/")));
    // In a folder tree a name is a file or a folder, not both.
    prop::collection::btree_set(key, 0..24).prop_map(|keys| {
        let is_folder = |key: &String| keys.iter().any(|other| other.starts_with(&format!("{key}/")));
        keys.iter().filter(|key| !is_folder(key)).cloned().collect()
    })
}

fn position() -> impl Strategy<Value = After> {
    let text = prop_oneof![
        Just("a"),
        Just("a/"),
        Just("a-b/a"),
        Just("a/a0"),
        Just(""),
        Just("b/"),
        Just("event"),
        Just("zz")
    ];
    prop_oneof![
        Just(After::Start),
        text.prop_map(|text| After::Key(format!("{ROOT}{text}"))),
        Just(After::Key("v1/".to_owned())),
        Just(After::Key("v2".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_listing_is_what_s3_would_say(
        keys in keys(),
        prefix in prop_oneof![Just(""), Just("a"), Just("a/"), Just("a/a"), Just("event="), Just("nothing/")],
        delimiter in prop_oneof![Just(None), Just(Some("/")), Just(Some("-")), Just(Some("a/"))],
        start in position(),
        most in 1..7_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = InMemory::new();
            fill(&memory, &keys).await;
            check(&memory, &keys, prefix, delimiter, start.clone(), most).await;
            let folder = tempfile::tempdir().unwrap();
            let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
            fill(&local, &keys).await;
            check(&local, &keys, prefix, delimiter, start, most).await;
        });
    }
}

#[tokio::test]
async fn a_folder_without_a_key_and_a_file_in_progress_do_not_show() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let root = folder.path().join(ROOT);
    std::fs::create_dir_all(root.join("empty/below")).unwrap();
    std::fs::create_dir_all(root.join("progress")).unwrap();
    std::fs::write(root.join("progress/part.parquet#1"), "half").unwrap();
    std::fs::create_dir_all(root.join("whole")).unwrap();
    std::fs::write(root.join("whole/part.parquet"), "all of it").unwrap();
    let scope = scope();
    let prefix = scope.allow_prefix(ROOT).unwrap();
    let folders = page(&store, &scope, &prefix, Some("/"), After::Start, 10).await.unwrap();
    assert_eq!(flat(&folders), [format!("{ROOT}whole/")]);
    let files = page(&store, &scope, &prefix, None, After::Start, 10).await.unwrap();
    assert_eq!(flat(&files), [format!("{ROOT}whole/part.parquet")]);
}

#[tokio::test]
async fn a_listing_of_a_range_of_days_holds_its_days_only() {
    let store = InMemory::new();
    let day = |day: u32| format!("{ROOT}type=events/date=2026-01-{day:02}/event=a/part");
    let keys: BTreeSet<String> = (1..=9).map(day).collect();
    fill(&store, &keys).await;
    let account = AccountId::parse("12").unwrap();
    let scope = Scope::validate(account, Some("events"), Some("2026-01-03..2026-01-04")).unwrap();
    let prefix = scope.allow_prefix(&scope.prefix()).unwrap();
    for delimiter in [None, Some("/")] {
        let page = page(&store, &scope, &prefix, delimiter, After::Start, 10).await.unwrap();
        let days: Vec<bool> = flat(&page).iter().map(|key| key.contains("-03/") || key.contains("-04/")).collect();
        assert_eq!(days, [true, true], "{:?}", flat(&page));
    }
}

#[tokio::test]
async fn nothing_below_a_file_and_nothing_at_a_missing_folder() {
    let store = InMemory::new();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let keys = BTreeSet::from([format!("{ROOT}a")]);
    fill(&store, &keys).await;
    fill(&local, &keys).await;
    for prefix in ["a/", "a/b/c", "b/", &"x".repeat(300), &format!("{}/", "x".repeat(300))] {
        check(&store, &keys, prefix, Some("/"), After::Start, 3).await;
        check(&local, &keys, prefix, Some("/"), After::Start, 3).await;
    }
}

#[tokio::test]
async fn ten_thousand_keys_of_a_local_folder_come_once_each_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let root = folder.path().join(ROOT);
    for experiment in ["1", "1-b", "2"] {
        let day = root.join(format!("type=decisions/date=2026-03-01/experiment={experiment}"));
        std::fs::create_dir_all(&day).unwrap();
        for file in 0..3_400 {
            std::fs::write(day.join(format!("part-{file:06}-00010-0000-g0.snappy.parquet")), "").unwrap();
        }
    }
    let scope = scope();
    let prefix = scope.allow_prefix(ROOT).unwrap();
    let (mut after, mut keys) = (After::Start, Vec::new());
    loop {
        let page = page(&store, &scope, &prefix, None, after, 1_000).await.unwrap();
        keys.extend(page.objects.into_iter().map(|meta| meta.location.to_string()));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(keys.len(), 10_200);
    assert!(keys.windows(2).all(|two| two[0] < two[1]), "each key once, in byte order");
}
