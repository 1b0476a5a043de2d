//! State as bytes: what the local store keeps. The texts of treatments are spelled out per visitor (the store compresses).

use std::sync::Arc;

use millrace_eventlog::Offset;
use millrace_schemas::raw::{Event, event};
use prost::Message;

use super::assignment::{Assignment, Run, Treatment};
use super::below::Share;
use super::digest::{DIGEST_BYTES, Digest};
use super::floors::Floors;
use super::held::Held;
use super::overlay::Overlay;
use super::sent;
use super::session::Session;
use super::state::{Head, State};
use super::visitor::Visitor;
use wire::{StoredAssignment, StoredHead, StoredHeld, StoredRun, StoredSession, StoredTreatment, StoredVisitor};

mod wire;

/// What one committed transaction changes in the store.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) head: Head,
    pub(crate) visitors: Vec<([u8; 16], Vec<u8>)>,
    /// By hour of log time: digests, one after the other.
    pub(crate) seen: Vec<(u32, Vec<u8>)>,
    pub(crate) held: Vec<(Offset, Vec<u8>)>,
    pub(crate) released: Vec<Offset>,
}

impl Changes {
    /// The changes `overlay` would make to `state`.
    pub(crate) fn of(state: &State, overlay: &Overlay) -> Self {
        let visitors = overlay.visitors.iter().map(|(key, visitor)| (key.0, visitor_bytes(visitor))).collect();
        Self {
            head: overlay.head,
            visitors,
            seen: seen_bytes(overlay),
            held: overlay.held.iter().map(|held| (held.offset, held_bytes(held))).collect(),
            released: state.held.iter().take(overlay.released).map(|held| held.offset).collect(),
        }
    }
}

/// An hour of log time as a key of the store.
pub(crate) fn hour_key(hour: i64) -> u32 {
    u32::try_from(hour.max(0)).unwrap_or(u32::MAX)
}

/// Why stored bytes are of no use: the store is made again from the log.
#[derive(Debug, thiserror::Error)]
#[error("local state does not decode: {0}")]
pub(crate) struct Unreadable(String);

impl Unreadable {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<prost::DecodeError> for Unreadable {
    fn from(source: prost::DecodeError) -> Self {
        Self(source.to_string())
    }
}

/// A state on its way back from the store.
pub(crate) struct Rebuilt(State);

impl Rebuilt {
    pub(crate) fn new(head: &[u8]) -> Result<Self, Unreadable> {
        stored_head(head).map(|head| Self(State::with_head(head)))
    }

    /// Held conversions come in the order of their offsets.
    pub(crate) fn held(&mut self, offset: Offset, value: &[u8]) -> Result<(), Unreadable> {
        let stored = StoredHeld::decode(value)?;
        let held = held_of(offset, stored, &mut |treatment| share(&mut self.0, treatment))?;
        self.0.held.push_back(held);
        Ok(())
    }

    pub(crate) fn done(self) -> State {
        self.0
    }
}

/// The numbers of a state, from their stored form.
pub(crate) fn stored_head(head: &[u8]) -> Result<Head, Unreadable> {
    let stored = StoredHead::decode(head)?;
    let settings = stored.settings.ok_or_else(|| Unreadable("no settings".into()))?;
    let floors = Floors {
        seen_hour: stored.seen_hour,
        session_ms: stored.session_ms,
        assignment_ms: stored.assignment_ms,
        decided_ms: stored.decided_ms,
    };
    Ok(Head { log_time_ms: stored.log_time_ms, folded: stored.folded, settings, floors })
}

fn share(state: &mut State, treatment: Treatment) -> Arc<Treatment> {
    if let Some(known) = state.treatments.get(&treatment) {
        return known.clone();
    }
    let shared = Arc::new(treatment);
    state.treatments.insert(shared.clone());
    shared
}

/// The numbers of a state, to be stored.
pub(crate) fn head_bytes(head: &Head) -> Vec<u8> {
    let Floors { seen_hour, session_ms, assignment_ms, decided_ms } = head.floors;
    let settings = Some(head.settings);
    let (log_time_ms, folded) = (head.log_time_ms, head.folded);
    StoredHead { log_time_ms, folded, settings, seen_hour, session_ms, assignment_ms, decided_ms }.encode_to_vec()
}

fn seen_bytes(overlay: &Overlay) -> Vec<(u32, Vec<u8>)> {
    let mut hours: Vec<(u32, Vec<u8>)> = Vec::new();
    let floor = overlay.head.floors.seen_hour;
    for (digest, hour) in overlay.seen.iter().filter(|(_, hour)| hour.hour() >= floor) {
        let key = hour_key(hour.hour());
        // A transaction rarely sees more than one hour.
        let place = hours.iter().position(|(hour, _)| *hour == key).unwrap_or_else(|| {
            hours.push((key, Vec::with_capacity(overlay.seen.len() * DIGEST_BYTES)));
            hours.len() - 1
        });
        hours[place].1.extend_from_slice(&digest.0);
    }
    hours
}

fn visitor_bytes(visitor: &Visitor) -> Vec<u8> {
    let session =
        visitor.session.map(|Session { start_ms, last_ms, joined_ms }| StoredSession { start_ms, last_ms, joined_ms });
    let run = |run: &Run| StoredRun {
        treatment: Some(StoredTreatment {
            campaign_id: run.treatment.campaign_id.clone(),
            experiment_id: run.treatment.experiment_id.clone(),
            variation_id: run.treatment.variation_id.clone(),
            is_holdback: run.treatment.is_holdback,
        }),
        first_ms: run.first_ms,
        last_ms: run.last_ms,
    };
    let assignment = |assignment: &Assignment| StoredAssignment {
        ordinal: assignment.ordinal,
        made_ms: assignment.made_ms,
        runs: assignment.runs.iter().map(run).collect(),
    };
    StoredVisitor {
        session,
        assignments: visitor.assignments.iter().map(assignment).collect(),
        experiments_seen: visitor.experiments_seen,
        decided_ms: (visitor.decided_ms != i64::MIN).then_some(visitor.decided_ms),
        minute: visitor.minute,
        minute_events: visitor.minute_events,
    }
    .encode_to_vec()
}

/// A visitor, from its stored form.
pub(crate) fn stored_visitor(value: &[u8], share: &mut Share<'_>) -> Result<Visitor, Unreadable> {
    let stored = StoredVisitor::decode(value)?;
    let mut assignments = Vec::with_capacity(stored.assignments.len());
    for StoredAssignment { ordinal, made_ms, runs } in stored.assignments {
        let runs = runs.into_iter().map(|run| {
            let given = run.treatment.ok_or_else(|| Unreadable("a run without a treatment".into()))?;
            let treatment = Treatment {
                campaign_id: given.campaign_id,
                experiment_id: given.experiment_id,
                variation_id: given.variation_id,
                is_holdback: given.is_holdback,
            };
            Ok(Run { treatment: share(treatment), first_ms: run.first_ms, last_ms: run.last_ms })
        });
        assignments.push(Assignment { ordinal, made_ms, runs: runs.collect::<Result<_, Unreadable>>()? });
    }
    let session =
        stored.session.map(|StoredSession { start_ms, last_ms, joined_ms }| Session { start_ms, last_ms, joined_ms });
    Ok(Visitor {
        session,
        assignments,
        experiments_seen: stored.experiments_seen,
        decided_ms: stored.decided_ms.unwrap_or(i64::MIN),
        minute: stored.minute,
        minute_events: stored.minute_events,
    })
}

fn held_bytes(held: &Held) -> Vec<u8> {
    // The rest is in the event.
    StoredHeld {
        arrival_ms: held.arrival_ms,
        session: held.session,
        experiments_seen: held.experiments_seen,
        key: held.key.clone(),
        event: held.event.clone(),
    }
    .encode_to_vec()
}

/// Whether bytes are a stored held conversion.
pub(crate) fn check_held(value: &[u8]) -> Result<(), Unreadable> {
    held_of(0, StoredHeld::decode(value)?, &mut Arc::new).map(drop)
}

fn held_of(offset: Offset, stored: StoredHeld, share: &mut Share<'_>) -> Result<Held, Unreadable> {
    let event = Event::decode(stored.event.clone())?;
    let visitor = Digest::of_visitor(&event.account_id, &event.visitor_id);
    let Some(event::Kind::Conversion(conversion)) = event.kind else {
        return Err(Unreadable("a held event that is no conversion".into()));
    };
    let own = conversion.snapshot_decisions.into_iter();
    Ok(Held {
        offset,
        arrival_ms: stored.arrival_ms,
        visitor,
        timestamp_ms: event.timestamp_ms,
        session: stored.session,
        sent_session: sent(&event.session_id).map(Into::into),
        experiments_seen: stored.experiments_seen,
        enrich: event.enrich_decisions,
        snapshot: own.map(|decision| share(Treatment::from(decision))).collect(),
        key: stored.key,
        event: stored.event,
    })
}
