//! Keys of the processor's snapshots: small lists, and the parts they name.

use std::fmt;

/// The prefix of one partition's snapshots of the processor's state.
#[must_use]
pub fn snapshots_prefix(log_id: &str, partition: u32) -> String {
    format!("_millrace/snapshots/{log_id}/{partition:05}/")
}

/// Which snapshot a key names: everything that chooses one, so that no choice has to read any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotName {
    /// Raw position up to which records are in the state.
    pub folded: u64,
    /// The version of the state's meaning.
    pub state_version: u32,
    /// Log time of the state, ms; not before 1970. Follows from the position.
    pub log_time_ms: i64,
}

impl SnapshotName {
    /// The snapshot's key: `_millrace/snapshots/<log id>/<PPPPP>/<folded, 20 digits>-<state version>-<log time in ms, 14 digits>`.
    #[must_use]
    pub fn key(&self, log_id: &str, partition: u32) -> String {
        format!("{}{self}", snapshots_prefix(log_id, partition))
    }

    /// The snapshot of that key; `None` if it is none.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/').next()?.split('-');
        let mut digits = |many: Option<usize>| {
            let part = parts.next()?;
            let right = part.bytes().all(|byte| byte.is_ascii_digit()) && many.is_none_or(|many| part.len() == many);
            right.then_some(part)
        };
        let (folded, version, log_time) = (digits(Some(20))?, digits(None)?, digits(Some(14))?);
        let name = Self {
            folded: folded.parse().ok()?,
            state_version: version.parse().ok()?,
            log_time_ms: log_time.parse().ok()?,
        };
        parts.next().is_none().then_some(name)
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{}-{:014}", self.folded, self.state_version, self.log_time_ms)
    }
}

/// The prefix of what one partition's snapshots are made of.
#[must_use]
pub fn snapshot_parts_prefix(log_id: &str, partition: u32) -> String {
    format!("_millrace/snapshot-parts/{log_id}/{partition:05}/")
}

/// Whose a part of snapshots is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SnapshotShelf {
    /// One snapshot's, of this position.
    At(u64),
    /// All snapshots' that remember the events of this hour of log time.
    Hour(u32),
}

/// A part of snapshots: named by what it holds, so that putting it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotPart {
    /// The version of the state's meaning.
    pub state_version: u32,
    /// Whose it is.
    pub shelf: SnapshotShelf,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

impl SnapshotPart {
    /// The part's key: `<prefix><state version>/<shelf>/<sha256>`, where the shelf is `at-<folded, 20 digits>` or
    /// `hour-<hours since 1970, 10 digits>`.
    #[must_use]
    pub fn key(&self, log_id: &str, partition: u32) -> String {
        let Self { state_version, shelf, sha256 } = self;
        format!("{}{state_version}/{shelf}/{sha256}", snapshot_parts_prefix(log_id, partition))
    }

    /// The part of that key; `None` if it is none.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        let mut names = key.rsplit('/');
        let (sha256, folder, version) = (names.next()?, names.next()?, names.next()?);
        let shelf = match folder.split_once('-')? {
            ("at", folded) => SnapshotShelf::At(folded.parse().ok()?),
            ("hour", hour) => SnapshotShelf::Hour(hour.parse().ok()?),
            _ => return None,
        };
        let part = Self { state_version: version.parse().ok()?, shelf, sha256: sha256.to_owned() };
        (shelf.to_string() == folder).then_some(part)
    }
}

impl fmt::Display for SnapshotShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(folded) => write!(f, "at-{folded:020}"),
            Self::Hour(hour) => write!(f, "hour-{hour:010}"),
        }
    }
}
