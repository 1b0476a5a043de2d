//! The Event API's wire form, borrowed from the body. Types only: no rule beyond JSON's lives here.
//!
//! Long and short names stand for the same field. Fields Millrace does not know are kept as they are.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor as Visit};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Text that borrows where it holds no escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visit<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

/// Marks a string that carries a typed value after it.
const TYPED: char = '\u{e000}';

/// A string, number or boolean as text; an array or object as its JSON text.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    pub(crate) text: Text<'a>,
    pub(crate) is_scalar: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&'de RawValue>::deserialize(deserializer)?.get();
        if !json.starts_with('"') {
            return Ok(Self { text: Text(Cow::Borrowed(json)), is_scalar: !json.starts_with(['[', '{', 'n']) });
        }
        let text: Text<'de> = serde_json::from_str(json).map_err(Error::custom)?;
        let text = match text.0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(TYPED).unwrap_or(text)),
            Cow::Owned(text) => Cow::Owned(text.strip_prefix(TYPED).unwrap_or(&text).to_owned()),
        };
        Ok(Self { text: Text(text), is_scalar: true })
    }
}

/// An object as its members in the order sent. A name that stands twice stands twice.
#[derive(Debug)]
pub(crate) struct Members<'a, V>(pub(crate) Vec<(Text<'a>, V)>);

impl<V> Default for Members<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Members<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visit<'de> for InOrder<V> {
            type Value = Members<'de, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    let value = map.next_value().map_err(|error| at(&name, &error))?;
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// A field Millrace does not know.
pub(crate) type Unknown<'a> = (Text<'a>, &'a RawValue);

// Says which field an error is about: `name: what is wrong`.
fn at<E: Error>(name: &str, error: &E) -> E {
    E::custom(format_args!("{name}: {error}"))
}

macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $($key:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: Option<$type>,)*
            pub(crate) unknown: Vec<Unknown<'a>>,
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields<'a>(PhantomData<&'a ()>);
                impl<'de: 'a, 'a> Visit<'de> for Fields<'a> {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut object = $name::default();
                        while let Some(name) = map.next_key::<Text<'de>>()? {
                            match &*name {
                                $($($key)|+ => {
                                    if object.$field.is_some() {
                                        return Err(A::Error::custom(format_args!("{}: stands twice", &*name)));
                                    }
                                    object.$field = map.next_value().map_err(|error| at(&name, &error))?;
                                })*
                                _ => object.unknown.push((name, map.next_value()?)),
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Fields(PhantomData))
            }
        }
    };
}

object! {
    /// The body. `visitors` are parsed at once where all of it is good.
    EventBatch {
        account_id: Text<'a> = "account_id",
        visitors: Vec<Visitor<'a>> = "visitors",
        project_id: Text<'a> = "project_id",
        anonymize_ip: bool = "anonymize_ip",
        enrich_decisions: bool = "enrich_decisions",
        revision: Text<'a> = "revision",
        client_name: Text<'a> = "client_name",
        client_version: Text<'a> = "client_version",
    }
}

object! {
    /// The body with its visitors still as text: one bad visitor spoils no other.
    LooseBatch {
        account_id: Text<'a> = "account_id",
        visitors: Vec<&'a RawValue> = "visitors",
        project_id: Text<'a> = "project_id",
        anonymize_ip: bool = "anonymize_ip",
        enrich_decisions: bool = "enrich_decisions",
        revision: Text<'a> = "revision",
        client_name: Text<'a> = "client_name",
        client_version: Text<'a> = "client_version",
    }
}

object! {
    /// One visitor. Stock SDKs repeat it for each event.
    Visitor {
        visitor_id: Text<'a> = "visitor_id",
        snapshots: Vec<Snapshot<'a>> = "snapshots",
        session_id: Text<'a> = "session_id",
        attributes: Vec<Attribute<'a>> = "attributes",
    }
}

object! {
    /// A visitor with its snapshots still as text.
    LooseVisitor {
        visitor_id: Text<'a> = "visitor_id",
        snapshots: Vec<&'a RawValue> = "snapshots",
        session_id: Text<'a> = "session_id",
        attributes: Vec<Attribute<'a>> = "attributes",
    }
}

object! {
    /// Decisions and events of one moment.
    Snapshot {
        decisions: Vec<Decision<'a>> = "decisions",
        events: Vec<Event<'a>> = "events",
    }
}

object! {
    /// A snapshot with its events still as text.
    LooseSnapshot {
        decisions: Vec<Decision<'a>> = "decisions",
        events: Vec<&'a RawValue> = "events",
    }
}

object! {
    /// An attribute of a visitor.
    Attribute {
        entity_id: Text<'a> = "entity_id" | "e",
        key: Text<'a> = "key" | "k",
        kind: Text<'a> = "type" | "t",
        value: Value<'a> = "value" | "v",
    }
}

object! {
    /// A decision of a snapshot.
    Decision {
        campaign_id: Text<'a> = "campaign_id" | "c",
        experiment_id: Text<'a> = "experiment_id" | "x",
        variation_id: Text<'a> = "variation_id" | "v",
        is_holdback: bool = "is_campaign_holdback" | "h",
        metadata: Metadata<'a> = "metadata",
    }
}

object! {
    /// What the SDK says about a decision.
    Metadata {
        flag_key: Text<'a> = "flag_key",
        rule_key: Text<'a> = "rule_key",
        rule_type: Text<'a> = "rule_type",
        variation_key: Text<'a> = "variation_key",
        enabled: bool = "enabled",
    }
}

object! {
    /// An event: a decision event or a conversion.
    Event {
        entity_id: Text<'a> = "entity_id" | "e",
        kind: Text<'a> = "type" | "y",
        uuid: Text<'a> = "uuid" | "u",
        timestamp: i64 = "timestamp" | "t",
        key: Text<'a> = "key" | "k",
        tags: Members<'a, Value<'a>> = "tags" | "a",
        revenue: i64 = "revenue",
        value: f64 = "value",
        quantity: i64 = "quantity",
        properties: Members<'a, Text<'a>> = "properties",
    }
}
