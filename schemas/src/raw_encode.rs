//! Encodes accepted events without owning them: a mirror of [`crate::raw::Event`] that borrows from the request's body,
//! and writes the very bytes prost would.

/// A borrowed [`crate::raw::Event`]. `None` and empty lists are not written.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    /// The account.
    pub account_id: &'a str,
    /// The visitor.
    pub visitor_id: &'a str,
    /// As sent.
    pub uuid: &'a str,
    /// As sent, ms since 1970.
    pub timestamp_ms: i64,
    /// As sent; `None` for absent, "" and AUTO.
    pub session_id: Option<&'a str>,
    /// The visitor's attributes.
    pub attributes: &'a [AttributeRef<'a>],
    /// Already anonymised.
    pub user_ip: Option<&'a str>,
    /// The visitor's agent.
    pub user_agent: Option<&'a str>,
    /// The page.
    pub referer: Option<&'a str>,
    /// The client's data file revision.
    pub revision: Option<&'a str>,
    /// `client_name`.
    pub client_engine: Option<&'a str>,
    /// `client_version`.
    pub client_version: Option<&'a str>,
    /// The client's project.
    pub project_id: Option<&'a str>,
    /// Does the client want attribution?
    pub enrich_decisions: bool,
    /// What it is.
    pub kind: KindRef<'a>,
    /// Kind and id of the credential.
    pub source: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// Unknown fields as one JSON object, or empty.
    pub unknown_fields: &'a str,
}

/// A borrowed decision event or conversion.
#[derive(Debug, Clone, Copy)]
pub enum KindRef<'a> {
    /// At least one.
    Decisions(&'a [DecisionRef<'a>]),
    /// Anything else.
    Conversion(ConversionRef<'a>),
}

/// A borrowed [`crate::raw::Attribute`].
#[derive(Debug, Clone, Copy, Default)]
pub struct AttributeRef<'a> {
    /// `entity_id`.
    pub id: Option<&'a str>,
    /// `key`.
    pub name: Option<&'a str>,
    /// `type`.
    pub kind: Option<&'a str>,
    /// As text.
    pub value: Option<&'a str>,
}

/// A borrowed [`crate::raw::Decision`].
#[derive(Debug, Clone, Copy, Default)]
pub struct DecisionRef<'a> {
    /// The campaign (layer).
    pub campaign_id: Option<&'a str>,
    /// The experiment.
    pub experiment_id: Option<&'a str>,
    /// The variation.
    pub variation_id: Option<&'a str>,
    /// Was it held back?
    pub is_holdback: Option<bool>,
    /// From `metadata`.
    pub flag_key: Option<&'a str>,
    /// From `metadata`.
    pub rule_key: Option<&'a str>,
    /// From `metadata`.
    pub rule_type: Option<&'a str>,
    /// From `metadata`.
    pub variation_key: Option<&'a str>,
    /// From `metadata`.
    pub enabled: Option<bool>,
}

/// A borrowed [`crate::raw::Conversion`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ConversionRef<'a> {
    /// The event's id in the project.
    pub entity_id: Option<&'a str>,
    /// Its name.
    pub key: Option<&'a str>,
    /// Its type.
    pub event_type: Option<&'a str>,
    /// Cents.
    pub revenue: Option<i64>,
    /// Any number.
    pub value: Option<f64>,
    /// A count.
    pub quantity: Option<i64>,
    /// Name and text.
    pub tags: &'a [(&'a str, &'a str)],
    /// Name and text.
    pub properties: &'a [(&'a str, &'a str)],
    /// Decisions of its own snapshot.
    pub snapshot_decisions: &'a [DecisionRef<'a>],
}

/// Appends the bytes of `Raw { witness_ms, event }` to `out`.
pub fn encode_raw(witness_ms: i64, event: &EventRef<'_>, out: &mut Vec<u8>) {
    out.int(1, witness_ms);
    out.message(2, event);
}

trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn varint(&mut self, mut number: u64) {
        let mut bytes = [0; 10];
        let mut len = 0;
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            bytes[len] = if number == 0 { low } else { low | 0x80 };
            len += 1;
            if number == 0 {
                break;
            }
        }
        self.put(&bytes[..len]);
    }

    fn key(&mut self, tag: u32, wire_type: u32) {
        self.varint(u64::from(tag << 3 | wire_type));
    }

    fn present(&mut self, tag: u32, text: &str) {
        self.key(tag, 2);
        self.varint(text.len() as u64);
        self.put(text.as_bytes());
    }

    fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.present(tag, text);
        }
    }

    fn optional(&mut self, tag: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.present(tag, text);
        }
    }

    fn present_int(&mut self, tag: u32, number: i64) {
        self.key(tag, 0);
        self.varint(number.cast_unsigned());
    }

    fn int(&mut self, tag: u32, number: i64) {
        if number != 0 {
            self.present_int(tag, number);
        }
    }

    fn optional_int(&mut self, tag: u32, number: Option<i64>) {
        if let Some(number) = number {
            self.present_int(tag, number);
        }
    }

    fn optional_bool(&mut self, tag: u32, flag: Option<bool>) {
        self.optional_int(tag, flag.map(i64::from));
    }

    fn message(&mut self, tag: u32, part: &impl Part)
    where
        Self: Sized,
    {
        let mut len = Counter(0);
        part.write(&mut len);
        self.key(tag, 2);
        self.varint(len.0);
        part.write(self);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Counter(u64);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

trait Part {
    fn write(&self, to: &mut impl Sink);
}

impl Part for EventRef<'_> {
    fn write(&self, to: &mut impl Sink) {
        to.text(1, self.account_id);
        to.text(2, self.visitor_id);
        to.text(3, self.uuid);
        to.int(4, self.timestamp_ms);
        to.optional(5, self.session_id);
        for attribute in self.attributes {
            to.message(6, attribute);
        }
        to.optional(7, self.user_ip);
        to.optional(8, self.user_agent);
        to.optional(9, self.referer);
        to.optional(10, self.revision);
        to.optional(11, self.client_engine);
        to.optional(12, self.client_version);
        to.optional(13, self.project_id);
        to.int(14, self.enrich_decisions.into());
        match &self.kind {
            KindRef::Decisions(decisions) => to.message(15, &DecisionEvent(decisions)),
            KindRef::Conversion(conversion) => to.message(16, conversion),
        }
        to.text(17, self.source);
        to.text(18, self.request_id);
        to.text(19, self.unknown_fields);
    }
}

impl Part for AttributeRef<'_> {
    fn write(&self, to: &mut impl Sink) {
        to.optional(1, self.id);
        to.optional(2, self.name);
        to.optional(3, self.kind);
        to.optional(4, self.value);
    }
}

struct DecisionEvent<'a>(&'a [DecisionRef<'a>]);

impl Part for DecisionEvent<'_> {
    fn write(&self, to: &mut impl Sink) {
        for decision in self.0 {
            to.message(1, decision);
        }
    }
}

impl Part for DecisionRef<'_> {
    fn write(&self, to: &mut impl Sink) {
        to.optional(1, self.campaign_id);
        to.optional(2, self.experiment_id);
        to.optional(3, self.variation_id);
        to.optional_bool(4, self.is_holdback);
        to.optional(5, self.flag_key);
        to.optional(6, self.rule_key);
        to.optional(7, self.rule_type);
        to.optional(8, self.variation_key);
        to.optional_bool(9, self.enabled);
    }
}

impl Part for ConversionRef<'_> {
    fn write(&self, to: &mut impl Sink) {
        to.optional(1, self.entity_id);
        to.optional(2, self.key);
        to.optional(3, self.event_type);
        to.optional_int(4, self.revenue);
        if let Some(value) = self.value {
            to.key(5, 1);
            to.put(&value.to_le_bytes());
        }
        to.optional_int(6, self.quantity);
        for (key, value) in self.tags {
            to.message(7, &Pair { key, value });
        }
        for (key, value) in self.properties {
            to.message(8, &Pair { key, value });
        }
        for decision in self.snapshot_decisions {
            to.message(9, decision);
        }
    }
}

struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

impl Part for Pair<'_> {
    fn write(&self, to: &mut impl Sink) {
        to.text(1, self.key);
        to.text(2, self.value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::raw::{Attribute, Conversion, Decision, DecisionEvent, Event, Pair, Raw, event, raw};

    fn decision() -> impl Strategy<Value = Decision> {
        let texts = (of(".{0,8}"), of(".{0,8}"), of(".{0,8}"), of(".{0,8}"), of(".{0,8}"), of(".{0,8}"), of(".{0,8}"));
        (texts, of(any::<bool>()), of(any::<bool>())).prop_map(|(t, is_holdback, enabled)| Decision {
            campaign_id: t.0,
            experiment_id: t.1,
            variation_id: t.2,
            is_holdback,
            flag_key: t.3,
            rule_key: t.4,
            rule_type: t.5,
            variation_key: t.6,
            enabled,
        })
    }

    fn pairs() -> impl Strategy<Value = Vec<Pair>> {
        prop::collection::vec((".{0,8}", ".{0,200}").prop_map(|(key, value)| Pair { key, value }), 0..4)
    }

    fn kind() -> impl Strategy<Value = event::Kind> {
        let decisions = prop::collection::vec(decision(), 1..4)
            .prop_map(|decisions| event::Kind::DecisionEvent(DecisionEvent { decisions }));
        let numbers = (of(any::<i64>()), of(-1e9..1e9), of(any::<i64>()));
        let texts = (of(".{0,8}"), of(".{0,8}"), of(".{0,8}"));
        let conversions = (texts, numbers, pairs(), pairs(), prop::collection::vec(decision(), 0..3)).prop_map(
            |(texts, numbers, tags, properties, snapshot_decisions)| {
                event::Kind::Conversion(Conversion {
                    entity_id: texts.0,
                    key: texts.1,
                    event_type: texts.2,
                    revenue: numbers.0,
                    value: numbers.1,
                    quantity: numbers.2,
                    tags,
                    properties,
                    snapshot_decisions,
                })
            },
        );
        prop_oneof![decisions, conversions]
    }

    fn accepted() -> impl Strategy<Value = Event> {
        let texts = prop::collection::vec(".{0,12}", 6);
        let optional = prop::collection::vec(of(".{0,12}"), 8);
        let attribute = (of(".{0,8}"), of(".{0,8}"), of(".{0,8}"), of(".{0,8}"))
            .prop_map(|(id, name, r#type, value)| Attribute { id, name, r#type, value });
        let attributes = prop::collection::vec(attribute, 0..3);
        (texts, optional, attributes, any::<i64>(), any::<bool>(), kind()).prop_map(
            |(mut texts, mut optional, attributes, timestamp_ms, enrich_decisions, kind)| {
                let mut text = || texts.pop().unwrap();
                let mut maybe = || optional.pop().unwrap();
                Event {
                    account_id: text(),
                    visitor_id: text(),
                    uuid: text(),
                    timestamp_ms,
                    session_id: maybe(),
                    attributes,
                    user_ip: maybe(),
                    user_agent: maybe(),
                    referer: maybe(),
                    revision: maybe(),
                    client_engine: maybe(),
                    client_version: maybe(),
                    project_id: maybe(),
                    enrich_decisions,
                    source: text(),
                    request_id: text(),
                    unknown_fields: text(),
                    kind: Some(kind),
                }
            },
        )
    }

    fn borrowed_decision(from: &Decision) -> DecisionRef<'_> {
        DecisionRef {
            campaign_id: from.campaign_id.as_deref(),
            experiment_id: from.experiment_id.as_deref(),
            variation_id: from.variation_id.as_deref(),
            is_holdback: from.is_holdback,
            flag_key: from.flag_key.as_deref(),
            rule_key: from.rule_key.as_deref(),
            rule_type: from.rule_type.as_deref(),
            variation_key: from.variation_key.as_deref(),
            enabled: from.enabled,
        }
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_prost_writes(witness_ms in any::<i64>(), event in accepted()) {
            let attributes: Vec<_> = event.attributes.iter().map(|from| AttributeRef {
                id: from.id.as_deref(),
                name: from.name.as_deref(),
                kind: from.r#type.as_deref(),
                value: from.value.as_deref(),
            }).collect();
            let (decisions, tags, properties);
            let kind = match event.kind.as_ref().unwrap() {
                event::Kind::DecisionEvent(from) => {
                    decisions = from.decisions.iter().map(borrowed_decision).collect::<Vec<_>>();
                    KindRef::Decisions(&decisions)
                }
                event::Kind::Conversion(from) => {
                    let borrow = |pairs: &'_ [Pair]| -> Vec<(String, String)> {
                        pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
                    };
                    (tags, properties) = (borrow(&from.tags), borrow(&from.properties));
                    decisions = from.snapshot_decisions.iter().map(borrowed_decision).collect::<Vec<_>>();
                    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                    let properties: Vec<_> = properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                    KindRef::Conversion(ConversionRef {
                        entity_id: from.entity_id.as_deref(),
                        key: from.key.as_deref(),
                        event_type: from.event_type.as_deref(),
                        revenue: from.revenue,
                        value: from.value,
                        quantity: from.quantity,
                        tags: tags.leak(),
                        properties: properties.leak(),
                        snapshot_decisions: &decisions,
                    })
                }
            };
            let borrowed = EventRef {
                account_id: &event.account_id,
                visitor_id: &event.visitor_id,
                uuid: &event.uuid,
                timestamp_ms: event.timestamp_ms,
                session_id: event.session_id.as_deref(),
                attributes: &attributes,
                user_ip: event.user_ip.as_deref(),
                user_agent: event.user_agent.as_deref(),
                referer: event.referer.as_deref(),
                revision: event.revision.as_deref(),
                client_engine: event.client_engine.as_deref(),
                client_version: event.client_version.as_deref(),
                project_id: event.project_id.as_deref(),
                enrich_decisions: event.enrich_decisions,
                kind,
                source: &event.source,
                request_id: &event.request_id,
                unknown_fields: &event.unknown_fields,
            };
            let mut bytes = Vec::new();
            encode_raw(witness_ms, &borrowed, &mut bytes);
            let raw = Raw { witness_ms, body: Some(raw::Body::Event(event.clone())) };
            prop_assert_eq!(bytes, raw.encode_to_vec());
        }
    }
}
