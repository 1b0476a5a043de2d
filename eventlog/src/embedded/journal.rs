//! Reads the store's journals, before the store does.
//!
//! The store cuts a journal at the first entry it cannot decode, without a word, and refuses to open over one whose
//! checksum is wrong, torn tail or not. Neither will do. So the log looks first, touching nothing: it follows its own commit
//! records through the journals and finds the last one that is whole, and where the first byte after it lies.
//!
//! The format is that of fjall 3 (its version marker is checked by fjall itself): a batch is a start entry, items, an end
//! entry with a checksum; files are numbered, the highest is the active one, each is preallocated with zeros.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use prost::Message;
use xxhash_rust::xxh3::Xxh3;

use super::head::{COMMIT_KEY, Commit};
use crate::limits::JOURNAL_ITEM_BYTES_MAX;

const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const END_MAGIC: &[u8; 4] = b"FJL\x03";
const READ_BUFFER_BYTES: usize = 1 << 20;

/// What the journals hold.
#[derive(Debug)]
pub(super) struct Scan {
    /// The last commit that is whole, reached without a gap; `None` if no journal holds a commit.
    pub(super) last: Option<Commit>,
    /// The active journal, if there is any: the newest that holds something. A store that fails may still begin another.
    pub(super) active: Option<PathBuf>,
    /// In the active journal: the byte after the last whole batch.
    pub(super) whole_to: u64,
    /// The newest journal.
    pub(super) newest: Option<PathBuf>,
    /// The first thing that is not as it should be.
    pub(super) fault: Option<Fault>,
}

/// Bytes that are neither a whole batch nor unused space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The file.
    pub(super) file: PathBuf,
    /// The first byte that does not belong to a whole batch.
    pub(super) at: u64,
    /// Is it the active journal, where a torn tail is to be expected after a crash?
    pub(super) active: bool,
    /// What is wrong.
    pub(super) what: String,
}

/// Reads all journals of the store in `folder`. `through`: stop after this commit, as if nothing followed it.
pub(super) fn scan(folder: &Path, through: Option<u64>) -> io::Result<Scan> {
    let mut journals = journals(folder)?;
    let newest = journals.last().cloned();
    while journals.len() > 1 && holds_nothing(&journals[journals.len() - 1])? {
        journals.pop();
    }
    let mut scan = Scan { last: None, active: journals.last().cloned(), whole_to: 0, newest, fault: None };
    for (index, file) in journals.iter().enumerate() {
        let active = index + 1 == journals.len();
        let mut reader = Reader::open(file)?;
        let fault = loop {
            match reader.batch()? {
                Batch::Whole(commit) => match follow(scan.last.as_ref(), commit) {
                    Ok(Some(commit)) if through.is_some_and(|through| commit.number > through) => {
                        break (!active).then(|| format!("commit {} is not in the last journal", commit.number));
                    }
                    Ok(Some(commit)) => scan.last = Some(commit),
                    Ok(None) => {}
                    Err(what) => break Some(what),
                },
                Batch::Unused => break None,
                Batch::Broken(what) => break Some(what),
            }
            reader.whole_to = reader.at;
        };
        if active {
            scan.whole_to = reader.whole_to;
        }
        if let Some(what) = fault {
            scan.fault = Some(Fault { file: file.clone(), at: reader.whole_to, active, what });
            break;
        }
    }
    Ok(scan)
}

fn holds_nothing(file: &Path) -> io::Result<bool> {
    let mut reader = Reader::open(file)?;
    match reader.file.fill_buf()?.first() {
        None => Ok(true),
        Some(0) => reader.only_zeros_left(),
        Some(_) => Ok(false),
    }
}

/// Cuts the active journal to `len` and makes that durable.
pub(super) fn cut(file: &Path, len: u64) -> io::Result<()> {
    let file = File::options().write(true).open(file)?;
    file.set_len(len)?;
    file.sync_all()
}

fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
            let number = number.ok_or_else(|| io::Error::other(format!("not a journal's name: {}", path.display())))?;
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

// Commit numbers are dense; a jump means that a journal, or a part of one, is missing.
fn follow(last: Option<&Commit>, commit: Option<Commit>) -> Result<Option<Commit>, String> {
    if let (Some(last), Some(commit)) = (last, &commit)
        && commit.number != last.number + 1
    {
        return Err(format!("commit {} is followed by commit {}", last.number, commit.number));
    }
    Ok(commit)
}

enum Batch {
    Whole(Option<Commit>),
    Unused,
    Broken(String),
}

// Why a batch did not come out whole.
enum Stop {
    Io(io::Error),
    Broken(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Broken("the file ends inside a batch")
        } else {
            Self::Io(error)
        }
    }
}

struct Reader {
    file: BufReader<File>,
    at: u64,
    whole_to: u64,
    value: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(READ_BUFFER_BYTES, File::open(path)?);
        Ok(Self { file, at: 0, whole_to: 0, value: Vec::new() })
    }

    fn batch(&mut self) -> io::Result<Batch> {
        match self.file.fill_buf()?.first() {
            None => return Ok(Batch::Unused),
            Some(0) => {
                return Ok(if self.only_zeros_left()? {
                    Batch::Unused
                } else {
                    Batch::Broken("zeros where a batch should begin".into())
                });
            }
            Some(_) => {}
        }
        match self.whole_batch() {
            Ok(commit) => Ok(Batch::Whole(commit)),
            Err(Stop::Broken(what)) => Ok(Batch::Broken(what.into())),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    fn whole_batch(&mut self) -> Result<Option<Commit>, Stop> {
        if self.byte()? != TAG_START {
            return Err(Stop::Broken("a batch does not begin with a start entry"));
        }
        let items = u32::from_le_bytes(self.array()?);
        let _sequence_number = self.array::<8>()?;
        let mut commit = None;
        let mut checksum = Xxh3::new();
        for _ in 0..items {
            commit = self.item(&mut checksum)?.or(commit);
        }
        if self.byte()? != TAG_END {
            return Err(Stop::Broken("a batch does not end with an end entry"));
        }
        if u64::from_le_bytes(self.array()?) != checksum.finish() {
            return Err(Stop::Broken("a batch does not match its checksum"));
        }
        if self.array::<4>()? != *END_MAGIC {
            return Err(Stop::Broken("an end entry is not complete"));
        }
        Ok(commit)
    }

    fn item(&mut self, checksum: &mut Xxh3) -> Result<Option<Commit>, Stop> {
        // tag 1, value type 1, compression 1, keyspace 8, key length 2, value length 4, stored length 4
        let head = self.array::<21>()?;
        if head[0] != TAG_ITEM {
            return Err(Stop::Broken("something else where an item should be"));
        }
        let key_len = u16::from_le_bytes([head[11], head[12]]);
        let stored_len = u32::from_le_bytes([head[17], head[18], head[19], head[20]]);
        if stored_len > JOURNAL_ITEM_BYTES_MAX {
            return Err(Stop::Broken("an item is larger than any that was written"));
        }
        let mut key = vec![0; usize::from(key_len)];
        self.fill(&mut key)?;
        let mut value = std::mem::take(&mut self.value);
        value.resize(stored_len as usize, 0);
        self.fill(&mut value)?;
        checksum.update(&head);
        checksum.update(&key);
        checksum.update(&value);
        let commit = (key == COMMIT_KEY).then(|| Commit::decode(value.as_slice()).ok()).flatten();
        self.value = value;
        Ok(commit)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn only_zeros_left(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(true);
            }
            if buffer.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            let len = buffer.len();
            self.file.consume(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewRecord;
    use crate::embedded::chunk::Builder;
    use crate::embedded::head::Span;
    use crate::embedded::store::{Batch, Store};

    const NAMES: [&str; 1] = ["topic/0"];

    fn open(folder: &Path) -> Store {
        Store::open(folder, &NAMES.map(str::to_owned)).unwrap()
    }

    fn write(store: &Store, number: u64) {
        let start = (number - 1) * 2;
        let mut builder = Builder::at(start);
        let value = vec![number as u8; 50 * number as usize];
        builder.push(start, &NewRecord { partition: 0, version: 1, key: "key".into(), value: value.into() });
        let chunks = [(0, builder.finish(start + 2, 5, 5))];
        let spans = vec![Span { end: start + 2, ..Span::default() }];
        store
            .write(&Batch { chunks: &chunks, positions: &[], commit: &Commit { number, spans, anchor: None } })
            .unwrap();
    }

    #[test]
    fn the_last_whole_commit_is_found_and_the_unused_rest_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        assert_eq!(scan(folder.path(), None).unwrap().last, None, "a new store has none");
        (1..=9).for_each(|number| write(&store, number));
        drop(store);
        let found = scan(folder.path(), None).unwrap();
        assert_eq!((found.last.unwrap().number, found.fault), (9, None));
    }

    // What a failed sync may leave: a commit that is whole in the file, but must not count.
    #[test]
    fn a_whole_commit_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        (1..=9).for_each(|number| write(&store, number));
        drop(store);
        let found = scan(folder.path(), Some(6)).unwrap();
        assert_eq!(found.last.unwrap().number, 6);
        cut(&found.active.unwrap(), found.whole_to).unwrap();
        assert_eq!(scan(folder.path(), None).unwrap().last.unwrap().number, 6);
        let store = open(folder.path());
        assert_eq!(store.last_commit().unwrap().unwrap().number, 6);
        assert_eq!(store.chunks(0, 0).count(), 6, "no record of the commits taken back is there");
        write(&store, 7);
        drop(store);
        assert_eq!(scan(folder.path(), None).unwrap().last.unwrap().number, 7);
    }

    /// A journal as the store begins one: named after the newest, preallocated, and nothing in it.
    fn begin_another(folder: &Path) -> PathBuf {
        let newest = journals(folder).unwrap().pop().unwrap();
        let number: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let next = folder.join(format!("{}.jnl", number + 1));
        File::create(&next).unwrap().set_len(1 << 20).unwrap();
        next
    }

    // What a full disk may leave: the store's worker begins a journal after the commit that tore.
    #[test]
    fn what_failed_is_taken_back_though_an_empty_journal_was_begun_after_it() {
        for torn in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            (1..=9).for_each(|number| write(&store, number));
            drop(store);
            let journal = scan(folder.path(), None).unwrap().active.unwrap();
            if torn {
                let eighth = scan(folder.path(), Some(8)).unwrap().whole_to;
                cut(&journal, eighth + 20).unwrap();
            }
            let empty = begin_another(folder.path());
            let found = scan(folder.path(), Some(8)).unwrap();
            assert_eq!((found.last.unwrap().number, found.newest), (8, Some(empty)));
            assert_eq!(found.fault.map(|fault| fault.active), torn.then_some(true));
            assert_eq!(found.active.as_ref(), Some(&journal));
            cut(&journal, found.whole_to).unwrap();
            let store = open(folder.path());
            assert_eq!(store.last_commit().unwrap().unwrap().number, 8, "torn: {torn}");
            write(&store, 9);
            drop(store);
            assert_eq!(scan(folder.path(), None).unwrap().last.unwrap().number, 9);
        }
    }

    #[test]
    fn a_torn_place_before_a_journal_that_holds_something_is_not_in_the_active_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        (1..=3).for_each(|number| write(&store, number));
        drop(store);
        let journal = scan(folder.path(), None).unwrap().active.unwrap();
        let next = begin_another(folder.path());
        fs::copy(&journal, &next).unwrap();
        let second = scan(folder.path(), Some(2)).unwrap();
        assert_eq!(second.fault.map(|fault| fault.active), Some(false), "commit 3 cannot be taken back alone");
        cut(&journal, 20).unwrap();
        assert_eq!(scan(folder.path(), None).unwrap().fault.map(|fault| fault.active), Some(false));
    }

    #[test]
    fn a_jump_in_the_commit_numbers_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        [1, 2, 4].into_iter().for_each(|number| write(&store, number));
        drop(store);
        let found = scan(folder.path(), None).unwrap();
        assert_eq!(found.last.unwrap().number, 2);
        assert!(found.fault.unwrap().what.contains("followed by commit 4"));
    }
}
