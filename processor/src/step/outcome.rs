//! Outcomes on their way to the enriched topic, encoded as they are made.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_eventlog::Offset;
use millrace_schemas::enriched::{EnrichedRecord, Outcome, Unattributed, enriched_record, outcome};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, int32, int64, key_len, uint64};

use super::assignment::Treatment;

/// What one transaction emits in one partition, in order.
#[derive(Debug, Default)]
pub struct Outcomes {
    records: Vec<Emitted>,
    bytes: usize,
    // Values are cut off its front, so that many share one allocation.
    buffer: BytesMut,
}

/// One record of the enriched topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The raw record's key.
    pub key: Bytes,
    /// An [`EnrichedRecord`] of the present version.
    pub value: Bytes,
}

/// An enriched event, borrowed from where it lies.
pub(crate) struct EnrichedRef<'a> {
    pub(crate) raw_offset: Offset,
    pub(crate) process_timestamp_ms: i64,
    /// Encoded.
    pub(crate) event: &'a [u8],
    pub(crate) session_id: Option<&'a str>,
    pub(crate) experiments: &'a [&'a Treatment],
    pub(crate) unattributed: Unattributed,
}

const BUFFER_BYTES: usize = 64 << 10;

impl Outcomes {
    /// How many outcomes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The size of their values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The records, in order.
    #[must_use]
    pub fn records(&self) -> &[Emitted] {
        &self.records
    }

    /// Takes the records out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Emitted> + '_ {
        self.bytes = 0;
        self.records.drain(..)
    }

    pub(crate) fn push(&mut self, key: Bytes, raw_offset: Offset, process_timestamp_ms: i64, what: outcome::What) {
        let outcome = Outcome { raw_offset, process_timestamp_ms, what: Some(what) };
        let record = EnrichedRecord { body: Some(enriched_record::Body::Outcome(outcome)) };
        self.make_room(record.encoded_len());
        // There is room: a BytesMut grows, and was grown.
        let _ = record.encode(&mut self.buffer);
        self.cut(key);
    }

    /// Writes what encoding the structs would, without making them: the event's bytes are taken over as they are.
    pub(crate) fn push_enriched(&mut self, key: Bytes, enriched: &EnrichedRef<'_>) {
        let inner = enriched.len();
        let outcome = enriched.outcome_len(inner);
        self.make_room(key_len(1) + encoded_len_varint(outcome as u64) + outcome);
        let out = &mut self.buffer;
        put_length(1, outcome, out);
        if enriched.raw_offset != 0 {
            uint64::encode(1, &enriched.raw_offset, out);
        }
        if enriched.process_timestamp_ms != 0 {
            int64::encode(2, &enriched.process_timestamp_ms, out);
        }
        put_length(3, inner, out);
        enriched.put(out);
        self.cut(key);
    }

    fn make_room(&mut self, bytes: usize) {
        if self.buffer.capacity() - self.buffer.len() < bytes {
            self.buffer.reserve(bytes.max(BUFFER_BYTES));
        }
    }

    fn cut(&mut self, key: Bytes) {
        let value = self.buffer.split().freeze();
        self.bytes += value.len();
        self.records.push(Emitted { key, value });
    }
}

impl EnrichedRef<'_> {
    fn outcome_len(&self, enriched: usize) -> usize {
        let offset = if self.raw_offset == 0 { 0 } else { uint64::encoded_len(1, &self.raw_offset) };
        let time = self.process_timestamp_ms;
        let time = if time == 0 { 0 } else { int64::encoded_len(2, &time) };
        offset + time + field_len(3, enriched)
    }

    fn len(&self) -> usize {
        let experiments: usize = self.experiments.iter().map(|given| field_len(3, attributed_len(given))).sum();
        let unattributed = match self.unattributed {
            Unattributed::Not => 0,
            other => int32::encoded_len(4, &(other as i32)),
        };
        field_len(1, self.event.len()) + text_len(2, self.session_id) + experiments + unattributed
    }

    fn put(&self, out: &mut BytesMut) {
        put_length(1, self.event.len(), out);
        out.put_slice(self.event);
        put_text(2, self.session_id, out);
        for given in self.experiments {
            put_length(3, attributed_len(given), out);
            put_text(1, given.campaign_id.as_deref(), out);
            put_text(2, given.experiment_id.as_deref(), out);
            put_text(3, given.variation_id.as_deref(), out);
            if let Some(is_holdback) = given.is_holdback {
                encode_key(4, WireType::Varint, out);
                encode_varint(u64::from(is_holdback), out);
            }
        }
        if self.unattributed != Unattributed::Not {
            int32::encode(4, &(self.unattributed as i32), out);
        }
    }
}

fn attributed_len(given: &Treatment) -> usize {
    text_len(1, given.campaign_id.as_deref())
        + text_len(2, given.experiment_id.as_deref())
        + text_len(3, given.variation_id.as_deref())
        + given.is_holdback.map_or(0, |_| key_len(4) + 1)
}

fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

fn text_len(tag: u32, text: Option<&str>) -> usize {
    text.map_or(0, |text| field_len(tag, text.len()))
}

fn put_length(tag: u32, length: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn put_text(tag: u32, text: Option<&str>, out: &mut BytesMut) {
    if let Some(text) = text {
        put_length(tag, text.len(), out);
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_schemas::codec::Versioned;
    use millrace_schemas::enriched::{Attributed, Enriched};
    use millrace_schemas::raw::Event;
    use proptest::prelude::*;

    use super::*;

    fn treatments() -> impl Strategy<Value = Vec<Treatment>> {
        let text = || proptest::option::of("[a-zé]{0,200}");
        let one = (text(), text(), text(), proptest::option::of(any::<bool>()));
        proptest::collection::vec(one, 0..4).prop_map(|all| {
            let treatment = |(campaign_id, experiment_id, variation_id, is_holdback)| Treatment {
                campaign_id,
                experiment_id,
                variation_id,
                is_holdback,
            };
            all.into_iter().map(treatment).collect()
        })
    }

    proptest! {
        #[test]
        fn the_borrowed_encoder_writes_what_the_structs_would(
            raw_offset: u64, process_timestamp_ms: i64, uuid in ".{0,300}", session in proptest::option::of(".{0,20}"),
            given in treatments(), reason in 0..4,
        ) {
            let event = Event { uuid, enrich_decisions: true, ..Event::default() };
            let unattributed = Unattributed::try_from(reason).unwrap();
            let mut outcomes = Outcomes::default();
            outcomes.push_enriched(Bytes::from_static(b"k"), &EnrichedRef {
                raw_offset, process_timestamp_ms, event: &event.encode_to_vec(), session_id: session.as_deref(),
                experiments: &given.iter().collect::<Vec<_>>(), unattributed,
            });
            let experiments = given.into_iter().map(|given| Attributed {
                campaign_id: given.campaign_id, experiment_id: given.experiment_id,
                variation_id: given.variation_id, is_holdback: given.is_holdback,
            }).collect();
            let enriched =
                Enriched { event: Some(event), session_id: session, experiments, unattributed: reason };
            let outcome =
                Outcome { raw_offset, process_timestamp_ms, what: Some(outcome::What::Enriched(enriched)) };
            let record = EnrichedRecord { body: Some(enriched_record::Body::Outcome(outcome)) };
            prop_assert_eq!(&outcomes.records()[0].value, &record.to_bytes());
        }
    }
}
