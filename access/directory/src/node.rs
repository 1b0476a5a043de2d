//! A node's view of the directory: look-ups and changes.

use std::net::IpAddr;
use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::{Log, ReadError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::audit::Auditor;
use crate::changes::Changes;
use crate::follower::{Follower, StartError};
use crate::limits::UNKNOWN_WAIT;
use crate::metrics::AUTHENTICATIONS;
use crate::unknown::Unknown;
use crate::validations::{self, Validations};
use crate::{
    Actor, AuthError, Command, CommandError, Directory, Done, Kind, Presented, Principal, SecretSource, SystemSecrets,
};

/// One process's directory. It follows the access topic until it is stopped or dropped.
pub struct Node {
    follower: Arc<Follower>,
    changes: Arc<Changes>,
    validations: Arc<Validations>,
    unknown: Unknown,
    clock: SharedClock,
    tasks: TaskTracker,
    _stopped_when_dropped: DropGuard,
}

impl Node {
    /// Folds the access topic to its present end, then follows it until `stop`.
    ///
    /// # Errors
    /// The topic cannot be read, or a later release wrote to it.
    pub async fn start(
        log: Arc<dyn Log>,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        Self::start_with(log, clock, Arc::new(SystemSecrets), stop).await
    }

    /// As [`Node::start`], with a source of secrets and ids.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with(
        log: Arc<dyn Log>,
        clock: SharedClock,
        secrets: Arc<dyn SecretSource>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let (follower, fold) = Follower::start(log.clone(), clock.clone()).await?;
        let auditor = Arc::new(Auditor::new(log.clone(), clock.clone()));
        let (validations, first) = Validations::new();
        let validations = Arc::new(validations);
        // A child, so that dropping the node stops the node and nothing else.
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        let following = follower.clone();
        let until = stop.clone();
        tasks.spawn(async move { following.follow(fold, until).await });
        tasks.spawn(validations::write_down(validations.clone(), first, auditor.clone(), clock.clone(), stop.clone()));
        tasks.close();
        let changes = Arc::new(Changes::new(log, clock.clone(), follower.clone(), auditor, secrets));
        Ok(Arc::new(Self {
            follower,
            changes,
            validations,
            unknown: Unknown::new(),
            clock,
            tasks,
            _stopped_when_dropped: stop.drop_guard(),
        }))
    }

    /// The present fold.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.follower.directory()
    }

    /// The fold with everything the log held at the call. Waits as long as it takes.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] also if the fold has stopped for good.
    pub async fn caught_up(&self) -> Result<Arc<Directory>, ReadError> {
        self.follower.caught_up().await
    }

    /// Who presented the credential: a local look-up. An unknown one is refused only once everything the log held at the
    /// call is folded.
    ///
    /// # Errors
    /// [`AuthError::Unknown`] and [`AuthError::Inactive`]: refuse. [`AuthError::Unavailable`]: it cannot be told now.
    pub async fn authenticate(&self, presented: &Presented) -> Result<Principal, AuthError> {
        let outcome = self.look_up(presented).await;
        let kind = presented.kind().map_or("unrecognised", Kind::name);
        metrics::counter!(AUTHENTICATIONS, "kind" => kind, "outcome" => outcome_name(&outcome)).increment(1);
        outcome
    }

    /// As [`Node::authenticate`], and counts the look-up for the audit trail; `source` is the client's address.
    ///
    /// # Errors
    /// As [`Node::authenticate`].
    pub async fn authenticate_from(&self, presented: &Presented, source: IpAddr) -> Result<Principal, AuthError> {
        let outcome = self.authenticate(presented).await;
        self.validations.count(&outcome, source);
        outcome
    }

    async fn look_up(&self, presented: &Presented) -> Result<Principal, AuthError> {
        if let Some(reason) = self.follower.stopped() {
            // Revocations are no longer heard of, so nothing may be let in.
            return Err(AuthError::Unavailable(reason.to_string()));
        }
        let directory = self.directory();
        let found = directory.look_up(presented);
        let (Err(AuthError::Unknown { .. }), Some(digest)) = (&found, presented.digest()) else {
            return found;
        };
        if self.unknown.holds(digest, directory.position(), self.clock.elapsed()) {
            return found;
        }
        let directory = tokio::select! {
            directory = self.caught_up() => directory.map_err(|error| AuthError::Unavailable(error.to_string()))?,
            () = self.clock.sleep(UNKNOWN_WAIT) => {
                return Err(AuthError::Unavailable("the log's end was not reached in time".into()));
            }
        };
        let found = directory.look_up(presented);
        if let Err(AuthError::Unknown { .. }) = found {
            self.unknown.remember(digest, directory.position(), self.clock.elapsed());
        }
        found
    }

    /// Carries out a command: validates it, appends its fact, waits until this node has folded it, and writes the audit
    /// entry. Goes on to the end even if the caller goes away.
    ///
    /// # Errors
    /// See [`CommandError`]: each variant says whether anything changed.
    pub async fn execute(&self, actor: &Actor, command: Command) -> Result<Done, CommandError> {
        let (changes, actor) = (self.changes.clone(), actor.clone());
        // A task of its own: a client that hangs up in the middle must not leave a change without its audit entry.
        let task = tokio::spawn(async move { changes.execute(&actor, &command).await });
        task.await.unwrap_or_else(|error| Err(CommandError::Unknown { reason: error.to_string() }))
    }

    /// Whether this node has reached the log's end lately; one that has not must not mint, and is not ready.
    ///
    /// # Errors
    /// For how long it has not, or why it never will.
    pub fn fresh(&self) -> Result<(), String> {
        self.follower.fresh()
    }

    /// Waits until the fold stops for good, and says why; for ever where it does not.
    pub async fn halted(&self) -> String {
        self.follower.halted().await
    }

    /// Returns once, after `stop`, the last counted validations are written and nothing runs any more. Stop a node
    /// after everything that authenticates with it.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}

fn outcome_name(outcome: &Result<Principal, AuthError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(AuthError::Unknown { .. }) => "unknown",
        Err(AuthError::Inactive { .. }) => "inactive",
        Err(AuthError::Unavailable(_)) => "unavailable",
    }
}
