//! From outcomes to rows: what is exported of an enriched record, by what it is sorted, and what is counted.
//!
//! A row is stored as the enriched record it comes from. A decision event of several decisions becomes several rows, each with
//! a copy of the record that holds only its own decision.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use millrace_eventlog::Record;
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{Dead, Enriched, EnrichedRecord, Kind, Outcome, Rejected, Unattributed, Watermark};
use millrace_schemas::layout::{ExportType, date_of};
use millrace_schemas::partition;
use millrace_schemas::raw::{self, event};
use millrace_schemas::rows::event_name;

use crate::segment::DayCounts;
use crate::sort_key::SortKey;

/// What a row costs beside its key and payload, bytes; for the memory budget.
const ROW_OVERHEAD: usize = 64;

/// Rows in the making, in the order of the log, with what is counted on the way.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    keys: Vec<u8>,
    rows: Vec<Row>,
    bytes: usize,
    /// By account and day (days since 1970-01-01).
    counts: HashMap<String, BTreeMap<i32, DayCounts>>,
}

#[derive(Debug)]
struct Row {
    key: Range<usize>,
    process_ms: i64,
    version: u32,
    payload: Bytes,
}

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRow {
    /// [`SortKey`] as bytes.
    pub(crate) key: Bytes,
    pub(crate) process_ms: i64,
    /// Of `payload`.
    pub(crate) version: u32,
    /// An [`EnrichedRecord`].
    pub(crate) payload: Bytes,
}

impl Rows {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether there is anything to seal for: rows, or counts of outcomes that made none.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.counts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What the rows take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record of the enriched topic; a watermark is handed back.
    ///
    /// # Errors
    /// What is wrong with the record, for people.
    pub(crate) fn take(&mut self, record: Record, shards: u32) -> Result<Option<Watermark>, String> {
        let decoded = EnrichedRecord::from_versioned(record.version, record.value.clone());
        match decoded.map_err(|error| error.to_string())?.body {
            Some(Body::Watermark(watermark)) => Ok(Some(watermark)),
            Some(Body::Outcome(outcome)) => {
                Adding { rows: self, record: &record, shards, process_ms: outcome.process_timestamp_ms }
                    .outcome(outcome)?;
                Ok(None)
            }
            None => Err("the record says nothing".to_owned()),
        }
    }

    /// The rows, sorted, and the counts by account and day.
    pub(crate) fn sorted(mut self) -> (Sorted, HashMap<String, BTreeMap<i32, DayCounts>>) {
        let keys = &self.keys;
        self.rows.sort_unstable_by(|one, other| keys[one.key.clone()].cmp(&keys[other.key.clone()]));
        (Sorted { keys: self.keys, rows: self.rows }, self.counts)
    }

    fn day(&mut self, account: &str, process_ms: i64) -> &mut DayCounts {
        if !self.counts.contains_key(account) {
            self.counts.insert(account.to_owned(), BTreeMap::new());
        }
        let days = self.counts.entry(account.to_owned()).or_default();
        days.entry(day_number(process_ms)).or_default()
    }

    fn push(&mut self, key: &SortKey<'_>, process_ms: i64, version: u32, payload: Bytes) {
        let start = self.keys.len();
        key.write(&mut self.keys);
        let key = start..self.keys.len();
        self.bytes += key.len() + payload.len() + ROW_OVERHEAD;
        self.rows.push(Row { key, process_ms, version, payload });
    }
}

/// Rows in their order.
pub(crate) struct Sorted {
    keys: Vec<u8>,
    rows: Vec<Row>,
}

impl Sorted {
    /// Key, process timestamp, version and payload of each row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], i64, u32, &Bytes)> {
        self.rows.iter().map(|row| (&self.keys[row.key.clone()], row.process_ms, row.version, &row.payload))
    }
}

/// Days since 1970-01-01 of a log time.
pub(crate) fn day_number(time_ms: i64) -> i32 {
    chrono::Datelike::num_days_from_ce(&date_of(time_ms)) - DAYS_TO_1970
}

const DAYS_TO_1970: i32 = 719_163;

/// One outcome on its way into the rows.
struct Adding<'a> {
    rows: &'a mut Rows,
    record: &'a Record,
    shards: u32,
    process_ms: i64,
}

impl Adding<'_> {
    fn outcome(mut self, outcome: Outcome) -> Result<(), String> {
        let raw_offset = outcome.raw_offset;
        match outcome.what {
            Some(What::Enriched(enriched)) => self.enriched(raw_offset, enriched),
            Some(What::Duplicate(duplicate)) => {
                let day = self.rows.day(&duplicate.account_id, self.process_ms);
                match duplicate.kind() {
                    Kind::Decision => day.decision_duplicates += 1,
                    Kind::Conversion => day.conversion_duplicates += 1,
                    Kind::Reject => day.reject_duplicates += 1,
                }
                Ok(())
            }
            Some(What::Rejected(rejected)) => self.rejected(raw_offset, &rejected),
            Some(What::Dead(dead)) => {
                self.dead(raw_offset, &dead);
                Ok(())
            }
            None => Err("the outcome is none this release knows".to_owned()),
        }
    }

    fn enriched(&mut self, raw_offset: u64, mut enriched: Enriched) -> Result<(), String> {
        let kind = enriched.event.as_mut().and_then(|event| event.kind.take());
        let event = enriched.event.clone().ok_or("an enriched record without an event")?;
        match kind {
            Some(event::Kind::DecisionEvent(decided)) => {
                let day = self.rows.day(&event.account_id, self.process_ms);
                day.decision_events += 1;
                day.decision_rows += decided.decisions.len() as u64;
                let alone = decided.decisions.len() == 1;
                for (place, decision) in decided.decisions.into_iter().enumerate() {
                    let experiment = decision.experiment_id.clone();
                    let place = u32::try_from(place).map_err(|_| "an event of too many decisions")?;
                    let stored = if alone { self.whole() } else { self.only(raw_offset, &enriched, decision) };
                    self.row(&event, ExportType::Decisions, experiment.as_deref(), (raw_offset, place), stored);
                }
                Ok(())
            }
            Some(event::Kind::Conversion(conversion)) => {
                let day = self.rows.day(&event.account_id, self.process_ms);
                day.conversions += 1;
                match enriched.unattributed() {
                    Unattributed::Not => {}
                    Unattributed::NoDecision => day.no_decision += 1,
                    Unattributed::DecisionLater => day.decision_later += 1,
                    Unattributed::OutsideWindow => day.outside_window += 1,
                }
                let stored = self.whole();
                self.row(&event, ExportType::Events, event_name(&conversion), (raw_offset, 0), stored);
                Ok(())
            }
            None => Err("the event is of no kind this release knows".to_owned()),
        }
    }

    /// The record as it came: its version and bytes.
    fn whole(&self) -> (u32, Bytes) {
        (self.record.version, self.record.value.clone())
    }

    /// The record with one decision alone.
    fn only(&self, raw_offset: u64, enriched: &Enriched, decision: raw::Decision) -> (u32, Bytes) {
        let mut enriched = enriched.clone();
        if let Some(event) = &mut enriched.event {
            event.kind = Some(event::Kind::DecisionEvent(raw::DecisionEvent { decisions: vec![decision] }));
        }
        let what = Some(What::Enriched(enriched));
        let outcome = Outcome { raw_offset, process_timestamp_ms: self.process_ms, what };
        (EnrichedRecord::VERSION, EnrichedRecord { body: Some(Body::Outcome(outcome)) }.to_bytes())
    }

    fn row(
        &mut self,
        event: &raw::Event,
        of_type: ExportType,
        folder: Option<&str>,
        (raw_offset, place): (u64, u32),
        (version, payload): (u32, Bytes),
    ) {
        let key = SortKey {
            shard: partition::of_account(&event.account_id, self.shards),
            account: &event.account_id,
            of_type,
            folder,
            visitor: &event.visitor_id,
            time_ms: event.timestamp_ms,
            uuid: &event.uuid,
            raw_offset,
            place,
        };
        self.rows.push(&key, self.process_ms, version, payload);
    }

    fn rejected(&mut self, raw_offset: u64, rejected: &Rejected) -> Result<(), String> {
        let reject = rejected.reject.as_ref().ok_or("a rejected outcome without a reject")?;
        let day = self.rows.day(&reject.account_id, self.process_ms);
        *day.rejected.entry(reject.reason.clone()).or_default() += 1;
        self.reject_row(&reject.account_id, &reject.visitor_id, reject.uuid.as_deref().unwrap_or_default(), raw_offset);
        Ok(())
    }

    fn dead(&mut self, raw_offset: u64, dead: &Dead) {
        self.rows.day(&dead.account_id, self.process_ms).dead += 1;
        self.reject_row(&dead.account_id, &dead.visitor_id, "", raw_offset);
    }

    fn reject_row(&mut self, account: &str, visitor: &str, uuid: &str, raw_offset: u64) {
        let key = SortKey {
            shard: partition::of_account(account, self.shards),
            account,
            of_type: ExportType::Rejected,
            folder: None,
            visitor,
            time_ms: self.process_ms,
            uuid,
            raw_offset,
            place: 0,
        };
        self.rows.push(&key, self.process_ms, self.record.version, self.record.value.clone());
    }
}
