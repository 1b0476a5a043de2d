//! How a log is opened, and why it may not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock_rule::BootClock;
use crate::{Offset, Partition, Topic};

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// An operator confirms that the clock is right, however far it is from the last append.
    pub confirm_clock: bool,
    /// How many bytes of the newest records are kept in memory for readers near the end, over all partitions.
    pub tail_bytes: usize,
    /// How many bytes of the newest records are checked before the log opens, over all partitions.
    pub verify_bytes: u64,
    /// The machine's uptime.
    pub boot: BootClock,
    /// Makes the id of a new log: text of `[0-9a-z-]`.
    pub new_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Options {
    pub(super) fn new_id(&self) -> String {
        (self.new_id)()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            confirm_clock: false,
            tail_bytes: 48 << 20,
            verify_bytes: 1 << 30,
            boot: BootClock::machine(),
            new_id: Arc::new(|| uuid::Uuid::new_v4().to_string()),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("confirm_clock", &self.confirm_clock)
            .field("tail_bytes", &self.tail_bytes)
            .field("verify_bytes", &self.verify_bytes)
            .finish_non_exhaustive()
    }
}

/// The first records that were acknowledged and are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Their topic.
    pub topic: Topic,
    /// Their partition.
    pub partition: Partition,
    /// The first offset that cannot be read.
    pub first: Offset,
    /// The end that was acknowledged; offsets from `first` up to here are affected.
    pub end: Offset,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, first, end } = self;
        write!(f, "the first lost offset is {topic}/{partition} {first} (acknowledged up to {end})")
    }
}

/// Why a log did not open, by what an operator does next.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it: stop that one, or use another folder.
    #[error("{} is in use by {}", folder.display(), holder(*pid))]
    InUse {
        /// The log's folder.
        folder: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// Acknowledged records cannot be read: restore the file. Trying to open has cut nothing.
    #[error("{} is damaged: {reason}{}", file.display(), lost.map(|lost| format!("; {lost}")).unwrap_or_default())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is lost at least, if that can be told.
        lost: Option<Lost>,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk is full: make room.
    #[error("{}: there is no room on the disk", path.display())]
    NoSpace {
        /// Where room was needed.
        path: PathBuf,
    },
    /// The folder holds a log that this release or configuration does not fit.
    #[error("the log in {} does not fit: {reason}", folder.display())]
    Incompatible {
        /// The log's folder.
        folder: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Anything else: permissions, a disk that does not answer.
    #[error("the log cannot be opened: {reason}")]
    Other {
        /// What happened, and where.
        reason: String,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path: path.to_owned() },
            _ => Self::Other { reason: format!("{}: {error}", path.display()) },
        }
    }

    pub(super) fn store(folder: &Path, error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))
                if error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::io(folder, error)
            }
            // The journals were read before: what does not open is a table or the store's own list of them.
            error => Self::Damaged {
                file: folder.to_owned(),
                lost: None,
                reason: format!("the store does not open: {error}"),
            },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}
