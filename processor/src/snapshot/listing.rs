//! The list that makes parts a snapshot.

use bytes::Bytes;
use millrace_schemas::layout::{SnapshotName, SnapshotPart, SnapshotShelf};
use prost::Message;

use super::SnapshotError;
use super::part::sha256_hex;

/// Rises whenever the form of the list changes. What the state's bytes mean has a version of its own, in the key.
const FORM: u32 = 1;
const CHECK_BYTES: usize = 64;

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub(crate) struct Damaged {
    pub(crate) key: String,
    pub(crate) reason: String,
}

impl Damaged {
    pub(super) fn new(key: &str, reason: impl ToString) -> Self {
        Self { key: key.to_owned(), reason: reason.to_string() }
    }
}

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listing {
    pub(super) log_id: String,
    pub(super) partition: u32,
    pub(super) name: SnapshotName,
    /// The first hour of log time whose events are remembered; never falls from one snapshot to the next.
    pub(super) first_hour: u32,
    /// The numbers, as the local store holds them.
    pub(super) head: Vec<u8>,
    pub(super) parts: Vec<PartEntry>,
}

/// One part as a list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartEntry {
    pub(super) kind: Kind,
    pub(super) shelf: SnapshotShelf,
    pub(super) sha256: String,
    /// Its size.
    pub(super) bytes: u64,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Visitors,
    Held,
    /// Events seen in this hour of log time.
    Seen(u32),
}

impl PartEntry {
    pub(super) fn key(&self, listing: &Listing) -> String {
        let part =
            SnapshotPart { state_version: listing.name.state_version, shelf: self.shelf, sha256: self.sha256.clone() };
        part.key(&listing.log_id, listing.partition)
    }
}

impl Listing {
    /// The list's bytes, and at their end the SHA-256 of all before.
    pub(super) fn to_bytes(&self) -> Bytes {
        let parts = self.parts.iter().map(StoredEntry::of).collect();
        let stored = StoredListing {
            form: FORM,
            log_id: self.log_id.clone(),
            partition: self.partition,
            folded: self.name.folded,
            state_version: self.name.state_version,
            log_time_ms: self.name.log_time_ms,
            first_hour: self.first_hour,
            head: self.head.clone(),
            parts,
        };
        let mut bytes = stored.encode_to_vec();
        let check = sha256_hex(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes.into()
    }

    /// Reads the list under `key`.
    pub(super) fn read(
        key: &str,
        bytes: &[u8],
        log_id: &str,
        partition: u32,
        name: SnapshotName,
    ) -> Result<Self, SnapshotError> {
        let (body, check) = bytes.split_at(bytes.len().saturating_sub(CHECK_BYTES));
        if sha256_hex(body).as_bytes() != check {
            return Err(Damaged::new(key, "the list does not check out").into());
        }
        let stored = StoredListing::decode(body).map_err(|error| Damaged::new(key, error))?;
        if stored.form != FORM {
            return Err(Damaged::new(key, format!("a list of form {}, not {FORM}", stored.form)).into());
        }
        if stored.log_id != log_id {
            let (key, here) = (key.to_owned(), log_id.to_owned());
            return Err(SnapshotError::OtherLog { key, stored: stored.log_id, here });
        }
        let StoredListing { folded, state_version, log_time_ms, first_hour, head, .. } = stored;
        if stored.partition != partition || name != (SnapshotName { folded, state_version, log_time_ms }) {
            return Err(Damaged::new(key, "the list belongs under another key").into());
        }
        let parts = stored.parts.into_iter().map(|part| part.read(name));
        let parts = parts.collect::<Option<_>>().ok_or_else(|| Damaged::new(key, "a part of an unknown kind"))?;
        Ok(Self { log_id: stored.log_id, partition, name, first_hour, head, parts })
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredListing {
    #[prost(uint32, tag = "1")]
    form: u32,
    #[prost(string, tag = "2")]
    log_id: String,
    #[prost(uint32, tag = "3")]
    partition: u32,
    #[prost(uint64, tag = "4")]
    folded: u64,
    #[prost(uint32, tag = "5")]
    state_version: u32,
    #[prost(int64, tag = "6")]
    log_time_ms: i64,
    #[prost(uint32, tag = "7")]
    first_hour: u32,
    #[prost(bytes = "vec", tag = "8")]
    head: Vec<u8>,
    #[prost(message, repeated, tag = "9")]
    parts: Vec<StoredEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEntry {
    #[prost(enumeration = "StoredKind", tag = "1")]
    kind: i32,
    /// Of seen events.
    #[prost(uint32, tag = "2")]
    hour: u32,
    /// Whether it lies with all snapshots that remember its hour.
    #[prost(bool, tag = "3")]
    shared: bool,
    #[prost(string, tag = "4")]
    sha256: String,
    #[prost(uint64, tag = "5")]
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
enum StoredKind {
    Unknown = 0,
    Visitors = 1,
    Held = 2,
    Seen = 3,
}

impl StoredEntry {
    fn of(part: &PartEntry) -> Self {
        let (kind, hour) = match part.kind {
            Kind::Visitors => (StoredKind::Visitors, 0),
            Kind::Held => (StoredKind::Held, 0),
            Kind::Seen(hour) => (StoredKind::Seen, hour),
        };
        let shared = matches!(part.shelf, SnapshotShelf::Hour(_));
        Self { kind: kind.into(), hour, shared, sha256: part.sha256.clone(), bytes: part.bytes }
    }

    fn read(self, name: SnapshotName) -> Option<PartEntry> {
        let kind = match self.kind() {
            StoredKind::Unknown => return None,
            StoredKind::Visitors => Kind::Visitors,
            StoredKind::Held => Kind::Held,
            StoredKind::Seen => Kind::Seen(self.hour),
        };
        let shelf = if self.shared { SnapshotShelf::Hour(self.hour) } else { SnapshotShelf::At(name.folded) };
        Some(PartEntry { kind, shelf, sha256: self.sha256, bytes: self.bytes })
    }
}
