//! The audit trail: who did what, with what outcome. Never a secret.

use std::net::IpAddr;
use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::{AppendError, Log, NewRecord, Topic};
use millrace_schemas::access::Audit;
use millrace_schemas::codec::Versioned;
use millrace_schemas::{partition, topics};

use crate::limits::AUDIT_TEXT_BYTES_MAX;
use crate::metrics::AUDIT_ENTRIES;

/// Who acts: kind and id of the credential or the process, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `cli`, `user`, `key`, `pat`, `system`.
    pub kind: String,
    /// The id within its kind.
    pub id: String,
    /// The address it acts from, if it came over the network.
    pub source_ip: Option<IpAddr>,
    /// What its client calls itself.
    pub user_agent: String,
    /// The request it acts in.
    pub request_id: String,
}

impl Actor {
    /// An actor by kind and id, with nothing known of a request.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), source_ip: None, user_agent: String::new(), request_id: String::new() }
    }

    /// The operator at the machine itself: `cli:local`.
    #[must_use]
    pub fn local() -> Self {
        Self::new("cli", "local")
    }

    /// An audit entry of this actor, count 1, without account; the caller fills in the rest.
    #[must_use]
    pub fn entry(&self, action: &str, target_kind: &str, target_id: &str, outcome: &str) -> Audit {
        Audit {
            actor_kind: self.kind.clone(),
            actor_id: self.id.clone(),
            action: action.to_owned(),
            target_kind: target_kind.to_owned(),
            target_id: target_id.to_owned(),
            outcome: outcome.to_owned(),
            source_ip: self.source_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            user_agent: self.user_agent.clone(),
            request_id: self.request_id.clone(),
            count: 1,
            ..Audit::default()
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// Appends to the audit trail.
pub struct Auditor {
    log: Arc<dyn Log>,
    clock: SharedClock,
}

impl Auditor {
    /// An auditor that appends to `millrace.audit` of this log.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, clock: SharedClock) -> Self {
        Self { log, clock }
    }

    /// Appends one entry and returns once it is durable. Sets its time, and its count if that is 0; cuts long texts.
    ///
    /// # Errors
    /// The log's: after [`AppendError::Unknown`] the entry may be there or not.
    pub async fn append(&self, entry: Audit) -> Result<(), AppendError> {
        self.append_all(vec![entry]).await
    }

    /// Appends entries together and returns once all are durable, as [`Auditor::append`] does.
    ///
    /// # Errors
    /// The log's: after [`AppendError::Unknown`] any of them may be there.
    pub async fn append_all(&self, entries: Vec<Audit>) -> Result<(), AppendError> {
        let topic = Topic(topics::AUDIT);
        let partitions = self.log.partitions(topic);
        let now_ms = self.clock.now_ms();
        let count = entries.len() as u64;
        let records = entries.into_iter().map(|entry| record(entry, now_ms, partitions)).collect();
        let appended = self.log.append(topic, records).await;
        let outcome = if appended.is_ok() { "ok" } else { "failed" };
        metrics::counter!(AUDIT_ENTRIES, "outcome" => outcome).increment(count);
        appended.map(|_| ())
    }
}

fn record(mut entry: Audit, now_ms: i64, partitions: u32) -> NewRecord {
    entry.timestamp_ms = now_ms;
    entry.count = entry.count.max(1);
    for text in [
        &mut entry.actor_id,
        &mut entry.target_id,
        &mut entry.user_agent,
        &mut entry.request_id,
        &mut entry.detail,
        &mut entry.outcome,
    ] {
        let end = text.floor_char_boundary(AUDIT_TEXT_BYTES_MAX);
        text.truncate(end);
    }
    NewRecord {
        partition: partition::of_account(&entry.account_id, partitions),
        version: Audit::VERSION,
        key: entry.account_id.clone().into_bytes().into(),
        value: entry.to_bytes(),
    }
}
