//! The order of rows, as bytes: comparing two keys byte by byte compares shard, account, type, experiment or event (null
//! first), visitor, timestamp, uuid, raw offset, place in the event.
//!
//! The first four come first in the key, so rows of one folder share a prefix.

use millrace_schemas::layout::ExportType;

/// What a row is sorted by.
pub(crate) struct SortKey<'a> {
    pub(crate) shard: u32,
    pub(crate) account: &'a str,
    pub(crate) of_type: ExportType,
    pub(crate) folder: Option<&'a str>,
    pub(crate) visitor: &'a str,
    pub(crate) time_ms: i64,
    pub(crate) uuid: &'a str,
    pub(crate) raw_offset: u64,
    pub(crate) place: u32,
}

impl SortKey<'_> {
    /// Appends the key's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_account(out, self.shard, self.account);
        out.push(rank(self.of_type));
        match self.folder {
            None => out.push(0),
            Some(name) => {
                out.push(1);
                write_text(out, name);
            }
        }
        write_text(out, self.visitor);
        // The sign bit turned, so that earlier than 1970 comes first.
        out.extend_from_slice(&(self.time_ms ^ i64::MIN).to_be_bytes());
        write_text(out, self.uuid);
        out.extend_from_slice(&self.raw_offset.to_be_bytes());
        out.extend_from_slice(&self.place.to_be_bytes());
    }
}

/// The part of a key that all rows of an account share.
pub(crate) fn write_account(out: &mut Vec<u8>, shard: u32, account: &str) {
    out.extend_from_slice(&shard.to_be_bytes());
    write_text(out, account);
}

/// The part of a key that all rows of a folder share, and what it says.
pub(crate) struct Folder {
    /// How long that part is.
    pub(crate) prefix: usize,
    pub(crate) of_type: ExportType,
    pub(crate) name: Option<String>,
}

/// Reads the folder out of a key whose account part is `account` bytes long; `None` if it is no key.
pub(crate) fn folder(key: &[u8], account: usize) -> Option<Folder> {
    let of_type = of_rank(*key.get(account)?)?;
    let name_at = account + 2;
    match key.get(account + 1)? {
        0 => Some(Folder { prefix: name_at, of_type, name: None }),
        _ => {
            let (name, taken) = read_text(key.get(name_at..)?)?;
            Some(Folder { prefix: name_at + taken, of_type, name: Some(name) })
        }
    }
}

/// The types' order. Part of the format of segments.
pub(crate) fn rank(of_type: ExportType) -> u8 {
    match of_type {
        ExportType::Decisions => 0,
        ExportType::Events => 1,
        ExportType::Rejected => 2,
        ExportType::Audit => 3,
    }
}

pub(crate) fn of_rank(rank: u8) -> Option<ExportType> {
    [ExportType::Decisions, ExportType::Events, ExportType::Rejected, ExportType::Audit].get(usize::from(rank)).copied()
}

// 0x00 becomes 0x00 0xFF, and 0x00 0x01 ends the text: a text sorts before every longer one that begins with it.
fn write_text(out: &mut Vec<u8>, text: &str) {
    for piece in text.as_bytes().split_inclusive(|byte| *byte == 0) {
        out.extend_from_slice(piece);
        if piece.last() == Some(&0) {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn read_text(bytes: &[u8]) -> Option<(String, usize)> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        let zero = at + bytes.get(at..)?.iter().position(|byte| *byte == 0)?;
        text.extend_from_slice(&bytes[at..zero]);
        at = zero + 2;
        match bytes.get(zero + 1)? {
            1 => return Some((String::from_utf8(text).ok()?, at)),
            0xFF => text.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (u32, String, u8, Option<String>, String, i64, String, u64, u32);

    fn key(parts: &Parts) -> Vec<u8> {
        let mut out = Vec::new();
        SortKey {
            shard: parts.0,
            account: &parts.1,
            of_type: of_rank(parts.2).unwrap(),
            folder: parts.3.as_deref(),
            visitor: &parts.4,
            time_ms: parts.5,
            uuid: &parts.6,
            raw_offset: parts.7,
            place: parts.8,
        }
        .write(&mut out);
        out
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let text = || prop_oneof!["[ab\0\u{1}\u{ff}é]{0,4}", ".{0,6}"];
        (0..3_u32, text(), 0..3_u8, proptest::option::of(text()), text(), any::<i64>(), text(), any::<u64>(), 0..3_u32)
    }

    proptest! {
        #[test]
        fn bytes_compare_as_the_parts_do(one in parts(), other in parts()) {
            prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
        }

        #[test]
        fn the_folder_is_read_back(parts in parts()) {
            let mut account = Vec::new();
            write_account(&mut account, parts.0, &parts.1);
            let key = key(&parts);
            prop_assert!(key.starts_with(&account));
            let folder = folder(&key, account.len()).unwrap();
            prop_assert_eq!((rank(folder.of_type), folder.name), (parts.2, parts.3));
        }
    }
}
