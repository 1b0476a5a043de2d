//! One event of the Event API: its rules, and its record.

use std::fmt::Write;

use millrace_schemas::raw_encode::{AttributeRef, ConversionRef, DecisionRef, EventRef, KindRef};
use millrace_schemas::reasons;

use crate::fault::Fault;
use crate::limits::{EVENT_BYTES_MAX, TIMESTAMP_MS_MAX, UUID_BYTES_MAX, VISITOR_ID_BYTES_MAX};
use crate::records::Records;
use crate::wire::{Attribute, Decision, Event, Text, Unknown};

/// What makes an event a decision event.
const CAMPAIGN_ACTIVATED: &str = "campaign_activated";
/// The attribute that carries a visitor's user agent.
const USER_AGENT: &str = "$opt_user_agent";

/// What all events of a request share.
pub(crate) struct Shared<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) user_ip: &'a str,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) referer: Option<&'a str>,
    pub(crate) revision: Option<&'a str>,
    pub(crate) client_engine: Option<&'a str>,
    pub(crate) client_version: Option<&'a str>,
    pub(crate) project_id: Option<&'a str>,
    pub(crate) enrich_decisions: bool,
    pub(crate) unknown: &'a [Unknown<'a>],
    pub(crate) partitions: u32,
}

/// A visitor whose rules hold.
pub(crate) struct Sender<'a> {
    pub(crate) visitor_id: &'a str,
    session_id: Option<&'a str>,
    user_agent: Option<&'a str>,
    attributes: Vec<AttributeRef<'a>>,
    unknown: &'a [Unknown<'a>],
}

impl<'a> Sender<'a> {
    /// Checks a visitor.
    pub(crate) fn new(
        visitor_id: Option<&'a Text<'a>>,
        session_id: Option<&'a Text<'a>>,
        attributes: &'a [Attribute<'a>],
        unknown: &'a [Unknown<'a>],
    ) -> Result<Self, Fault> {
        let visitor_id = required(visitor_id, "visitor_id")?;
        bytes_within(visitor_id, "visitor_id", VISITOR_ID_BYTES_MAX)?;
        let session_id = session_id.map(|id| &**id).filter(|id| !id.is_empty() && *id != "AUTO");
        let mut kept = Vec::with_capacity(attributes.len());
        let mut user_agent = None;
        for (index, attribute) in attributes.iter().enumerate() {
            let attribute =
                checked_attribute(attribute).map_err(|fault| fault.under(&format!("attributes[{index}]")))?;
            if attribute.name == Some(USER_AGENT) || attribute.id == Some(USER_AGENT) {
                user_agent = attribute.value;
            }
            kept.push(attribute);
        }
        Ok(Self { visitor_id, session_id, user_agent, attributes: kept, unknown })
    }
}

fn checked_attribute<'a>(attribute: &'a Attribute<'a>) -> Result<AttributeRef<'a>, Fault> {
    let kind = attribute.kind.as_deref().ok_or_else(|| Fault::missing("type"))?;
    let value = attribute.value.as_ref().ok_or_else(|| Fault::missing("value"))?;
    if !value.is_scalar {
        let rule = "must be a string, a number or a boolean".into();
        return Err(Fault { reason: reasons::WRONG_TYPE, field: "value".into(), rule });
    }
    Ok(AttributeRef {
        id: attribute.entity_id.as_deref(),
        name: attribute.key.as_deref(),
        kind: Some(kind),
        value: Some(&value.text),
    })
}

/// Checks an event and adds its record.
pub(crate) fn accept(
    shared: &Shared<'_>,
    sender: &Sender<'_>,
    decisions: &[Decision<'_>],
    event: &Event<'_>,
    snapshot_unknown: &[Unknown<'_>],
    records: &mut Records,
) -> Result<(), Fault> {
    let uuid = required(event.uuid.as_ref(), "uuid")?;
    bytes_within(uuid, "uuid", UUID_BYTES_MAX)?;
    let timestamp_ms = event.timestamp.ok_or_else(|| Fault::missing("timestamp"))?;
    if !(0..=TIMESTAMP_MS_MAX).contains(&timestamp_ms) {
        return Err(Fault::range("timestamp", format!("must be ms since 1970 from 0 to {TIMESTAMP_MS_MAX}")));
    }
    if event.value.is_some_and(|value| !value.is_finite()) {
        return Err(Fault::range("value", "must be finite"));
    }
    let given: Vec<_> = decisions.iter().map(decision_ref).collect();
    let (matching, tags, properties);
    let kind = if is_decision(event) {
        matching = matching_decisions(&given, event.entity_id.as_deref())?;
        KindRef::Decisions(&matching)
    } else {
        tags =
            event.tags.iter().flat_map(|tags| &tags.0).map(|(name, value)| (&**name, &*value.text)).collect::<Vec<_>>();
        properties =
            event.properties.iter().flat_map(|all| &all.0).map(|(name, text)| (&**name, &**text)).collect::<Vec<_>>();
        KindRef::Conversion(ConversionRef {
            entity_id: event.entity_id.as_deref(),
            key: event.key.as_deref(),
            event_type: event.kind.as_deref(),
            revenue: event.revenue,
            value: event.value,
            quantity: event.quantity,
            tags: &tags,
            properties: &properties,
            snapshot_decisions: &given,
        })
    };
    let unknown_fields = unknown_json(shared, sender, snapshot_unknown, decisions, event);
    let event = EventRef {
        account_id: shared.account_id,
        visitor_id: sender.visitor_id,
        uuid,
        timestamp_ms,
        session_id: sender.session_id,
        attributes: &sender.attributes,
        user_ip: Some(shared.user_ip),
        user_agent: sender.user_agent.or(shared.user_agent),
        referer: shared.referer,
        revision: shared.revision,
        client_engine: shared.client_engine,
        client_version: shared.client_version,
        project_id: shared.project_id,
        enrich_decisions: shared.enrich_decisions,
        kind,
        source: shared.source,
        request_id: shared.request_id,
        unknown_fields: &unknown_fields,
    };
    records.event(&event, shared.partitions, EVENT_BYTES_MAX).map_err(|bytes| Fault {
        reason: reasons::TOO_LARGE,
        field: String::new(),
        rule: format!("an event may take {EVENT_BYTES_MAX} bytes, this one takes {bytes}"),
    })
}

// The Python, JavaScript and Go SDKs send no type, only the key.
fn is_decision(event: &Event<'_>) -> bool {
    match event.kind.as_deref() {
        Some(kind) if !kind.is_empty() => kind == CAMPAIGN_ACTIVATED,
        _ => event.key.as_deref() == Some(CAMPAIGN_ACTIVATED),
    }
}

fn matching_decisions<'a>(given: &[DecisionRef<'a>], entity_id: Option<&str>) -> Result<Vec<DecisionRef<'a>>, Fault> {
    let mut matching: Vec<_> = given.iter().copied().filter(|decision| decision.campaign_id == entity_id).collect();
    if matching.is_empty() && given.len() == 1 {
        matching.extend_from_slice(given);
    }
    if matching.is_empty() {
        let rule = "a decision event needs a decision of its snapshot whose campaign_id is its entity_id".into();
        return Err(Fault { reason: reasons::DECISION_WITHOUT_MATCH, field: "entity_id".into(), rule });
    }
    Ok(matching)
}

fn decision_ref<'a>(decision: &'a Decision<'a>) -> DecisionRef<'a> {
    let metadata = decision.metadata.as_ref();
    DecisionRef {
        campaign_id: decision.campaign_id.as_deref(),
        experiment_id: decision.experiment_id.as_deref(),
        variation_id: decision.variation_id.as_deref(),
        is_holdback: decision.is_holdback,
        flag_key: metadata.and_then(|metadata| metadata.flag_key.as_deref()),
        rule_key: metadata.and_then(|metadata| metadata.rule_key.as_deref()),
        rule_type: metadata.and_then(|metadata| metadata.rule_type.as_deref()),
        variation_key: metadata.and_then(|metadata| metadata.variation_key.as_deref()),
        enabled: metadata.and_then(|metadata| metadata.enabled),
    }
}

// One JSON object, a member for each part that has any: {"batch":{…},"visitor":{…},"snapshot":{…},"decisions":[{…}],"event":{…}}
fn unknown_json(
    shared: &Shared<'_>,
    sender: &Sender<'_>,
    snapshot: &[Unknown<'_>],
    decisions: &[Decision<'_>],
    event: &Event<'_>,
) -> String {
    let mut json = String::new();
    let parts =
        [("batch", shared.unknown), ("visitor", sender.unknown), ("snapshot", snapshot), ("event", &event.unknown)];
    for (name, fields) in parts.into_iter().filter(|(_, fields)| !fields.is_empty()) {
        json.push(if json.is_empty() { '{' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(json, "\"{name}\":");
        push_object(&mut json, fields.iter());
    }
    let metadata = |decision: &'_ Decision<'_>| decision.metadata.as_ref().is_some_and(|from| !from.unknown.is_empty());
    if decisions.iter().any(|decision| !decision.unknown.is_empty() || metadata(decision)) {
        json.push_str(if json.is_empty() { "{\"decisions\":[" } else { ",\"decisions\":[" });
        for (index, decision) in decisions.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            push_object(
                &mut json,
                decision.unknown.iter().chain(decision.metadata.iter().flat_map(|from| &from.unknown)),
            );
        }
        json.push(']');
    }
    if !json.is_empty() {
        json.push('}');
    }
    json
}

fn push_object<'a>(json: &mut String, fields: impl Iterator<Item = &'a Unknown<'a>>) {
    json.push('{');
    for (index, (name, value)) in fields.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let name = serde_json::Value::from(&**name);
        let _ = write!(json, "{comma}{name}:{value}");
    }
    json.push('}');
}

fn required<'a>(text: Option<&'a Text<'a>>, field: &'static str) -> Result<&'a str, Fault> {
    text.map(|text| &**text).ok_or_else(|| Fault::missing(field))
}

fn bytes_within(text: &str, field: &'static str, most: usize) -> Result<(), Fault> {
    let range = 1..=most;
    range.contains(&text.len()).then_some(()).ok_or_else(|| Fault::range(field, format!("must be 1 to {most} bytes")))
}
