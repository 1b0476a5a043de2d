//! A raw record as the fold takes it.

use bytes::{Buf, Bytes};
use millrace_eventlog::{Offset, Record};
use millrace_schemas::codec::{DecodeError, Versioned};
use millrace_schemas::raw::{Event, Raw, Reject, Settings, event, raw};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

// Field number of `Raw.event`.
const EVENT_TAG: u32 = 2;

/// One raw record.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its place.
    pub offset: Offset,
    /// The log's append time.
    pub append_time_ms: i64,
    /// The appender's clock; absent in a dead letter.
    pub witness_ms: Option<i64>,
    /// Account, 0x00, visitor.
    pub key: Bytes,
    /// What it holds.
    pub body: Body,
}

/// What a raw record holds.
#[derive(Debug, Clone)]
pub enum Body {
    /// An event, and its bytes as they stand in the record.
    Event(Box<Event>, Bytes),
    /// Something that could not be used.
    Reject(Box<Reject>),
    /// Other settings.
    Settings(Settings),
    /// Nothing: time passes.
    Tick,
    /// A record that does not decode.
    Dead {
        /// Why.
        reason: String,
        /// Its value.
        original: Bytes,
    },
}

/// The record was written by a later release: nothing after it may be folded by this one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("offset {offset}: {reason}")]
pub struct Newer {
    /// Of the record.
    pub offset: Offset,
    /// Which version it has, and which is known.
    pub reason: String,
}

impl Input {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Newer`] stops the partition. A record of a known version that does not decode is no error but [`Body::Dead`].
    pub fn read(record: &Record) -> Result<Self, Newer> {
        let (witness_ms, body) = match Raw::from_versioned(record.version, record.value.clone()) {
            Ok(raw) => {
                let witness_ms = raw.witness_ms;
                let body = body_of(raw, &record.value);
                (Some(witness_ms).filter(|_| !matches!(body, Body::Dead { .. })), body)
            }
            Err(DecodeError::Dead { reason, .. }) => (None, dead(reason, &record.value)),
            Err(newer @ DecodeError::Newer { .. }) => {
                return Err(Newer { offset: record.offset, reason: newer.to_string() });
            }
        };
        let Record { offset, append_time_ms, ref key, .. } = *record;
        Ok(Self { offset, append_time_ms, witness_ms, key: key.clone(), body })
    }
}

fn dead(reason: impl Into<String>, value: &Bytes) -> Body {
    Body::Dead { reason: reason.into(), original: value.clone() }
}

fn body_of(raw: Raw, value: &Bytes) -> Body {
    match raw.body {
        Some(raw::Body::Event(event)) => match &event.kind {
            Some(event::Kind::DecisionEvent(_) | event::Kind::Conversion(_)) => {
                let bytes = event_bytes(value.clone()).unwrap_or_else(|| event.encode_to_vec().into());
                Body::Event(Box::new(event), bytes)
            }
            None => dead("the event is neither a decision nor a conversion", value),
        },
        Some(raw::Body::Reject(reject)) => Body::Reject(Box::new(reject)),
        Some(raw::Body::Settings(settings)) => Body::Settings(settings),
        Some(raw::Body::Tick(_)) => Body::Tick,
        None => dead("the record holds nothing this release knows", value),
    }
}

/// The event's bytes within a record that decodes, so that they are not encoded again, and keep fields of later releases.
/// `None` where the record spells it in several parts (allowed, and never done by us).
fn event_bytes(mut value: Bytes) -> Option<Bytes> {
    let mut found = None;
    while value.has_remaining() {
        let (tag, wire_type) = decode_key(&mut value).ok()?;
        if tag == EVENT_TAG && wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut value).ok()?).ok()?;
            if found.is_some() || length > value.remaining() {
                return None;
            }
            found = Some(value.split_to(length));
        } else {
            skip_field(wire_type, tag, &mut value, DecodeContext::default()).ok()?;
        }
    }
    found
}
