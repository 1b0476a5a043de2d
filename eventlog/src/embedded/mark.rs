//! The end mark: a small file beside the store that says up to where the log has been acknowledged.
//!
//! Two pages, written in turn, in place, each with its own checksum: a torn write leaves the page before. The file has its
//! full size from the start, so that writing it needs no room on the disk and its `fdatasync` no journal of the file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::head::Extents;

const PAGE_BYTES: u64 = 4096;
const MAGIC: u32 = u32::from_le_bytes(*b"mrk1");
const FRAME_BYTES: usize = 4 + 4 + 8;

/// What was acknowledged at most.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Mark {
    /// Rises with every write of the file; the page with the larger one counts.
    #[prost(uint64, tag = "1")]
    pub(super) turn: u64,
    /// The last acknowledged commit; 0 before the first.
    #[prost(uint64, tag = "2")]
    pub(super) commit: u64,
    /// Start and end of every partition after it.
    #[prost(message, repeated, tag = "3")]
    pub(super) extents: Vec<Extents>,
}

/// The file.
pub(super) struct MarkFile {
    path: PathBuf,
    file: File,
    turn: u64,
}

impl MarkFile {
    /// Makes the file, with a mark that says that nothing was acknowledged.
    pub(super) fn create(path: &Path, extents: Vec<Extents>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut made = Self { path: path.to_owned(), file, turn: 0 };
        made.file.write_all_at(&[0; 2 * PAGE_BYTES as usize], 0)?;
        made.write(0, &extents)?;
        made.file.sync_all()?;
        Ok(made)
    }

    /// Reads the newer of the two pages. `None`: neither checks out.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, Mark)>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let newest = [0, PAGE_BYTES].into_iter().filter_map(|at| read_page(&file, at)).max_by_key(|mark| mark.turn);
        Ok(newest.map(|mark| (Self { path: path.to_owned(), file, turn: mark.turn }, mark)))
    }

    /// Writes the mark and waits until it is on the disk.
    pub(super) fn write(&mut self, commit: u64, extents: &[Extents]) -> io::Result<()> {
        let turn = self.turn + 1;
        let payload = Mark { turn, commit, extents: extents.to_vec() }.encode_to_vec();
        let mut page = Vec::with_capacity(PAGE_BYTES as usize);
        page.extend_from_slice(&MAGIC.to_le_bytes());
        page.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        page.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
        page.extend_from_slice(&payload);
        if page.len() > PAGE_BYTES as usize {
            return Err(io::Error::other("the end mark does not fit its page: too many partitions"));
        }
        page.resize(PAGE_BYTES as usize, 0);
        self.file.write_all_at(&page, turn % 2 * PAGE_BYTES)?;
        self.file.sync_data()?;
        self.turn = turn;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn read_page(file: &File, at: u64) -> Option<Mark> {
    let mut page = [0; PAGE_BYTES as usize];
    file.read_exact_at(&mut page, at).ok()?;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| page[at + i]));
    let payload = page.get(FRAME_BYTES..FRAME_BYTES + word(4) as usize)?;
    let checksum = u64::from_le_bytes(std::array::from_fn(|i| page[8 + i]));
    if word(0) != MAGIC || checksum != xxh3_64(payload) {
        return None;
    }
    Mark::decode(payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PARTITIONS_MAX;

    fn extents(end: u64) -> Vec<Extents> {
        vec![Extents { start: 0, end }]
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mut file = MarkFile::create(&path, extents(0)).unwrap();
        for commit in 1..=5 {
            file.write(commit, &extents(commit * 10)).unwrap();
        }
        let (_, mark) = MarkFile::open(&path).unwrap().expect("both pages check out");
        assert_eq!((mark.commit, mark.extents), (5, extents(50)));
    }

    #[test]
    fn a_torn_page_leaves_the_mark_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mut file = MarkFile::create(&path, extents(0)).unwrap();
        file.write(1, &extents(10)).unwrap();
        file.write(2, &extents(20)).unwrap();
        // The next page to be written is the one that holds commit 1.
        file.file.write_all_at(&[0xff; 100], (file.turn + 1) % 2 * PAGE_BYTES).unwrap();
        let (_, mark) = MarkFile::open(&path).unwrap().expect("one page checks out");
        assert_eq!(mark.commit, 2);
        file.file.write_all_at(&[0xff; 100], file.turn % 2 * PAGE_BYTES).unwrap();
        assert!(MarkFile::open(&path).unwrap().is_none(), "with both pages torn there is no mark");
    }

    #[test]
    fn the_ends_of_all_partitions_a_log_may_have_fit_one_page() {
        let dir = tempfile::tempdir().unwrap();
        let widest = vec![Extents { start: u64::MAX, end: u64::MAX }; PARTITIONS_MAX];
        let mut file = MarkFile::create(&dir.path().join("mark"), widest.clone()).unwrap();
        file.write(u64::MAX, &widest).unwrap();
    }
}
