//! Counted validations: the audit trail of credentials looked up, without an entry for each.
//!
//! Successes are counted per credential, failures per source address, kind and account (where the credential tells one);
//! the counts are written once a window, the first failure of each at once. Both tables are bounded: what does not fit is
//! counted under `*`, so the trail is complete and nobody can flood it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_clock::SharedClock;
use millrace_schemas::access::Audit;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::audit::Auditor;
use crate::limits::{
    AUDIT_BATCH, FIRST_FAILURES_WAITING_MAX, STOP_WAIT, VALIDATIONS_FAILURES_MAX, VALIDATIONS_SUCCESSES_MAX,
    VALIDATIONS_WINDOW,
};
use crate::{AccountId, Actor, AuthError, Kind, Principal};

const ACTION: &str = "credential.validate";
const OTHERS: &str = "*";

/// The counts of the present window.
pub(crate) struct Validations {
    counts: Mutex<Counts>,
    first: mpsc::Sender<Audit>,
}

#[derive(Default)]
struct Counts {
    successes: HashMap<Arc<str>, Success>,
    other_successes: u64,
    failures: HashMap<Failure, u64>,
    other_failures: u64,
}

struct Success {
    kind: Kind,
    account: AccountId,
    count: u64,
}

#[derive(PartialEq, Eq, Hash)]
struct Failure {
    source: IpAddr,
    kind: Option<Kind>,
    account: Option<AccountId>,
}

impl Validations {
    /// The counter, and the first failures on their way to the trail.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Audit>) {
        let (first, waiting) = mpsc::channel(FIRST_FAILURES_WAITING_MAX);
        (Self { counts: Mutex::default(), first }, waiting)
    }

    /// Counts the outcome of one look-up.
    pub(crate) fn count(&self, outcome: &Result<Principal, AuthError>, source: IpAddr) {
        match outcome {
            Ok(principal) => self.success(principal),
            Err(AuthError::Unknown { kind }) => self.failure(Failure { source, kind: *kind, account: None }),
            Err(AuthError::Inactive { kind, account, .. }) => {
                self.failure(Failure { source, kind: Some(*kind), account: Some(account.clone()) });
            }
            // Nothing was validated.
            Err(AuthError::Unavailable(_)) => {}
        }
    }

    fn success(&self, principal: &Principal) {
        let mut counts = self.lock();
        if let Some(success) = counts.successes.get_mut(principal.credential_id()) {
            success.count += 1;
        } else if counts.successes.len() < VALIDATIONS_SUCCESSES_MAX {
            let success = Success { kind: principal.kind(), account: principal.account().clone(), count: 1 };
            counts.successes.insert(principal.credential_id().clone(), success);
        } else {
            counts.other_successes += 1;
        }
    }

    fn failure(&self, failure: Failure) {
        let mut counts = self.lock();
        if let Some(count) = counts.failures.get_mut(&failure) {
            *count += 1;
        } else if counts.failures.len() < VALIDATIONS_FAILURES_MAX {
            // Written at once it counts 0 here; if it cannot be, it is written with the rest.
            let sent = self.first.try_send(failed(&failure, 1)).is_ok();
            counts.failures.insert(failure, u64::from(!sent));
        } else {
            counts.other_failures += 1;
        }
    }

    /// The entries of the window; a new one begins.
    fn take(&self) -> Vec<Audit> {
        let counts = std::mem::take(&mut *self.lock());
        let successes = counts.successes.iter().map(|(id, success)| succeeded(id, success));
        let failures = counts.failures.iter().map(|(failure, count)| failed(failure, *count));
        let others = [(counts.other_successes, "ok"), (counts.other_failures, "refused")].map(|(count, outcome)| {
            Audit { count: count.cast_signed(), ..Actor::new(OTHERS, OTHERS).entry(ACTION, "", "", outcome) }
        });
        successes.chain(failures).chain(others).filter(|entry| entry.count > 0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn succeeded(id: &str, success: &Success) -> Audit {
    Audit {
        account_id: success.account.to_string(),
        count: success.count.cast_signed(),
        ..Actor::new(success.kind.name(), id).entry(ACTION, success.kind.name(), id, "ok")
    }
}

fn failed(failure: &Failure, count: u64) -> Audit {
    let kind = failure.kind.map_or("unrecognised", Kind::name);
    let mut actor = Actor::new(kind, "");
    actor.source_ip = Some(failure.source);
    Audit {
        account_id: failure.account.as_ref().map(ToString::to_string).unwrap_or_default(),
        count: count.cast_signed(),
        ..actor.entry(ACTION, kind, "", "refused")
    }
}

/// Writes the counts once a window and first failures at once, until `stop`; then once more.
pub(crate) async fn write_down(
    validations: Arc<Validations>,
    mut first: mpsc::Receiver<Audit>,
    auditor: Arc<Auditor>,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let mut unwritten = Vec::new();
    let mut window = Box::pin(clock.sleep(VALIDATIONS_WINDOW));
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = first.recv_many(&mut batch, AUDIT_BATCH) => unwritten.append(&mut batch),
            () = &mut window => {
                unwritten.append(&mut validations.take());
                window = Box::pin(clock.sleep(VALIDATIONS_WINDOW));
            }
        }
        write(&auditor, &mut unwritten).await;
    }
    while let Ok(entry) = first.try_recv() {
        unwritten.push(entry);
    }
    unwritten.append(&mut validations.take());
    tokio::select! {
        () = write(&auditor, &mut unwritten) => {}
        () = clock.sleep(STOP_WAIT) => {}
    }
    if !unwritten.is_empty() {
        tracing::error!(entries = unwritten.len(), "counted validations were lost at the stop");
    }
}

/// Appends the entries; those that could not be written are kept for the next time, within a bound.
async fn write(auditor: &Auditor, unwritten: &mut Vec<Audit>) {
    while !unwritten.is_empty() {
        let batch = unwritten[..unwritten.len().min(AUDIT_BATCH)].to_vec();
        let written = batch.len();
        if let Err(error) = auditor.append_all(batch).await {
            tracing::warn!(%error, entries = unwritten.len(), "counted validations cannot be written, trying again");
            let bound = VALIDATIONS_SUCCESSES_MAX + 2 * VALIDATIONS_FAILURES_MAX;
            let lost = unwritten.len().saturating_sub(bound);
            if lost > 0 {
                tracing::error!(lost, "counted validations are lost: the audit trail took none for too long");
                unwritten.drain(..lost);
            }
            return;
        }
        unwritten.drain(..written);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn total(entries: &[Audit]) -> i64 {
        entries.iter().map(|entry| entry.count).sum()
    }

    #[test]
    fn successes_beyond_the_bound_are_counted_together() {
        let (validations, _first) = Validations::new();
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let account = AccountId::parse("1").unwrap();
        let principal = |number: usize| Principal::ApiKey {
            key_id: number.to_string().into(),
            account: account.clone(),
            profile: crate::Profile::Platform,
            scopes: crate::Scopes::ALL,
        };
        for number in 0..VALIDATIONS_SUCCESSES_MAX + 3 {
            validations.count(&Ok(principal(number)), source);
        }
        validations.count(&Ok(principal(0)), source);
        let entries = validations.take();
        assert_eq!(entries.len(), VALIDATIONS_SUCCESSES_MAX + 1);
        assert!(entries.iter().any(|entry| entry.actor_id == OTHERS && entry.count == 3));
        assert_eq!(total(&entries), VALIDATIONS_SUCCESSES_MAX as i64 + 4);
        assert!(validations.take().is_empty(), "a new window begins empty");
    }

    #[test]
    fn a_first_failure_that_finds_no_room_is_counted_with_the_rest() {
        let (validations, mut first) = Validations::new();
        // Places in the queue are taken by failures of earlier windows.
        let fail = |number: u32| {
            let source = IpAddr::V4(Ipv4Addr::from_bits(number));
            validations.count(&Err(AuthError::Unknown { kind: None }), source);
        };
        (0..FIRST_FAILURES_WAITING_MAX as u32).for_each(fail);
        assert!(validations.take().is_empty(), "each is on its way");
        fail(0);
        assert_eq!(total(&validations.take()), 1);
        first.try_recv().unwrap();
        fail(0);
        assert!(validations.take().is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_not_counted() {
        let (validations, mut first) = Validations::new();
        let unavailable = AuthError::Unavailable("no log".into());
        validations.count(&Err(unavailable), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(validations.take().is_empty() && first.try_recv().is_err());
    }
}
