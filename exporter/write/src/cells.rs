//! The columns of a row, in the order of [`millrace_schemas::columns`], and their canonical bytes.

use std::collections::HashMap;

use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{Attributed, Dead, Enriched, EnrichedRecord};
use millrace_schemas::layout::ExportType;
use millrace_schemas::raw::{Attribute, Conversion, Decision, Event, Pair, Reject, event};
use millrace_schemas::reasons::VISITOR_RATE;
use millrace_schemas::rows::event_name;
use sha2::{Digest, Sha256};

use crate::rows::StoredRow;

/// Takes the cells of a row, one call a column, in the order of the columns.
pub(crate) trait Cells {
    fn text(&mut self, value: Option<&str>);
    fn time(&mut self, value: Option<i64>);
    fn flag(&mut self, value: Option<bool>);
    fn int(&mut self, value: Option<i64>);
    fn double(&mut self, value: Option<f64>);
    fn binary(&mut self, value: Option<&[u8]>);
    fn attributes(&mut self, values: &[Attribute]);
    fn experiments(&mut self, values: &[Attributed]);
    /// Keys are unique.
    fn map(&mut self, values: &[(&str, &str)]);
}

/// A row as it is exported.
pub(crate) enum Row {
    Decision(Box<Event>, Option<String>, Decision),
    Event(Box<Event>, Option<String>, Vec<Attributed>, Conversion),
    Rejected(Reject),
    Dead(Dead),
}

impl Row {
    /// Reads a stored row.
    ///
    /// # Errors
    /// What is wrong with its record.
    pub(crate) fn of(row: &StoredRow) -> Result<Self, String> {
        let record =
            EnrichedRecord::from_versioned(row.version, row.payload.clone()).map_err(|error| error.to_string())?;
        let Some(Body::Outcome(outcome)) = record.body else { return Err("the record is no outcome".to_owned()) };
        match outcome.what {
            Some(What::Enriched(enriched)) => Self::of_enriched(enriched),
            Some(What::Rejected(rejected)) => rejected.reject.map(Self::Rejected).ok_or_else(|| "no reject".to_owned()),
            Some(What::Dead(dead)) => Ok(Self::Dead(dead)),
            _ => Err("the outcome makes no row".to_owned()),
        }
    }

    fn of_enriched(enriched: Enriched) -> Result<Self, String> {
        let mut event = Box::new(enriched.event.ok_or("an enriched record without an event")?);
        match event.kind.take() {
            Some(event::Kind::DecisionEvent(decided)) => {
                let decision = decided.decisions.into_iter().next().ok_or("a decision event without a decision")?;
                Ok(Self::Decision(event, enriched.session_id, decision))
            }
            Some(event::Kind::Conversion(conversion)) => {
                Ok(Self::Event(event, enriched.session_id, enriched.experiments, conversion))
            }
            None => Err("the event is of no kind this release knows".to_owned()),
        }
    }

    /// The type it is exported as.
    pub(crate) fn of_type(&self) -> ExportType {
        match self {
            Self::Decision(..) => ExportType::Decisions,
            Self::Event(..) => ExportType::Events,
            Self::Rejected(_) | Self::Dead(_) => ExportType::Rejected,
        }
    }

    /// What `min_timestamp` and `max_timestamp` are about.
    pub(crate) fn timestamp_ms(&self, process_ms: i64) -> i64 {
        match self {
            Self::Decision(event, ..) | Self::Event(event, ..) => event.timestamp_ms,
            Self::Rejected(_) | Self::Dead(_) => process_ms,
        }
    }

    /// Hands all cells over.
    pub(crate) fn cells(&self, process_ms: i64, cells: &mut impl Cells) {
        match self {
            Self::Decision(event, session, decision) => {
                decision_cells(event, session.as_deref(), decision, process_ms, cells)
            }
            Self::Event(event, session, experiments, conversion) => {
                event_cells((event, session.as_deref()), experiments, conversion, process_ms, cells);
            }
            Self::Rejected(reject) => reject_cells(reject, process_ms, cells),
            Self::Dead(dead) => dead_cells(dead, process_ms, cells),
        }
    }
}

fn head_cells(event: &Event, session: Option<&str>, process_ms: i64, cells: &mut impl Cells) {
    cells.text(Some(&event.uuid));
    cells.time(Some(event.timestamp_ms));
    cells.time(Some(process_ms));
    cells.text(Some(&event.visitor_id));
    cells.text(session);
    cells.text(Some(&event.account_id));
}

fn decision_cells(event: &Event, session: Option<&str>, decision: &Decision, process_ms: i64, cells: &mut impl Cells) {
    head_cells(event, session, process_ms, cells);
    cells.text(decision.campaign_id.as_deref());
    cells.text(decision.experiment_id.as_deref());
    cells.text(decision.variation_id.as_deref());
    cells.attributes(&event.attributes);
    cells.text(event.user_ip.as_deref());
    cells.text(event.user_agent.as_deref());
    cells.text(event.referer.as_deref());
    cells.flag(decision.is_holdback);
    cells.text(event.revision.as_deref());
    cells.text(event.client_engine.as_deref());
    cells.text(event.client_version.as_deref());
}

fn event_cells(
    (event, session): (&Event, Option<&str>),
    experiments: &[Attributed],
    conversion: &Conversion,
    process_ms: i64,
    cells: &mut impl Cells,
) {
    head_cells(event, session, process_ms, cells);
    cells.experiments(experiments);
    cells.text(conversion.entity_id.as_deref());
    cells.attributes(&event.attributes);
    cells.text(event.user_ip.as_deref());
    cells.text(event.user_agent.as_deref());
    cells.text(event.referer.as_deref());
    cells.text(conversion.event_type.as_deref());
    cells.text(event_name(conversion));
    cells.int(conversion.revenue);
    cells.double(conversion.value);
    cells.int(conversion.quantity);
    cells.map(&unique(&conversion.tags));
    cells.text(event.revision.as_deref());
    cells.text(event.client_engine.as_deref());
    cells.text(event.client_version.as_deref());
    cells.map(&unique(&conversion.properties));
}

fn reject_cells(reject: &Reject, process_ms: i64, cells: &mut impl Cells) {
    cells.text(reject.uuid.as_deref());
    cells.time(Some(process_ms));
    cells.text(Some(&reject.account_id));
    cells.text(Some(&reject.visitor_id));
    cells.text(Some("rejected"));
    cells.text(Some(&reject.reason));
    // The rate is of a visitor: neither a field nor a place in the body is to blame.
    let of_body = reject.reason != VISITOR_RATE;
    cells.text(of_body.then_some(reject.field.as_str()));
    cells.text(Some(&reject.request_id));
    cells.text(Some(&reject.source));
    cells.int(of_body.then_some(i64::from(reject.position)));
    cells.binary(Some(&reject.original));
}

fn dead_cells(dead: &Dead, process_ms: i64, cells: &mut impl Cells) {
    cells.text(None);
    cells.time(Some(process_ms));
    cells.text(Some(&dead.account_id));
    cells.text(Some(&dead.visitor_id));
    cells.text(Some("dead"));
    cells.text(Some(&dead.reason));
    for _ in ["field", "request_id", "source"] {
        cells.text(None);
    }
    cells.int(None);
    cells.binary(Some(&dead.original));
}

/// A map's keys are unique, or readers refuse the file: of several pairs with one key the last counts, as in JSON.
fn unique(pairs: &[Pair]) -> Vec<(&str, &str)> {
    if pairs.len() <= FEW {
        // Looking through a few is faster than hashing them.
        let is_last = |(at, pair): &(usize, &Pair)| pairs[at + 1..].iter().all(|later| later.key != pair.key);
        return pairs
            .iter()
            .enumerate()
            .filter(is_last)
            .map(|(_, pair)| (pair.key.as_str(), pair.value.as_str()))
            .collect();
    }
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(pairs.len());
    last.extend(pairs.iter().enumerate().map(|(at, pair)| (pair.key.as_str(), at)));
    let kept = pairs.iter().enumerate().filter(|(at, pair)| last.get(pair.key.as_str()) == Some(at));
    kept.map(|(_, pair)| (pair.key.as_str(), pair.value.as_str())).collect()
}

const FEW: usize = 16;

/// SHA-256 over rows, whatever the codec and the release: of each cell, in the order of the columns, 0x00 for null, else 0x01
/// and the value. Text and binary: length (u32 LE) and bytes. Times and integers: i64 LE. Double: its bits, u64 LE. Boolean: one
/// byte. List: count (u32 LE) and the cells of each struct. Map: count and, of each entry, key and value as text without 0x01.
#[derive(Default)]
pub(crate) struct RowsDigest {
    row: Vec<u8>,
    hash: Sha256,
}

impl RowsDigest {
    pub(crate) fn add(&mut self, row: &Row, process_ms: i64) {
        self.row.clear();
        row.cells(process_ms, self);
        self.hash.update(&self.row);
    }

    /// Lower-case hex.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.hash.finalize())
    }

    fn value(&mut self, value: Option<&[u8]>) {
        self.row.push(u8::from(value.is_some()));
        self.row.extend_from_slice(value.unwrap_or_default());
    }

    fn count(&mut self, count: usize) {
        // A record's size is bounded far below 4 GB, and so is everything in it.
        self.row.extend_from_slice(&(count as u32).to_le_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.row.extend_from_slice(bytes);
    }
}

impl Cells for RowsDigest {
    fn text(&mut self, value: Option<&str>) {
        self.binary(value.map(str::as_bytes));
    }

    fn time(&mut self, value: Option<i64>) {
        self.int(value);
    }

    fn flag(&mut self, value: Option<bool>) {
        self.value(value.map(|flag| [u8::from(flag)]).as_ref().map(<[u8; 1]>::as_slice));
    }

    fn int(&mut self, value: Option<i64>) {
        self.value(value.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn double(&mut self, value: Option<f64>) {
        self.value(value.map(|number| number.to_bits().to_le_bytes()).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn binary(&mut self, value: Option<&[u8]>) {
        self.row.push(u8::from(value.is_some()));
        if let Some(bytes) = value {
            self.sized(bytes);
        }
    }

    fn attributes(&mut self, values: &[Attribute]) {
        self.row.push(1);
        self.count(values.len());
        for attribute in values {
            for text in [&attribute.id, &attribute.name, &attribute.r#type, &attribute.value] {
                self.text(text.as_deref());
            }
        }
    }

    fn experiments(&mut self, values: &[Attributed]) {
        self.row.push(1);
        self.count(values.len());
        for experiment in values {
            for text in [&experiment.campaign_id, &experiment.experiment_id, &experiment.variation_id] {
                self.text(text.as_deref());
            }
            self.flag(experiment.is_holdback);
        }
    }

    fn map(&mut self, values: &[(&str, &str)]) {
        self.row.push(1);
        self.count(values.len());
        for (key, value) in values {
            self.sized(key.as_bytes());
            self.sized(value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn of_pairs_with_one_key_the_last_counts_whether_they_are_few_or_many(keys in proptest::collection::vec(0..12_u8, 0..40)) {
            let pair = |(at, key): (usize, &u8)| Pair { key: key.to_string(), value: at.to_string() };
            let pairs: Vec<Pair> = keys.iter().enumerate().map(pair).collect();
            let kept = unique(&pairs);
            let mut expected: Vec<(&str, &str)> = Vec::new();
            for pair in &pairs {
                expected.retain(|(key, _)| *key != pair.key);
                expected.push((&pair.key, &pair.value));
            }
            prop_assert_eq!(kept, expected);
        }
    }
}
