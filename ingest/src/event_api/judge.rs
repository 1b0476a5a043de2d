//! Makes events and rejects of what a body says: each event of the batch becomes exactly one of the two.

use std::net::IpAddr;

use millrace_schemas::raw_encode::{ConversionRef, DecisionRef, EventRef, KindRef};
use millrace_schemas::reasons::DECISION_WITHOUT_MATCH;
use serde_json::Value;

use crate::address::anonymised;
use crate::limits::EVENT_BYTES_MAX;
use crate::problem::{Broken, Problem};
use crate::records::{LARGE, Prepared, Records, Rejected, Shared};
use crate::refusal::Refusal;
use crate::unknown_fields::UnknownFields;

use super::batch::{Batch, Event, Lists, Part, Snapshot, Unknown, Visitor, Within};

const ACTIVATED: &str = "campaign_activated";
const NO_MATCH: Broken = Broken {
    reason: DECISION_WITHOUT_MATCH,
    rule: "a decision of the snapshot whose campaign_id is the event's entity_id, or exactly one decision",
};

/// Where a request came from.
pub(crate) struct Origin<'a> {
    /// The client's address, whole.
    pub(crate) client: Option<IpAddr>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) referer: Option<&'a str>,
    pub(crate) shared: Shared<'a>,
}

/// The records of a batch, in its order.
pub(crate) fn records(batch: &Batch<'_>, origin: &Origin<'_>, body_bytes: usize) -> Result<Prepared, Refusal> {
    let kept = |address| if batch.anonymize_ip { anonymised(address) } else { address };
    let user_ip = origin.client.map(|address| kept(address).to_string());
    let mut judge = Judge {
        batch,
        origin,
        user_ip: user_ip.as_deref(),
        records: Records::new(origin.shared, body_bytes),
        matching: Vec::new(),
        unknown: UnknownFields::default(),
    };
    for (index, visitor) in batch.visitors.iter().enumerate() {
        judge.visitor(index, visitor)?;
    }
    Ok(judge.records.finish())
}

struct Judge<'b, 'a> {
    batch: &'b Batch<'a>,
    origin: &'b Origin<'b>,
    user_ip: Option<&'b str>,
    records: Records<'b>,
    // Reused from event to event.
    matching: Vec<DecisionRef<'a>>,
    unknown: UnknownFields,
}

/// Where an event stands in its body, for paths.
#[derive(Clone, Copy)]
struct At {
    visitor: usize,
    snapshot: usize,
    event: usize,
}

impl<'a> Judge<'_, 'a> {
    fn visitor(&mut self, index: usize, visitor: &Visitor<'a>) -> Result<(), Refusal> {
        let mut judged = 0;
        for (snapshot_index, snapshot) in self.batch.lists.snapshots[visitor.snapshots.clone()].iter().enumerate() {
            let events = &self.batch.lists.events[snapshot.events.clone()];
            for (event_index, event) in events.iter().enumerate() {
                let at = At { visitor: index, snapshot: snapshot_index, event: event_index };
                self.event(at, visitor, snapshot, event)?;
            }
            judged += events.len();
            // Of a good visitor: a bad one counts once, below.
            if let (true, Some(problem), false) = (events.is_empty(), snapshot.problems.first(), visitor.problems.any())
            {
                let path = format!("visitors[{index}].snapshots[{snapshot_index}]");
                self.reject(visitor, None, snapshot.original, path, problem)?;
                judged += 1;
            }
        }
        match visitor.problems.first() {
            Some(problem) if judged == 0 => {
                self.reject(visitor, None, visitor.original, format!("visitors[{index}]"), problem)
            }
            _ => Ok(()),
        }
    }

    fn reject(
        &mut self,
        visitor: &Visitor<'_>,
        uuid: Option<&str>,
        original: &str,
        mut path: String,
        problem: &Problem,
    ) -> Result<(), Refusal> {
        if !problem.field.is_empty() {
            path.push('.');
            path.push_str(&problem.field);
        }
        self.records.reject(Rejected { visitor_id: visitor.visitor_id, uuid, original }, path, problem.broken)
    }

    fn event(
        &mut self,
        at: At,
        visitor: &Visitor<'a>,
        snapshot: &Snapshot<'a>,
        event: &Event<'a>,
    ) -> Result<(), Refusal> {
        let At { visitor: v, snapshot: s, event: e } = at;
        let of_event = || format!("visitors[{v}].snapshots[{s}].events[{e}]");
        let (path, problem) = if let Some(problem) = visitor.problems.first() {
            (format!("visitors[{v}]"), problem.clone())
        } else if let Some(problem) = snapshot.problems.first() {
            (format!("visitors[{v}].snapshots[{s}]"), problem.clone())
        } else if let Some(problem) = event.problems.first() {
            (of_event(), problem.clone())
        } else {
            match self.accept(visitor, snapshot, event)? {
                Ok(()) => return Ok(()),
                Err(problem) => (of_event(), problem),
            }
        };
        self.reject(visitor, event.uuid, event.original, path, &problem)
    }

    /// `Ok(Err)`: the event breaks a rule that takes more than its own fields.
    fn accept(
        &mut self,
        visitor: &Visitor<'a>,
        snapshot: &Snapshot<'a>,
        event: &Event<'a>,
    ) -> Result<Result<(), Problem>, Refusal> {
        let of = |field: &str, broken| Ok(Err(Problem { field: field.to_owned(), broken }));
        if event.original.len() > EVENT_BYTES_MAX {
            return of("", LARGE);
        }
        let lists = &self.batch.lists;
        let decisions = &lists.decisions[snapshot.decisions.clone()];
        if is_decision(event) {
            matching(event, decisions, &mut self.matching);
            if self.matching.is_empty() {
                return of("entity_id", NO_MATCH);
            }
        }
        self.write_unknown(visitor, snapshot, event);
        let kind = if is_decision(event) {
            KindRef::Decisions(&self.matching)
        } else {
            KindRef::Conversion(ConversionRef {
                entity_id: event.entity_id,
                key: event.key,
                event_type: event.kind,
                revenue: event.revenue,
                value: event.value,
                quantity: event.quantity,
                tags: &lists.pairs[event.tags.clone()],
                properties: &lists.pairs[event.properties.clone()],
                snapshot_decisions: decisions,
            })
        };
        let Shared { account_id, source, request_id, .. } = self.origin.shared;
        self.records.event(&EventRef {
            account_id,
            visitor_id: visitor.visitor_id,
            uuid: event.uuid.unwrap_or_default(),
            timestamp_ms: event.timestamp_ms,
            session_id: visitor.session_id,
            attributes: &lists.attributes[visitor.attributes.clone()],
            user_ip: self.user_ip,
            user_agent: visitor.user_agent.or(self.origin.user_agent),
            referer: self.origin.referer,
            revision: self.batch.revision,
            client_engine: self.batch.client_name,
            client_version: self.batch.client_version,
            project_id: self.batch.project_id,
            enrich_decisions: self.batch.enrich_decisions,
            kind,
            source,
            request_id,
            unknown_fields: self.unknown.as_str(),
        })
    }

    /// The unknown fields of an event and of all it stands in.
    fn write_unknown(&mut self, visitor: &Visitor<'_>, snapshot: &Snapshot<'_>, event: &Event<'_>) {
        let lists = &self.batch.lists;
        let parts = [
            ("batch", self.batch.unknown.as_slice()),
            ("visitor", &lists.visitor_unknown[visitor.unknown.clone()]),
            ("snapshot", &lists.snapshot_unknown[snapshot.unknown.clone()]),
            ("event", &lists.event_unknown[event.unknown.clone()]),
        ];
        self.unknown.clear();
        for (part, fields) in parts {
            for field in fields {
                self.unknown.add(&path(part, field), field.value);
            }
        }
        if is_decision(event) {
            keep_beyond_decision(&mut self.unknown, event, lists);
        }
    }
}

/// What a conversion has fields for and a decision has not.
fn keep_beyond_decision(unknown: &mut UnknownFields, event: &Event<'_>, lists: &Lists<'_>) {
    let texts = |part: &Part| -> Option<Value> {
        let pairs = &lists.pairs[part.clone()];
        (!pairs.is_empty())
            .then(|| pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect())
    };
    let fields = [
        ("revenue", event.revenue.map(Value::from)),
        ("value", event.value.map(Value::from)),
        ("quantity", event.quantity.map(Value::from)),
        ("tags", texts(&event.tags)),
        ("properties", texts(&event.properties)),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        unknown.add(&format!("event.{name}"), value);
    }
}

fn path(part: &str, field: &Unknown<'_>) -> String {
    let within = match field.within {
        None => String::new(),
        Some(Within::Attribute(index)) => format!("attributes[{index}]."),
        Some(Within::Decision(index)) => format!("decisions[{index}]."),
        Some(Within::Metadata(index)) => format!("decisions[{index}].metadata."),
    };
    format!("{part}.{within}{}", field.name)
}

fn is_decision(event: &Event<'_>) -> bool {
    match event.kind {
        None | Some("") => event.key == Some(ACTIVATED),
        Some(kind) => kind == ACTIVATED,
    }
}

/// The decisions a decision event stands for: those of its campaign, or the only one there is.
fn matching<'a>(event: &Event<'a>, decisions: &[DecisionRef<'a>], found: &mut Vec<DecisionRef<'a>>) {
    let campaign = event.entity_id.filter(|id| !id.is_empty());
    found.clear();
    found.extend(decisions.iter().filter(|decision| decision.campaign_id == campaign));
    if let ([only], true) = (decisions, found.is_empty()) {
        found.push(*only);
    }
}
