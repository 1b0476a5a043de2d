//! Builders of raw records, and the fold as a test sees it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code shared by several test programs, each of which uses some of it"
)]

pub mod scripts;

use bytes::Bytes;
use millrace_eventlog::{NewRecord, Record};
use millrace_processor::step::{Input, Outcomes, Overlay, State, step};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{Enriched, EnrichedRecord, Outcome, enriched_record, outcome};
use millrace_schemas::partition::record_key;
use millrace_schemas::raw::{Conversion, Decision, DecisionEvent, Event, Raw, Reject, Settings, Tick, event, raw};
use millrace_schemas::settings::defaults;

/// A Monday, 00:00 UTC.
pub const T0: i64 = 1_790_553_600_000;
pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub const ACCOUNT: &str = "12345";

pub fn settings() -> Settings {
    defaults()
}

pub fn event(visitor: &str, uuid: &str, timestamp_ms: i64, kind: event::Kind) -> Event {
    Event {
        account_id: ACCOUNT.into(),
        visitor_id: visitor.into(),
        uuid: uuid.into(),
        timestamp_ms,
        enrich_decisions: true,
        source: "key:1".into(),
        request_id: "r".into(),
        kind: Some(kind),
        ..Event::default()
    }
}

pub fn decision(experiment: &str, variation: &str) -> Decision {
    Decision {
        campaign_id: Some(format!("campaign-{experiment}")),
        experiment_id: Some(experiment.into()),
        variation_id: Some(variation.into()),
        is_holdback: Some(false),
        ..Decision::default()
    }
}

/// The visitor is given a variation.
pub fn decides(visitor: &str, uuid: &str, timestamp_ms: i64, experiment: &str, variation: &str) -> Event {
    decides_all(visitor, uuid, timestamp_ms, vec![decision(experiment, variation)])
}

pub fn decides_all(visitor: &str, uuid: &str, timestamp_ms: i64, decisions: Vec<Decision>) -> Event {
    event(visitor, uuid, timestamp_ms, event::Kind::DecisionEvent(DecisionEvent { decisions }))
}

/// The visitor does something.
pub fn converts(visitor: &str, uuid: &str, timestamp_ms: i64) -> Event {
    let conversion = Conversion { key: Some("purchase".into()), revenue: Some(100), ..Conversion::default() };
    event(visitor, uuid, timestamp_ms, event::Kind::Conversion(conversion))
}

/// ... with decisions in its own snapshot.
pub fn converts_with(visitor: &str, uuid: &str, timestamp_ms: i64, own: Vec<Decision>) -> Event {
    let conversion = Conversion { key: Some("purchase".into()), snapshot_decisions: own, ..Conversion::default() };
    event(visitor, uuid, timestamp_ms, event::Kind::Conversion(conversion))
}

pub fn reject(visitor: &str, original: &'static [u8], position: u32) -> Reject {
    Reject {
        account_id: ACCOUNT.into(),
        visitor_id: visitor.into(),
        reason: "wrong_type".into(),
        original: Bytes::from_static(original),
        position,
        ..Reject::default()
    }
}

pub fn key_of(body: &raw::Body) -> Bytes {
    match body {
        raw::Body::Event(event) => record_key(&event.account_id, &event.visitor_id).into(),
        raw::Body::Reject(reject) => record_key(&reject.account_id, &reject.visitor_id).into(),
        raw::Body::Settings(_) | raw::Body::Tick(_) => Bytes::new(),
    }
}

pub fn new_record(partition: u32, witness_ms: i64, body: raw::Body) -> NewRecord {
    let key = key_of(&body);
    let value = Raw { witness_ms, body: Some(body) }.to_bytes();
    NewRecord { partition, version: Raw::VERSION, key, value }
}

pub fn record(offset: u64, append_time_ms: i64, body: raw::Body) -> Record {
    let NewRecord { version, key, value, .. } = new_record(0, append_time_ms, body);
    Record { offset, append_time_ms, version, key, value }
}

pub fn tick() -> raw::Body {
    raw::Body::Tick(Tick {})
}

pub fn outcome_of(value: Bytes) -> Outcome {
    match EnrichedRecord::from_versioned(EnrichedRecord::VERSION, value).unwrap().body {
        Some(enriched_record::Body::Outcome(outcome)) => outcome,
        other => panic!("no outcome: {other:?}"),
    }
}

/// One partition being folded, a transaction per record.
pub struct Folded {
    pub state: State,
    pub outcomes: Vec<Outcome>,
    next: u64,
}

impl Folded {
    /// With these settings as the first record, at `T0`.
    pub fn new(settings: Settings) -> Self {
        let mut before = defaults();
        before.version = 0;
        let mut folded = Self { state: State::new(before), outcomes: Vec::new(), next: 0 };
        folded.at(T0, raw::Body::Settings(settings));
        folded
    }

    pub fn record(&mut self, record: &Record) -> &mut Self {
        let mut overlay = Overlay::on(&self.state);
        let mut outcomes = Outcomes::default();
        step(&self.state, &mut overlay, Input::read(record).unwrap(), &mut outcomes);
        self.state.apply(overlay);
        self.outcomes.extend(outcomes.drain().map(|emitted| outcome_of(emitted.value)));
        self.next = record.offset + 1;
        self
    }

    pub fn at(&mut self, append_time_ms: i64, body: raw::Body) -> &mut Self {
        // Offsets are not dense.
        let offset = self.next + self.next % 3;
        self.record(&record(offset, append_time_ms, body))
    }

    pub fn event(&mut self, append_time_ms: i64, event: Event) -> &mut Self {
        self.at(append_time_ms, raw::Body::Event(event))
    }

    pub fn tick(&mut self, append_time_ms: i64) -> &mut Self {
        self.at(append_time_ms, tick())
    }

    pub fn settings(&mut self, append_time_ms: i64, settings: Settings) -> &mut Self {
        self.at(append_time_ms, raw::Body::Settings(settings))
    }

    /// The enriched event with this uuid.
    pub fn enriched(&self, uuid: &str) -> &Enriched {
        self.find(uuid).unwrap_or_else(|| panic!("no enriched event {uuid}"))
    }

    pub fn find(&self, uuid: &str) -> Option<&Enriched> {
        self.outcomes.iter().find_map(|outcome| match &outcome.what {
            Some(outcome::What::Enriched(enriched)) if enriched.event.as_ref().unwrap().uuid == uuid => Some(enriched),
            _ => None,
        })
    }

    /// `experiment/variation` of a conversion, in order.
    pub fn experiments(&self, uuid: &str) -> Vec<String> {
        let name = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".into());
        let experiments = &self.enriched(uuid).experiments;
        experiments.iter().map(|one| format!("{}/{}", name(&one.experiment_id), name(&one.variation_id))).collect()
    }

    pub fn session(&self, uuid: &str) -> Option<&str> {
        self.enriched(uuid).session_id.as_deref()
    }

    /// What each outcome is, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.outcomes.iter().map(kind).collect()
    }
}

pub fn kind(outcome: &Outcome) -> &'static str {
    match &outcome.what {
        Some(outcome::What::Enriched(_)) => "enriched",
        Some(outcome::What::Duplicate(_)) => "duplicate",
        Some(outcome::What::Rejected(_)) => "rejected",
        Some(outcome::What::Dead(_)) => "dead",
        None => "nothing",
    }
}

/// A state before any record.
pub fn blank() -> State {
    let mut before = defaults();
    before.version = 0;
    State::new(before)
}

/// Folds records in transactions of `size` records each.
pub fn fold_in(state: &mut State, records: &[Record], size: usize) -> Vec<Outcome> {
    let mut folded = Vec::new();
    for transaction in records.chunks(size.max(1)) {
        let mut overlay = Overlay::on(state);
        let mut outcomes = Outcomes::default();
        for record in transaction {
            step(state, &mut overlay, Input::read(record).unwrap(), &mut outcomes);
        }
        state.apply(overlay);
        folded.extend(outcomes.drain().map(|emitted| outcome_of(emitted.value)));
    }
    folded
}
