//! What a process of a cluster does.

use millrace_directory::mint::ServerKeys;
use tokio::net::TcpListener;

use crate::config::Cluster;
use crate::error::StartError;
use crate::server_keys;

/// What a process of a cluster does. Any number of each may run.
#[derive(Debug)]
pub enum Role {
    /// Takes events.
    Ingest,
    /// Makes outcomes of them.
    Process,
    /// Makes Parquet of outcomes.
    Export,
    /// Hands out credentials, and files.
    Serve {
        /// The S3 gateway's listener.
        gateway: TcpListener,
        /// What signs credentials: the same for every `serve`.
        keys: ServerKeys,
    },
}

impl Role {
    /// The role `serve`, with the configured server keys.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub fn serve(config: &Cluster, gateway: TcpListener) -> Result<Self, StartError> {
        Ok(Self::Serve { gateway, keys: server_keys::load(&config.server_keys)? })
    }

    /// The command's name, and the end of an instance's default name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Export => "export",
            Self::Serve { .. } => "serve",
        }
    }
}
