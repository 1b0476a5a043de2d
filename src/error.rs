//! Why Millrace did not start, or stopped: by what the operator does next.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use millrace_eventlog::embedded::OpenError;

use crate::config::ConfigError;

/// Why Millrace did not start. Each has an exit code of its own, see [`StartError::exit_code`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Mend the configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Choose another address, or stop who has it.
    #[error("{address} is in use: stop the other process, or choose another address with {flag}")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// Another process has the folder.
    #[error(
        "the data folder {} is in use by {}: stop it, or choose another folder with --data",
        folder.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    FolderInUse {
        /// The data folder.
        folder: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// Acknowledged records cannot be read.
    #[error(
        "the log is damaged, and nothing was changed: {0}\n\
         Restore this file from a copy, or look at the disk; to begin anew, choose another folder with --data."
    )]
    Damaged(OpenError),
    /// Make room.
    #[error("{0}: make room and start again; nothing was lost")]
    NoSpace(OpenError),
    /// Make, or mend, the topics.
    #[error("the topics are not as they must be:\n  {}", .0.join("\n  "))]
    Topics(Vec<String>),
    /// Mend the object store, or how it is reached.
    #[error("{0}")]
    Store(String),
    /// It had started.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// The process's exit code. 2 is also clap's for a command line that is not understood.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Other(_) => 1,
            Self::Config(_) => 2,
            Self::FolderInUse { .. } => 3,
            Self::Damaged(_) => 4,
            Self::AddressInUse { .. } => 5,
            Self::NoSpace(_) => 6,
            Self::Topics(_) => 7,
            Self::Store(_) => 8,
        }
    }

    pub(crate) fn other(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::Other(format!("{}: {error}", path.display()))
    }

    /// What the log said, in the words of the data folder.
    pub(crate) fn of_log(folder: &Path, error: OpenError) -> Self {
        match error {
            OpenError::InUse { pid, .. } => Self::FolderInUse { folder: folder.to_owned(), pid },
            OpenError::Damaged { .. } => Self::Damaged(error),
            OpenError::NoSpace { .. } => Self::NoSpace(error),
            OpenError::Incompatible { .. } | OpenError::Other { .. } => Self::Other(error.to_string()),
        }
    }
}

impl From<millrace_eventlog_kafka::OpenError> for StartError {
    fn from(error: millrace_eventlog_kafka::OpenError) -> Self {
        use millrace_eventlog_kafka::OpenError as Kafka;
        match error {
            Kafka::Unreachable(_) => Self::Other(error.to_string()),
            Kafka::Options(wrong) => Self::Config(ConfigError(wrong)),
            Kafka::Topics(wrong) => Self::Topics(wrong),
            Kafka::NoLog | Kafka::NotWhole(_) => Self::Topics(vec![error.to_string()]),
        }
    }
}

/// Why a Millrace that had started ended by itself, or did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A part stopped that must run.
    #[error("{part} stopped: {reason}")]
    Part {
        /// The part, as `/readyz` names it.
        part: &'static str,
        /// What it said.
        reason: String,
    },
    /// A part was asked to stop and did not within the deadline. What was acknowledged is in the log all the same.
    #[error("{} did not stop within the deadline", .0.join(", "))]
    Late(Vec<&'static str>),
}
