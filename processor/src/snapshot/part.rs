//! Parts: a few megabytes of a state, compressed, named by their SHA-256.

use std::sync::Arc;

use bytes::Bytes;
use millrace_eventlog::Offset;
use millrace_schemas::layout::SnapshotShelf;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::listing::{Kind, PartEntry};
use crate::limits::SNAPSHOT_PART_BYTES;
use crate::step::{DIGEST_BYTES, check_held, hour_key, stored_visitor};
use crate::store::{Entry, StoreError, View};

/// Fast: what gains by it are the texts, which repeat.
const COMPRESSION_LEVEL: i32 = 1;

/// A part ready to be put.
pub(super) struct Packed {
    pub(super) kind: Kind,
    pub(super) shelf: SnapshotShelf,
    pub(super) sha256: String,
    pub(super) bytes: Bytes,
}

/// What a part holds.
#[derive(Debug, PartialEq)]
pub(super) enum Contents {
    Visitors(Vec<Entry>),
    Held(Vec<Entry>),
    Seen(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
struct StoredPart {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<StoredEntry>,
    /// Of seen events: digests, one after the other.
    #[prost(bytes = "vec", tag = "2")]
    digests: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEntry {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Packs a stored state part by part. `known`: hours whose parts are there already. `emit` gives false to end it early.
pub(super) fn pack(
    view: &View,
    known: impl Fn(u32) -> bool,
    mut emit: impl FnMut(Packed) -> bool,
) -> Result<(), StoreError> {
    let at = SnapshotShelf::At(view.head().folded);
    if !pack_entries(view.visitors(), Kind::Visitors, at, &mut emit)? {
        return Ok(());
    }
    if !pack_entries(view.held(), Kind::Held, at, &mut emit)? {
        return Ok(());
    }
    let (first, present) = hours(view);
    for hour in (first..=present).filter(|hour| !known(*hour)) {
        // Log time has not left the present hour: the next snapshot will know more of it.
        let shelf = if hour == present { at } else { SnapshotShelf::Hour(hour) };
        if !pack_hour(view, hour, shelf, &mut emit)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The first hour that is remembered and the present one.
pub(super) fn hours(view: &View) -> (u32, u32) {
    let head = view.head();
    (hour_key(head.floors.seen_hour), hour_key(crate::step::hour_of(head.log_time_ms)))
}

fn pack_entries(
    entries: impl Iterator<Item = Result<Entry, StoreError>>,
    kind: Kind,
    shelf: SnapshotShelf,
    emit: &mut impl FnMut(Packed) -> bool,
) -> Result<bool, StoreError> {
    let (mut part, mut bytes) = (StoredPart::default(), 0);
    for entry in entries {
        let (key, value) = entry?;
        bytes += key.len() + value.len();
        part.entries.push(StoredEntry { key, value });
        if bytes >= SNAPSHOT_PART_BYTES {
            if !emit(compress(&std::mem::take(&mut part), kind, shelf)?) {
                return Ok(false);
            }
            bytes = 0;
        }
    }
    Ok(part.entries.is_empty() || emit(compress(&part, kind, shelf)?))
}

fn pack_hour(
    view: &View,
    hour: u32,
    shelf: SnapshotShelf,
    emit: &mut impl FnMut(Packed) -> bool,
) -> Result<bool, StoreError> {
    let mut part = StoredPart::default();
    for portion in view.seen(hour..=hour) {
        part.digests.extend_from_slice(&portion?.1);
        if part.digests.len() >= SNAPSHOT_PART_BYTES
            && !emit(compress(&std::mem::take(&mut part), Kind::Seen(hour), shelf)?)
        {
            return Ok(false);
        }
    }
    Ok(part.digests.is_empty() || emit(compress(&part, Kind::Seen(hour), shelf)?))
}

fn compress(part: &StoredPart, kind: Kind, shelf: SnapshotShelf) -> Result<Packed, StoreError> {
    let bytes = zstd::bulk::compress(&part.encode_to_vec(), COMPRESSION_LEVEL).map_err(fjall::Error::Io)?;
    Ok(Packed { kind, shelf, sha256: sha256_hex(&bytes), bytes: bytes.into() })
}

/// The contents of a part, if `bytes` are what its name says and all of them can be used.
pub(super) fn unpack(entry: &PartEntry, bytes: &[u8]) -> Result<Contents, String> {
    let found = sha256_hex(bytes);
    if found != entry.sha256 {
        return Err(format!("its SHA-256 is {found}"));
    }
    let part = zstd::stream::decode_all(bytes).map_err(|error| error.to_string())?;
    let part = StoredPart::decode(&part[..]).map_err(|error| error.to_string())?;
    for StoredEntry { key, value } in &part.entries {
        let whole = match entry.kind {
            Kind::Visitors if key.len() == DIGEST_BYTES => stored_visitor(value, &mut Arc::new).map(drop),
            Kind::Held if key.len() == size_of::<Offset>() => check_held(value),
            _ => return Err(format!("an entry under a key of {} bytes", key.len())),
        };
        whole.map_err(|wrong| wrong.to_string())?;
    }
    let entries = part.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    Ok(match entry.kind {
        Kind::Visitors => Contents::Visitors(entries),
        Kind::Held => Contents::Held(entries),
        Kind::Seen(_) => Contents::Seen(part.digests),
    })
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
