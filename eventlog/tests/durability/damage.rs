use std::fs;
use std::path::{Path, PathBuf};

use millrace_clock::SystemClock;
use millrace_eventlog::embedded::{EmbeddedLog, Lost, OpenError, Options};
use millrace_eventlog::{Log, ReadError};

use super::{Acknowledged, DEADLINE, INPUT, PARTITIONS, TOPICS, open, record};

/// A closed log whose records are all in its journal.
async fn in_the_journal(folder: &Path) -> Acknowledged {
    let log = open(folder).unwrap();
    let mut acknowledged = Acknowledged::default();
    for n in 0..60u32 {
        let value = vec![n as u8; 1 + 31 * n as usize];
        let appended = log.append(INPUT, vec![record(n % PARTITIONS, value.clone())]).await.unwrap();
        let hash = xxhash_rust::xxh3::xxh3_64(&value);
        acknowledged.0.insert((appended[0].partition, appended[0].offset), hash);
    }
    log.close();
    acknowledged
}

fn journal(folder: &Path) -> PathBuf {
    let mut journals: Vec<_> = fs::read_dir(folder.join("store")).unwrap().map(|entry| entry.unwrap().path()).collect();
    journals.retain(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    journals.sort();
    journals.pop().unwrap()
}

fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn refusal(folder: &Path) -> (PathBuf, Lost, String) {
    match open(folder) {
        Err(error @ OpenError::Damaged { .. }) => {
            let text = error.to_string();
            let OpenError::Damaged { file, lost, .. } = error else { unreachable!() };
            (file, lost.unwrap_or_else(|| panic!("no lost offset: {text}")), text)
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("a damaged log was opened"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_the_journal_is_refused_by_name_and_offset_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = in_the_journal(folder.path()).await;
    let file = journal(folder.path());
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[used(&whole) / 2] ^= 0x10;
    fs::write(&file, &damaged).unwrap();
    for _ in 0..2 {
        let (named, lost, text) = refusal(folder.path());
        assert_eq!(named.file_name(), file.file_name());
        assert!(
            text.contains(file.file_name().unwrap().to_str().unwrap()) && text.contains("first lost offset"),
            "{text}"
        );
        assert_eq!(lost.topic, INPUT);
        assert!(acknowledged.0.contains_key(&(lost.partition, lost.first)), "{lost} is one that was acknowledged");
        assert!(fs::read(&file).unwrap() == damaged, "the file is as it was");
    }
    fs::write(&file, &whole).unwrap();
    let log = open(folder.path()).expect("restored, it opens");
    acknowledged.compare(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_and_no_cut_anywhere_in_the_journal_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = in_the_journal(folder.path()).await;
    let original = tempfile::tempdir().unwrap();
    copy(folder.path(), original.path());
    let whole = fs::read(journal(folder.path())).unwrap();
    let used = used(&whole);
    let mut random = 7u64;
    for round in 0..60 {
        random = xxhash_rust::xxh3::xxh3_64(&random.to_le_bytes());
        let at = random as usize % used;
        let mut damaged = whole.clone();
        if round % 3 == 0 {
            damaged.truncate(at);
        } else {
            damaged[at] ^= 1 << (round % 8);
        }
        fs::write(journal(folder.path()), &damaged).unwrap();
        match open(folder.path()) {
            Err(OpenError::Damaged { .. }) => {
                assert!(fs::read(journal(folder.path())).unwrap() == damaged, "byte {at}: the file is as it was");
            }
            Err(other) => panic!("byte {at}, round {round}: {other}"),
            // A byte that means nothing to the records (the store's own sequence number, say).
            Ok(log) => {
                acknowledged.compare(&log).await;
                log.close();
            }
        }
        fs::remove_dir_all(folder.path().join("store")).unwrap();
        copy(original.path(), folder.path());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_at_the_end_is_cut_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = in_the_journal(folder.path()).await;
    for torn in [1, 12, 40, 200, 1500] {
        let file = journal(folder.path());
        let mut bytes = fs::read(&file).unwrap();
        let end = used(&bytes);
        // The beginning of a commit, as a power cut may leave it: some of it written, some not, later parts there.
        let begun = bytes[..torn].to_vec();
        bytes.truncate(end);
        bytes.extend_from_slice(&begun);
        bytes.extend_from_slice(&[0; 700]);
        bytes.extend_from_slice(b"FJL\x03");
        bytes.resize(end + 100_000, 0);
        fs::write(&file, &bytes).unwrap();
        let log = open(folder.path()).unwrap_or_else(|error| panic!("{torn} bytes torn: {error}"));
        acknowledged.compare(&log).await;
        let appended = log.append(INPUT, vec![record(1, "after")]).await.unwrap();
        acknowledged.0.insert((1, appended[0].offset), xxhash_rust::xxh3::xxh3_64(b"after"));
        log.close();
    }
    acknowledged.compare(&open(folder.path()).unwrap()).await;
}

/// A closed log with many records of input/0 in table files.
async fn in_tables(folder: &Path) -> Acknowledged {
    let log = open(folder).unwrap();
    let mut acknowledged = Acknowledged::default();
    for n in 0..48u32 {
        let mut value = Vec::with_capacity(1 << 20);
        let mut word = u64::from(n);
        while value.len() < 1 << 20 {
            word = xxhash_rust::xxh3::xxh3_64(&word.to_le_bytes());
            value.extend_from_slice(&word.to_le_bytes());
        }
        let hash = xxhash_rust::xxh3::xxh3_64(&value);
        let appended = log.append(INPUT, vec![record(0, value)]).await.unwrap();
        acknowledged.0.insert((0, appended[0].offset), hash);
    }
    let flushed = async {
        while log.facts().partitions[0].bytes < 16 << 20 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, flushed).await.expect("a full memtable is flushed");
    // One more commit, so that the list of tables is written after the flush.
    log.append(INPUT, vec![record(1, "small")]).await.unwrap();
    log.close();
    acknowledged
}

fn largest_table(folder: &Path) -> PathBuf {
    let mut tables = Vec::new();
    for keyspace in fs::read_dir(folder.join("store/keyspaces")).unwrap() {
        if let Ok(entries) = fs::read_dir(keyspace.unwrap().path().join("tables")) {
            tables.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    tables.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_refused_by_name_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = in_tables(folder.path()).await;
    let file = largest_table(folder.path());
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut footer = whole.clone();
    footer[whole.len() - 20] ^= 1;
    for (what, bytes) in [
        ("flipped", Some(&flipped[..])),
        ("cut", Some(&whole[..whole.len() / 2])),
        ("footer", Some(&footer)),
        ("gone", None),
    ] {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let (named, lost, text) = refusal(folder.path());
        assert!(named.ends_with(file.strip_prefix(folder.path()).unwrap()), "{what}: {text}");
        assert_eq!((lost.topic, lost.partition), (INPUT, 0), "{what}: {text}");
        assert!(lost.first < lost.end, "{what}: {text}");
        if what == "flipped" {
            assert_eq!(lost.first, first_unreadable(folder.path()).await.0, "{text}");
        }
        fs::write(&file, &whole).unwrap();
    }
    acknowledged.compare(&open(folder.path()).expect("restored, it opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_beyond_what_opening_checks_is_told_by_the_read_that_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    in_tables(folder.path()).await;
    let file = largest_table(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (next, error) = first_unreadable(folder.path()).await;
    match error {
        ReadError::Damaged { offset, reason, .. } => {
            assert_eq!(offset, next, "everything before was read");
            assert!(reason.contains(file.file_name().unwrap().to_str().unwrap()), "{reason}");
        }
        other => panic!("another error: {other}"),
    }
    let losses = unchecked(folder.path()).verify().unwrap_err();
    assert_eq!((losses.len(), losses[0].0.topic, losses[0].0.partition), (1, INPUT, 0));
    assert_eq!(losses[0].0.first, next);
}

fn unchecked(folder: &Path) -> std::sync::Arc<EmbeddedLog> {
    let options = Options { verify_bytes: 0, ..Options::default() };
    EmbeddedLog::open(folder, &TOPICS, SystemClock::shared(), options).unwrap()
}

/// Reads input/0 from its beginning: where that ends, and why.
async fn first_unreadable(folder: &Path) -> (u64, ReadError) {
    let log = unchecked(folder);
    let mut next = 0;
    loop {
        match log.read(INPUT, 0, next, 1 << 20).await {
            Ok(chunk) => next = chunk.next,
            Err(error) => return (next, error),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_is_missing_or_emptied_the_log_does_not_come_up_short() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = in_the_journal(folder.path()).await;
    let original = tempfile::tempdir().unwrap();
    copy(folder.path(), original.path());
    let mut files = Vec::new();
    list(original.path(), original.path(), &mut files);
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        for emptied in [false, true] {
            let path = folder.path().join(&file);
            if emptied {
                fs::write(&path, b"").unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            match open(folder.path()) {
                Err(OpenError::Damaged { .. } | OpenError::Other { .. }) => {}
                Err(other) => panic!("{}: {other}", file.display()),
                Ok(log) => {
                    acknowledged.compare(&log).await;
                    log.close();
                }
            }
            fs::remove_dir_all(folder.path()).unwrap();
            copy(original.path(), folder.path());
        }
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(root, &path, files) } else { files.push(path.strip_prefix(root).unwrap().to_owned()) }
    }
}
