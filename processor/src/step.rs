//! The fold: `state', outcomes = step(state, record)`. Pure: no I/O, no clock, no randomness.
//!
//! Changes go to an [`Overlay`] over the committed [`State`]. In order, for each record:
//!
//! 1. Log time moves ([`log_time_after`]).
//! 2. Held conversions with arrival + grace at or before log time are [`release`]d, first in, first out, against the state
//!    as it was before the record.
//! 3. The record is [`fold`]ed: floors rise, then its event is de-duplicated, counted, given a session, and remembered
//!    (decision) or held (conversion).
//!
//! [`release`] may stop half-way when it has filled a transaction: commit, and call it again with the same record. A state
//! with half of a release done is as good as any other, as the watermark record says how far *released* has come.

mod assignment;
mod attribution;
mod below;
mod digest;
mod floors;
mod held;
mod input;
mod outcome;
mod overlay;
mod recent;
mod seen;
mod session;
mod state;
mod stored;
mod table;
mod visitor;

pub(crate) use below::{Below, Share};
pub(crate) use digest::{DIGEST_BYTES, Digest};
pub(crate) use floors::{HOUR_MS, hour_of};
pub use input::{Body, Input, Newer};
pub use outcome::{Emitted, Outcomes};
pub use overlay::{Counts, Overlay};
pub(crate) use seen::SeenHour;
pub use session::session_id;
pub use state::{Head, State, Swept};
pub(crate) use stored::{Changes, Rebuilt, Unreadable, check_held, head_bytes, hour_key, stored_head, stored_visitor};
pub(crate) use visitor::Visitor;

use bytes::Bytes;
use millrace_eventlog::Offset;
use millrace_schemas::enriched::{Dead, Duplicate, Kind, Rejected, Unattributed, outcome::What};
use millrace_schemas::partition::split_key;
use millrace_schemas::raw::{AttributionMode, Conversion, DecisionEvent, Event, Reject, event};
use millrace_schemas::reasons::VISITOR_RATE;

use crate::limits::ORIGINAL_BYTES_MAX;

use assignment::Treatment;
use attribution::{attribute, counts_visitor};
use held::Held;
use outcome::EnrichedRef;

/// Folds one record, with all it releases.
pub fn step(state: &State, overlay: &mut Overlay, input: Input, outcomes: &mut Outcomes) {
    release(state, overlay, &input, outcomes, usize::MAX);
    fold(state, overlay, input, outcomes, Offset::MIN);
}

/// Log time once the record is in: its append time, or its witness where the two differ by more than the tolerance and
/// the witness is earlier; never back. A record without a witness (a dead letter) does not move it: no clock does alone.
#[must_use]
pub fn log_time_after(head: &Head, input: &Input) -> i64 {
    let appended = input.append_time_ms;
    let tolerance = u64::try_from(head.settings.witness_tolerance_ms).unwrap_or_default();
    let Some(witness) = input.witness_ms else { return head.log_time_ms };
    let taken = if appended.abs_diff(witness) > tolerance { appended.min(witness) } else { appended };
    head.log_time_ms.max(taken)
}

/// Emits the held conversions that are due when this record comes, until `outcomes` has `bytes_max` bytes. False: there
/// are more.
pub fn release(state: &State, overlay: &mut Overlay, input: &Input, outcomes: &mut Outcomes, bytes_max: usize) -> bool {
    let log_time_ms = log_time_after(&overlay.head, input);
    let grace_ms = overlay.head.settings.attribution_grace_ms;
    while let Some(due) = overlay.oldest(state).filter(|held| held.arrival_ms.saturating_add(grace_ms) <= log_time_ms) {
        if outcomes.bytes() >= bytes_max {
            return false;
        }
        if counts_visitor(due, &overlay.head.settings) {
            let visitor = due.visitor;
            overlay.recall(state, visitor);
        }
        let left_out = emit_oldest(state, overlay, outcomes);
        overlay.counts.assignments_dropped += left_out as u64;
        overlay.release_oldest(state);
    }
    true
}

/// How many experiments were left out of it.
fn emit_oldest(state: &State, overlay: &Overlay, outcomes: &mut Outcomes) -> usize {
    let Some(held) = overlay.oldest(state) else { return 0 };
    let settings = &overlay.head.settings;
    let mut floors = overlay.head.floors;
    // As of the moment it was due: the last record may have come long before, and whether a tick came since is no event's affair.
    floors.rise(held.arrival_ms.saturating_add(settings.attribution_grace_ms), settings);
    let visitor = overlay.visitor_seen(state, &held.visitor);
    let attribution = attribute(held, visitor, settings, &floors);
    let computed = held.session.to_string();
    let session_id = match &held.sent_session {
        Some(sent) => Some(&**sent),
        None if settings.attribution_mode() == AttributionMode::None => None,
        None => Some(computed.as_str()),
    };
    outcomes.push_enriched(
        held.key.clone(),
        &EnrichedRef {
            raw_offset: held.offset,
            process_timestamp_ms: held.arrival_ms,
            event: &held.event,
            session_id,
            experiments: &attribution.experiments,
            unattributed: attribution.unattributed,
        },
    );
    attribution.left_out
}

/// Takes the record itself into the state. Conversions before `hold_from` are not held: recovery folds what has been
/// emitted already. What is due must have been released before.
pub fn fold(state: &State, overlay: &mut Overlay, input: Input, outcomes: &mut Outcomes, hold_from: Offset) {
    let log_time_ms = log_time_after(&overlay.head, &input);
    overlay.head.log_time_ms = log_time_ms;
    overlay.head.floors.rise(log_time_ms, &overlay.head.settings);
    overlay.head.folded = input.offset.saturating_add(1);
    let mut record = Folding { state, overlay, outcomes, offset: input.offset, log_time_ms, key: input.key };
    match input.body {
        Body::Event(event, bytes) => record.event(*event, bytes, hold_from),
        Body::Reject(reject) => record.reject(*reject),
        Body::Settings(settings) => {
            if settings.version > overlay.head.settings.version {
                overlay.head.settings = settings;
            }
        }
        Body::Tick => {}
        Body::Dead { reason, original } => record.dead(reason, original),
    }
}

/// One record on its way into the overlay.
struct Folding<'a> {
    state: &'a State,
    overlay: &'a mut Overlay,
    outcomes: &'a mut Outcomes,
    offset: Offset,
    log_time_ms: i64,
    key: Bytes,
}

impl Folding<'_> {
    fn emit(&mut self, what: What) {
        self.outcomes.push(self.key.clone(), self.offset, self.log_time_ms, what);
    }

    fn event(&mut self, event: Event, bytes: Bytes, hold_from: Offset) {
        let visitor_key = Digest::of_visitor(&event.account_id, &event.visitor_id);
        if !self.overlay.see(self.state, Digest::of_event(visitor_key, &event.uuid)) {
            let kind = match event.kind {
                Some(event::Kind::DecisionEvent(_)) => Kind::Decision,
                _ => Kind::Conversion,
            };
            return self.duplicate(event.account_id, kind);
        }
        let settings = self.overlay.head.settings;
        let visitor = self.overlay.visitor(self.state, visitor_key);
        if !visitor.admit(self.log_time_ms, settings.events_per_visitor_minute_max) {
            return self.over_rate(event, bytes);
        }
        let start_ms = session::join(&mut visitor.session, event.timestamp_ms, self.log_time_ms, &settings);
        let experiments_seen = visitor.experiments_seen;
        let session = session_id(&event.account_id, &event.visitor_id, start_ms);
        let placed = Placed { visitor_key, session, experiments_seen, bytes };
        let Event { timestamp_ms, session_id: sent_session, enrich_decisions, kind, .. } = event;
        match kind {
            Some(event::Kind::DecisionEvent(decided)) => self.decision(placed, decided, timestamp_ms, sent_session),
            Some(event::Kind::Conversion(conversion)) if self.offset >= hold_from => {
                self.hold(placed, conversion, timestamp_ms, sent_session, enrich_decisions);
            }
            // Emitted already; or neither of both, which is a dead letter before it comes here.
            _ => {}
        }
    }

    fn decision(&mut self, placed: Placed, decided: DecisionEvent, timestamp_ms: i64, sent_session: Option<String>) {
        let settings = self.overlay.head.settings;
        let computed = placed.session.to_string();
        let session_id = match sent(&sent_session) {
            None if settings.attribution_mode() == AttributionMode::None => None,
            None => Some(computed.as_str()),
            sent => sent,
        };
        self.outcomes.push_enriched(
            self.key.clone(),
            &EnrichedRef {
                raw_offset: self.offset,
                process_timestamp_ms: self.log_time_ms,
                event: &placed.bytes,
                session_id,
                experiments: &[],
                unattributed: Unattributed::Not,
            },
        );
        for decision in decided.decisions.into_iter().filter(|decision| decision.experiment_id.is_some()) {
            let treatment = self.overlay.share(self.state, Treatment::from(decision));
            let visitor = self.overlay.visitor(self.state, placed.visitor_key);
            let dropped = visitor.decide(treatment, timestamp_ms, self.log_time_ms, &settings);
            self.overlay.counts.assignments_dropped += u64::from(dropped);
        }
    }

    fn hold(
        &mut self,
        placed: Placed,
        conversion: Conversion,
        timestamp_ms: i64,
        sent_session: Option<String>,
        enrich: bool,
    ) {
        let own = conversion.snapshot_decisions.into_iter();
        let snapshot = own.map(|decision| self.overlay.share(self.state, Treatment::from(decision))).collect();
        self.overlay.held.push_back(Held {
            offset: self.offset,
            arrival_ms: self.log_time_ms,
            visitor: placed.visitor_key,
            timestamp_ms,
            session: placed.session,
            sent_session: sent(&sent_session).map(Into::into),
            experiments_seen: placed.experiments_seen,
            enrich,
            snapshot,
            // Own copies: a slice would keep the whole delivery in memory for as long as the conversion is held.
            key: Bytes::copy_from_slice(&self.key),
            event: Bytes::copy_from_slice(&placed.bytes),
        });
    }

    fn over_rate(&mut self, event: Event, bytes: Bytes) {
        self.overlay.counts.over_rate += 1;
        let most = self.overlay.head.settings.events_per_visitor_minute_max;
        let reject = Reject {
            account_id: event.account_id,
            visitor_id: event.visitor_id,
            uuid: Some(event.uuid),
            reason: VISITOR_RATE.into(),
            rule: format!("at most {most} events of one visitor per minute"),
            original: beginning(bytes),
            source: event.source,
            request_id: event.request_id,
            ..Reject::default()
        };
        self.emit(What::Rejected(Rejected { reject: Some(reject) }));
    }

    fn reject(&mut self, mut reject: Reject) {
        let visitor_key = Digest::of_visitor(&reject.account_id, &reject.visitor_id);
        let digest = Digest::of_reject(visitor_key, &reject.original, reject.position);
        if self.overlay.see(self.state, digest) {
            reject.original = beginning(reject.original);
            self.emit(What::Rejected(Rejected { reject: Some(reject) }));
        } else {
            self.duplicate(reject.account_id, Kind::Reject);
        }
    }

    fn duplicate(&mut self, account_id: String, kind: Kind) {
        self.overlay.counts.duplicates += 1;
        self.emit(What::Duplicate(Duplicate { account_id, kind: kind.into() }));
    }

    fn dead(&mut self, reason: String, original: Bytes) {
        self.overlay.counts.dead += 1;
        let (account_id, visitor_id) = split_key(&self.key).unwrap_or_default();
        let (account_id, visitor_id) = (account_id.to_owned(), visitor_id.to_owned());
        self.emit(What::Dead(Dead { account_id, visitor_id, reason, original: beginning(original) }));
    }
}

/// What is kept of something that is no row: with all that goes with it, a record the log takes.
fn beginning(original: Bytes) -> Bytes {
    original.slice(..original.len().min(ORIGINAL_BYTES_MAX))
}

/// An admitted event: whose it is, the session it joined, how many experiments its visitor had seen, its bytes.
struct Placed {
    visitor_key: Digest,
    session: i32,
    experiments_seen: u32,
    bytes: Bytes,
}

/// The session id a client sent; "" and AUTO ask for ours.
fn sent(session_id: &Option<String>) -> Option<&str> {
    session_id.as_deref().filter(|sent| !sent.is_empty() && *sent != "AUTO")
}
