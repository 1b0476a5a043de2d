//! Carries out commands: validate, append, wait for the fold's verdict, audit.

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::{AppendError, Log, NewRecord};
use millrace_schemas::access::{Audit, Fact};
use millrace_schemas::codec::Versioned;
use tokio::sync::Mutex;

use crate::audit::Auditor;
use crate::fold::Verdict;
use crate::follower::{ACCESS, Follower};
use crate::limits::{AUDIT_RETRY_PAUSE, AUDIT_TRIES, COMMAND_RETRIES, COMMAND_WAIT};
use crate::metrics::COMMANDS;
use crate::plan::plan;
use crate::subject::{self, Subject};
use crate::{AccountId, Actor, Command, CommandError, Done, SecretSource};

/// What changes the directory.
pub(crate) struct Changes {
    log: Arc<dyn Log>,
    clock: SharedClock,
    follower: Arc<Follower>,
    auditor: Arc<Auditor>,
    secrets: Arc<dyn SecretSource>,
    /// Commands of one node go one after the other: only those of other nodes can void their facts.
    one_at_a_time: Mutex<()>,
}

impl Changes {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        clock: SharedClock,
        follower: Arc<Follower>,
        auditor: Arc<Auditor>,
        secrets: Arc<dyn SecretSource>,
    ) -> Self {
        Self { log, clock, follower, auditor, secrets, one_at_a_time: Mutex::default() }
    }

    /// Carries out a command and audits it, whatever came of it.
    pub(crate) async fn execute(&self, actor: &Actor, command: &Command) -> Result<Done, CommandError> {
        let subject = Subject::of(command, self.secrets.as_ref()).map_err(unavailable)?;
        let outcome = self.carry_out(actor, command, &subject).await;
        metrics::counter!(COMMANDS, "outcome" => outcome_name(outcome.as_ref().err())).increment(1);
        match outcome {
            Ok(account) => {
                let entry = self.entry(actor, command, &subject, Some(account), None);
                self.audit(entry)
                    .await
                    .map_err(|error| CommandError::Unaudited { id: subject.id.clone(), reason: error.to_string() })?;
                let (id, secret) = subject.into_parts();
                Ok(Done { id, secret, directory: self.follower.directory() })
            }
            Err(error) => {
                let account = subject::account_of(command, &self.follower.directory());
                let entry = self.entry(actor, command, &subject, account, Some(&error));
                if let Err(audit) = self.audit(entry).await {
                    tracing::error!(error = %audit, "a command that was refused has no audit entry");
                }
                Err(error)
            }
        }
    }

    /// The account concerned, once the command's fact is applied.
    async fn carry_out(&self, actor: &Actor, command: &Command, subject: &Subject) -> Result<AccountId, CommandError> {
        let _turn = self.one_at_a_time.lock().await;
        for _ in 0..=COMMAND_RETRIES {
            let directory = tokio::select! {
                directory = self.follower.caught_up() => directory.map_err(unavailable)?,
                () = self.clock.sleep(COMMAND_WAIT) => return Err(unavailable("the log's end was not reached in time")),
            };
            let mut plan = plan(command, subject, &directory)?;
            plan.fact.id = subject::unique_id(self.secrets.as_ref()).map_err(unavailable)?;
            plan.fact.made_ms = self.clock.now_ms();
            plan.fact.actor = actor.to_string();
            if self.submit(&plan.fact).await? == Verdict::Applied {
                return Ok(plan.account);
            }
        }
        Err(CommandError::Conflict { reason: "others changed the same things at the same time; try again".into() })
    }

    /// Appends a fact and waits until it is folded here.
    async fn submit(&self, fact: &Fact) -> Result<Verdict, CommandError> {
        let mut waiting = self.follower.await_verdict(&fact.id);
        let record = NewRecord {
            partition: 0,
            version: Fact::VERSION,
            key: fact.id.clone().into_bytes().into(),
            value: fact.to_bytes(),
        };
        let appended = tokio::select! {
            appended = self.log.append(ACCESS, vec![record]) => appended,
            () = self.clock.sleep(COMMAND_WAIT) => {
                return Err(CommandError::Unknown { reason: "the log did not answer in time".to_owned() });
            }
        };
        let doubt = match appended {
            Ok(_) => "it was appended, but not folded in time".to_owned(),
            Err(error @ (AppendError::Refused { .. } | AppendError::TooLarge { .. })) => {
                return Err(unavailable(error));
            }
            // It may be in: then it is folded like any other, and its verdict tells.
            Err(error @ AppendError::Unknown { .. }) => error.to_string(),
        };
        self.follower.hurry();
        tokio::select! {
            verdict = waiting.verdict() => verdict.ok_or(CommandError::Unknown { reason: doubt }),
            () = self.clock.sleep(COMMAND_WAIT) => Err(CommandError::Unknown { reason: doubt }),
        }
    }

    fn entry(
        &self,
        actor: &Actor,
        command: &Command,
        subject: &Subject,
        account: Option<AccountId>,
        error: Option<&CommandError>,
    ) -> Audit {
        Audit {
            account_id: account.map(|account| account.to_string()).unwrap_or_default(),
            detail: error.map_or_else(|| subject::detail(command), ToString::to_string),
            ..actor.entry(subject::action(command), subject.kind, &subject.id, outcome_name(error))
        }
    }

    /// Appends an audit entry, some times over if need be: after an append whose answer was lost there may be two.
    async fn audit(&self, entry: Audit) -> Result<(), AppendError> {
        for _ in 1..AUDIT_TRIES {
            if self.auditor.append(entry.clone()).await.is_ok() {
                return Ok(());
            }
            self.clock.sleep(AUDIT_RETRY_PAUSE).await;
        }
        self.auditor.append(entry).await
    }
}

fn unavailable(reason: impl ToString) -> CommandError {
    CommandError::Unavailable { reason: reason.to_string() }
}

/// The outcome in the audit trail and in metrics; `None` is success.
fn outcome_name(error: Option<&CommandError>) -> &'static str {
    match error {
        None => "ok",
        Some(CommandError::Invalid { .. }) => "invalid",
        Some(CommandError::NotFound { .. }) => "not_found",
        Some(CommandError::Conflict { .. }) => "conflict",
        Some(CommandError::Unavailable { .. }) => "unavailable",
        Some(CommandError::Unknown { .. }) => "unknown",
        Some(CommandError::Unaudited { .. }) => "unaudited",
    }
}
