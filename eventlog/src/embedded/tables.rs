//! A list of the store's table files and the offsets each holds, kept beside the store.
//!
//! The store knows its tables too, but where one of them is damaged it does not open and does not say which. The list is
//! what lets the log name the file and the first lost offset. It is only ever behind: a table that is not in it yet cannot be
//! named, that is all. Tables of records are never rewritten (see [`super::store`]); they go when a partition is trimmed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::identity::Topics;
use super::mark::Mark;
use super::store::Store;
use super::{Lost, OpenError};
use crate::Offset;

const FILE: &str = "tables";
const READ_BYTES: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Relative to the log's folder.
    file: PathBuf,
    index: usize,
    /// The end of the last chunk, less one.
    last: Offset,
    len: u64,
    /// xxh3-128 of the whole file.
    checksum: u128,
}

/// Writes the list anew. Best effort: it names files in errors, nothing more.
pub(super) fn write(folder: &Path, store: &Store, topics: &Topics) {
    let mut text = String::new();
    for index in 0..topics.count() {
        for table in store.tables(index) {
            let Ok(metadata) = fs::metadata(&table.file) else { continue };
            let file = table.file.strip_prefix(folder).unwrap_or(&table.file).display();
            let (last, checksum) = (table.last, table.checksum);
            text.push_str(&format!("{index} {last} {} {checksum:x} {file}\n", metadata.len()));
        }
    }
    let checked = format!("{:016x}\n{text}", xxh3_64(text.as_bytes()));
    let making = folder.join("tables.new");
    if let Err(error) = fs::write(&making, checked).and_then(|()| fs::rename(&making, folder.join(FILE))) {
        tracing::debug!(%error, "the list of tables was not written");
    }
}

fn read(folder: &Path) -> Vec<Line> {
    let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let Some((checksum, lines)) = text.split_once('\n') else { return Vec::new() };
    if checksum != format!("{:016x}", xxh3_64(lines.as_bytes())) {
        return Vec::new();
    }
    lines.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.splitn(5, ' ');
    let index = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse().ok();
    let (last, len) = (number()?, number()?);
    let checksum = u128::from_str_radix(words.next()?, 16).ok()?;
    Some(Line { file: words.next()?.into(), index, last, len, checksum })
}

/// Refuses if a listed table is missing or has another length, before the store is opened.
pub(super) fn check(folder: &Path, topics: &Topics, mark: &Mark) -> Result<(), OpenError> {
    let lines = read(folder);
    for line in &lines {
        let start = mark.extents.get(line.index).map_or(0, |extents| extents.start);
        if line.last < start {
            continue;
        }
        let file = folder.join(&line.file);
        let reason = match fs::metadata(&file) {
            Ok(metadata) if metadata.len() == line.len => continue,
            Ok(metadata) => format!("it has {} bytes instead of {}", metadata.len(), line.len),
            Err(error) => error.to_string(),
        };
        return Err(OpenError::Damaged { file, lost: lost(line, &lines, topics), reason });
    }
    Ok(())
}

/// When the store does not open: the first listed table whose bytes are not the ones that were written.
pub(super) fn culprit(folder: &Path, topics: &Topics) -> Option<(PathBuf, Option<Lost>)> {
    let lines = read(folder);
    lines.iter().find_map(|line| {
        let file = folder.join(&line.file);
        let whole = checksum(&file).is_ok_and(|checksum| checksum == line.checksum);
        (!whole).then(|| (file, lost(line, &lines, topics)))
    })
}

fn checksum(file: &Path) -> io::Result<u128> {
    let mut file = File::open(file)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            len => hash.update(&buffer[..len]),
        }
    }
}

// What a table begins with is what the one before it ends with.
fn lost(line: &Line, lines: &[Line], topics: &Topics) -> Option<Lost> {
    let (topic, partition) = topics.at(line.index);
    let before = lines.iter().filter(|other| other.index == line.index && other.last < line.last);
    let first = before.map(|other| other.last + 1).max().unwrap_or(0);
    Some(Lost { topic, partition, first, end: line.last + 1 })
}
