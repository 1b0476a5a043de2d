//! Opening the folder: take the lock, read the mark, judge the journals, open the store, check the chain.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::head::{Commit, Extents, Span};
use super::identity::{Identity, Topics};
use super::journal::{self, Fault, Scan};
use super::mark::{Mark, MarkFile};
use super::store::Store;
use super::tables;
use super::{Lost, OpenError, Options};
use crate::limits::PARTITIONS_MAX;
use crate::{Offset, TopicSpec};

const STORE: &str = "store";
const MARK: &str = "mark";

/// An opened folder.
pub(super) struct Opened {
    pub(super) id: String,
    pub(super) made_now: bool,
    pub(super) topics: Topics,
    pub(super) mark: MarkFile,
    pub(super) store: Store,
    pub(super) commit: Commit,
}

/// The store's folder within the log's.
pub(super) fn store_folder(folder: &Path) -> PathBuf {
    folder.join(STORE)
}

/// Makes the folder, with all above it, so that a power cut does not take it away again.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(folder)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Opens the log in `folder`, or makes one. The caller holds the lock.
pub(super) fn open(folder: &Path, wanted: &[TopicSpec], options: &Options) -> Result<Opened, OpenError> {
    let known = Identity::read(folder)?;
    let made_now = known.is_none();
    let mut identity = match known {
        Some(identity) => identity,
        None => {
            clear_unfinished(folder)?;
            Identity { id: options.new_id(), topics: Vec::new() }
        }
    };
    let (specs, grown) = identity.reconcile(wanted, folder)?;
    let topics = Topics::new(specs);
    if topics.count() > PARTITIONS_MAX {
        let reason = format!("{} partitions are more than {PARTITIONS_MAX}", topics.count());
        return Err(OpenError::Incompatible { folder: folder.to_owned(), reason });
    }
    let mark_path = folder.join(MARK);
    let (mut mark_file, mark) = if made_now {
        let nothing = vec![Extents::default(); topics.count()];
        let file = MarkFile::create(&mark_path, nothing).map_err(|error| OpenError::io(&mark_path, error))?;
        (file, Mark::default())
    } else {
        read_mark(&mark_path)?
    };
    let (store, mut commit) = open_store(folder, &topics, &mark)?;
    commit.spans.resize(topics.count(), Span::default());
    if grown {
        // Last: a folder without this file was never finished, and nothing in it was ever acknowledged.
        identity.write(folder).map_err(|error| OpenError::io(folder, error))?;
    }
    verify(folder, &store, &topics, &commit, options.verify_bytes)?;
    // What is there beyond the mark was whole in the journal; from here on it counts as acknowledged.
    let extents: Vec<_> = commit.spans.iter().map(|span| span.extents()).collect();
    mark_file.write(commit.number, &extents).map_err(|error| OpenError::io(&mark_path, error))?;
    tables::write(folder, &store, &topics);
    Ok(Opened { id: identity.id, made_now, topics, mark: mark_file, store, commit })
}

// A log's identity is written last when it is made. Without one, nothing here was acknowledged, unless the mark says so.
fn clear_unfinished(folder: &Path) -> Result<(), OpenError> {
    let mark_path = folder.join(MARK);
    let store = store_folder(folder);
    let acknowledged = match MarkFile::open(&mark_path) {
        Ok(Some((_, mark))) => mark.commit > 0,
        Ok(None) => holds_commits(&store)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => holds_commits(&store)?,
        Err(error) => return Err(OpenError::io(&mark_path, error)),
    };
    if acknowledged {
        return Err(OpenError::Damaged {
            file: folder.join("log"),
            lost: None,
            reason: "the file is missing, but the end mark or the journals show that records were acknowledged".into(),
        });
    }
    if store.exists() {
        fs::remove_dir_all(&store).map_err(|error| OpenError::io(&store, error))?;
    }
    Ok(())
}

fn holds_commits(store: &Path) -> Result<bool, OpenError> {
    if !store.exists() {
        return Ok(false);
    }
    let scan = journal::scan(store, None).map_err(|error| OpenError::io(store, error))?;
    Ok(scan.last.is_some())
}

fn read_mark(path: &Path) -> Result<(MarkFile, Mark), OpenError> {
    let damaged = |reason: &str| OpenError::Damaged { file: path.to_owned(), lost: None, reason: reason.into() };
    match MarkFile::open(path) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(damaged("neither page of the end mark is whole: what was acknowledged is not known")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(damaged("the end mark is missing: what was acknowledged is not known"))
        }
        Err(error) => Err(OpenError::io(path, error)),
    }
}

/// Judges the journals, cuts an unacknowledged tail, opens the store and compares it with the mark.
pub(super) fn open_store(folder: &Path, topics: &Topics, mark: &Mark) -> Result<(Store, Commit), OpenError> {
    let store_folder = store_folder(folder);
    tables::check(folder, topics, mark)?;
    let scan = if store_folder.exists() {
        Some(journal::scan(&store_folder, None).map_err(|error| OpenError::io(&store_folder, error))?)
    } else {
        None
    };
    let kept = match &scan {
        Some(scan) => settle(scan, topics, mark)?,
        None => None,
    };
    let opened = open_and_compare(folder, topics, mark, scan);
    if let (Err(_), Some(file)) = (&opened, kept) {
        // It was acknowledged after all.
        put_back(&file).map_err(|error| OpenError::io(&file, error))?;
    }
    opened
}

fn open_and_compare(
    folder: &Path,
    topics: &Topics,
    mark: &Mark,
    scan: Option<Scan>,
) -> Result<(Store, Commit), OpenError> {
    let store_folder = store_folder(folder);
    let store = guarded(|| Store::open(&store_folder, &topics.names())).map_err(|error| {
        match tables::culprit(folder, topics) {
            Some((file, lost)) => {
                OpenError::Damaged { file, lost, reason: format!("the store does not open: {error}") }
            }
            None => OpenError::store(&store_folder, error),
        }
    })?;
    let commit = store.last_commit().map_err(|error| OpenError::store(&store_folder, error))?.unwrap_or_default();
    let in_journal = scan.as_ref().and_then(|scan| scan.last.as_ref()).map_or(0, |last| last.number);
    if commit.number < mark.commit.max(in_journal) {
        let file = scan.and_then(|scan| scan.newest).unwrap_or(store_folder);
        return Err(OpenError::Damaged {
            file,
            lost: first_lost(topics, Some(&commit), mark),
            reason: format!("commit {} was acknowledged, but the store ends at commit {}", mark.commit, commit.number),
        });
    }
    Ok((store, commit))
}

// The store panics over some kinds of damage; that is a refusal like any other.
fn guarded<T>(open: impl FnOnce() -> fjall::Result<T>) -> fjall::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).unwrap_or(Err(fjall::Error::Unrecoverable))
}

// Refuses where acknowledged records would be cut; cuts what was never acknowledged; leaves everything else alone. Answers with a journal
// of which a copy is kept, as only the opened store tells whether it held acknowledged records.
fn settle(scan: &Scan, topics: &Topics, mark: &Mark) -> Result<Option<PathBuf>, OpenError> {
    match judge(scan, mark) {
        Verdict::Sound => Ok(None),
        Verdict::Cut { file, at, keep_copy } => {
            if keep_copy {
                fs::copy(&file, copy_of(&file)).map_err(|error| OpenError::io(&file, error))?;
            }
            tracing::info!(file = %file.display(), at, "cutting a commit that was never acknowledged");
            journal::cut(&file, at).map_err(|error| OpenError::io(&file, error))?;
            Ok(keep_copy.then_some(file))
        }
        Verdict::Lost { file, reason } => {
            Err(OpenError::Damaged { file, lost: first_lost(topics, scan.last.as_ref(), mark), reason })
        }
    }
}

fn copy_of(journal: &Path) -> PathBuf {
    journal.with_extension("damaged")
}

fn put_back(journal: &Path) -> io::Result<()> {
    fs::copy(copy_of(journal), journal)?;
    File::open(journal)?.sync_all()?;
    fs::remove_file(copy_of(journal))
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing to do.
    Sound,
    /// The tail from `at` on was never acknowledged. `keep_copy`: as far as can be told before the store is open.
    Cut { file: PathBuf, at: u64, keep_copy: bool },
    /// Acknowledged records cannot be read.
    Lost { file: PathBuf, reason: String },
}

fn judge(scan: &Scan, mark: &Mark) -> Verdict {
    let reached = scan.last.as_ref().map(|last| last.number);
    match &scan.fault {
        Some(Fault { file, at, active: false, what }) => {
            // A sealed journal was synced whole before the next one was begun.
            Verdict::Lost { file: file.clone(), reason: format!("at byte {at}: {what}") }
        }
        Some(Fault { file, at, what, .. }) if reached.is_some_and(|commit| commit < mark.commit) => Verdict::Lost {
            file: file.clone(),
            reason: format!("at byte {at}, before the end of what was acknowledged: {what}"),
        },
        Some(Fault { file, at, .. }) => {
            let keep_copy = reached.is_none() && mark.commit > 0;
            Verdict::Cut { file: file.clone(), at: *at, keep_copy }
        }
        None => match (reached, &scan.newest) {
            (Some(commit), Some(file)) if commit < mark.commit => Verdict::Lost {
                file: file.clone(),
                reason: format!(
                    "it ends at byte {} with commit {commit}, but commit {} was acknowledged",
                    if scan.active == scan.newest { scan.whole_to } else { 0 },
                    mark.commit
                ),
            },
            _ => Verdict::Sound,
        },
    }
}

fn first_lost(topics: &Topics, commit: Option<&Commit>, mark: &Mark) -> Option<Lost> {
    let end_of = |index: usize| commit.and_then(|commit| commit.spans.get(index)).map_or(0, |span| span.end);
    let lost = mark.extents.iter().enumerate().find(|(index, extents)| end_of(*index) < extents.end);
    lost.map(|(index, extents)| {
        let (topic, partition) = topics.at(index);
        Lost { topic, partition, first: end_of(index), end: extents.end }
    })
}

// Walks the offset chain back from each partition's end, until its start or until the budget is used up.
fn verify(folder: &Path, store: &Store, topics: &Topics, commit: &Commit, budget: u64) -> Result<(), OpenError> {
    for (index, span) in commit.spans.iter().enumerate() {
        let share = usize::try_from(budget / topics.count() as u64).unwrap_or(usize::MAX);
        if let Err((first, reason)) = walk_back(store, index, *span, share) {
            let (topic, partition) = topics.at(index);
            let file = store.file_of(index, first).unwrap_or_else(|| store_folder(folder));
            let lost = Some(Lost { topic, partition, first, end: span.end });
            return Err(OpenError::Damaged { file, lost, reason });
        }
    }
    Ok(())
}

/// Walks the offset chain of one partition back from its end, over at least `budget` bytes if there are. The error names
/// the first offset that cannot be read, as far as the table file it is in goes.
pub(super) fn walk_back(store: &Store, index: usize, span: Span, budget: usize) -> Result<(), (Offset, String)> {
    let mut expected = span.end;
    let mut read = 0;
    let mut chunks = store.chunks_back(index);
    while expected > span.start && read < budget {
        let reason = match chunks.next() {
            Some(Ok(chunk)) if chunk.header.end == expected => {
                expected = chunk.header.start;
                read += chunk.stored().len();
                continue;
            }
            Some(Ok(chunk)) => format!("the offset chain breaks: {} is followed by {expected}", chunk.header.end),
            Some(Err(reason)) => reason,
            None => format!("nothing is stored below offset {expected}"),
        };
        return Err((first_unreadable(store, index, span, expected - 1), reason));
    }
    Ok(())
}

// Comes from below, beginning where the table file that should hold `unreadable` begins.
fn first_unreadable(store: &Store, index: usize, span: Span, unreadable: Offset) -> Offset {
    let tables = store.tables(index);
    let before = tables.iter().map(|table| table.last + 1).filter(|end| *end <= unreadable).max();
    let mut next = before.unwrap_or(span.start).max(span.start);
    for chunk in store.chunks(index, next) {
        match chunk {
            Ok(chunk) if chunk.header.start <= next && next < unreadable => next = chunk.header.end,
            _ => break,
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(last: Option<u64>, fault: Option<bool>) -> Scan {
        let file = PathBuf::from("7.jnl");
        Scan {
            last: last.map(|number| Commit { number, ..Commit::default() }),
            active: Some(file.clone()),
            whole_to: 100,
            newest: Some(file.clone()),
            fault: fault.map(|active| Fault { file, at: 100, active, what: "torn".into() }),
        }
    }

    fn mark(commit: u64) -> Mark {
        Mark { commit, ..Mark::default() }
    }

    #[test]
    fn a_torn_tail_after_the_mark_is_cut() {
        for reached in [5, 6] {
            let verdict = judge(&scan(Some(reached), Some(true)), &mark(5));
            assert_eq!(verdict, Verdict::Cut { file: "7.jnl".into(), at: 100, keep_copy: false });
        }
    }

    #[test]
    fn a_torn_place_before_the_mark_is_a_loss() {
        assert!(matches!(judge(&scan(Some(4), Some(true)), &mark(5)), Verdict::Lost { .. }));
        assert!(matches!(judge(&scan(Some(4), None), &mark(5)), Verdict::Lost { .. }), "cut cleanly, but too early");
    }

    #[test]
    fn a_torn_place_in_a_sealed_journal_is_a_loss() {
        assert!(matches!(judge(&scan(Some(9), Some(false)), &mark(5)), Verdict::Lost { .. }));
    }

    #[test]
    fn a_tail_that_cannot_be_judged_yet_is_kept_aside() {
        let verdict = judge(&scan(None, Some(true)), &mark(5));
        assert_eq!(verdict, Verdict::Cut { file: "7.jnl".into(), at: 100, keep_copy: true });
    }

    #[test]
    fn a_whole_journal_that_reaches_the_mark_is_sound() {
        assert_eq!(judge(&scan(Some(5), None), &mark(5)), Verdict::Sound);
        assert_eq!(judge(&scan(None, None), &mark(5)), Verdict::Sound, "all of it may be in tables");
    }
}
