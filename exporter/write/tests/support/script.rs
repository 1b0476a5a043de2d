//! What the processor wrote, and the rows that must come of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{
    Attributed, Dead, Duplicate, Enriched, EnrichedRecord, Kind, Outcome, Rejected, Unattributed, Watermark,
};
use millrace_schemas::layout::{AccountId, ExportType, date_of, date_prefix, folder};
use millrace_schemas::partition::of_visitor;
use millrace_schemas::raw::{Attribute, Conversion, Decision, DecisionEvent, Event, Pair, Reject, event};

use super::log::MemoryLog;
use super::store::scramble;

/// A row: visitor, timestamp (process timestamp for rejects), uuid, process timestamp.
pub type RowId = (String, i64, String, i64);

/// Who did something when.
#[derive(Clone, Copy)]
pub struct Doing<'a> {
    pub account: &'a str,
    pub visitor: &'a str,
    pub uuid: &'a str,
    /// The client's.
    pub timestamp_ms: i64,
    /// Log time of arrival.
    pub process_ms: i64,
}

pub struct Script {
    pub partitions: u32,
    records: Vec<(u32, Bytes)>,
    raw_offsets: BTreeMap<u32, u64>,
    /// By prefix of the folder, or of the day where there are no folders.
    pub rows: BTreeMap<String, Vec<RowId>>,
}

impl Script {
    pub fn new(partitions: u32) -> Self {
        Self { partitions, records: Vec::new(), raw_offsets: BTreeMap::new(), rows: BTreeMap::new() }
    }

    /// Puts everything into a new log that delivers `batch` records at a time.
    pub fn log(&self, batch: usize) -> Arc<MemoryLog> {
        self.log_named("test-log", batch)
    }

    pub fn log_named(&self, id: &str, batch: usize) -> Arc<MemoryLog> {
        let log = MemoryLog::new(id, self.partitions, batch);
        self.write(&log, 0..self.records.len());
        log
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn write(&self, log: &MemoryLog, range: std::ops::Range<usize>) {
        for (partition, value) in &self.records[range] {
            log.write(*partition, EnrichedRecord::VERSION, value.clone());
        }
    }

    pub fn partition(&self, doing: Doing<'_>) -> u32 {
        of_visitor(doing.account, doing.visitor, self.partitions)
    }

    pub fn decided(&mut self, doing: Doing<'_>, experiments: &[Option<&str>]) {
        let decision = |experiment: &Option<&str>| Decision {
            campaign_id: Some("campaign".into()),
            experiment_id: experiment.map(str::to_owned),
            variation_id: Some("variation".into()),
            is_holdback: Some(false),
            ..Decision::default()
        };
        for experiment in experiments {
            self.expect(doing, ExportType::Decisions, *experiment);
        }
        let decisions = experiments.iter().map(decision).collect();
        let kind = event::Kind::DecisionEvent(DecisionEvent { decisions });
        self.enriched(doing, kind, Vec::new(), Unattributed::Not);
    }

    pub fn converted(&mut self, doing: Doing<'_>, name: Option<&str>) {
        self.expect(doing, ExportType::Events, name);
        let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
        let conversion = Conversion {
            entity_id: None,
            key: name.map(str::to_owned),
            event_type: Some("custom".into()),
            revenue: Some(4_200),
            value: Some(9.5),
            quantity: None,
            tags: vec![pair("colour", "red"), pair("twice", "first"), pair("twice", "last")],
            properties: Vec::new(),
            snapshot_decisions: Vec::new(),
        };
        let experiment = Attributed {
            campaign_id: Some("campaign".into()),
            experiment_id: Some("9300".into()),
            variation_id: Some("9301".into()),
            is_holdback: Some(true),
        };
        let attributed = doing.timestamp_ms % 2 == 0;
        let experiments = if attributed { vec![experiment] } else { Vec::new() };
        let unattributed = if attributed { Unattributed::Not } else { Unattributed::NoDecision };
        self.enriched(doing, event::Kind::Conversion(conversion), experiments, unattributed);
    }

    fn enriched(
        &mut self,
        doing: Doing<'_>,
        kind: event::Kind,
        experiments: Vec<Attributed>,
        unattributed: Unattributed,
    ) {
        let attribute = Attribute { id: Some("6001".into()), name: Some("plan".into()), r#type: None, value: None };
        let event = Event {
            account_id: doing.account.into(),
            visitor_id: doing.visitor.into(),
            uuid: doing.uuid.into(),
            timestamp_ms: doing.timestamp_ms,
            attributes: if doing.timestamp_ms % 3 == 0 { vec![attribute] } else { Vec::new() },
            user_agent: Some("a browser".into()),
            revision: Some("42".into()),
            enrich_decisions: true,
            kind: Some(kind),
            ..Event::default()
        };
        let (event, session_id) = (Some(event), Some("-17".to_owned()));
        let enriched = Enriched { event, session_id, experiments, unattributed: unattributed.into() };
        self.outcome(doing, What::Enriched(enriched));
    }

    pub fn duplicate(&mut self, doing: Doing<'_>, kind: Kind) {
        self.outcome(doing, What::Duplicate(Duplicate { account_id: doing.account.into(), kind: kind.into() }));
    }

    pub fn rejected(&mut self, doing: Doing<'_>, reason: &str) {
        let at_arrival = Doing { timestamp_ms: doing.process_ms, ..doing };
        self.expect(at_arrival, ExportType::Rejected, None);
        let reject = Reject {
            account_id: doing.account.into(),
            visitor_id: doing.visitor.into(),
            uuid: Some(doing.uuid.into()),
            reason: reason.into(),
            original: Bytes::from_static(b"{\xff}"),
            position: 3,
            ..Reject::default()
        };
        self.outcome(doing, What::Rejected(Rejected { reject: Some(reject) }));
    }

    pub fn dead(&mut self, doing: Doing<'_>) {
        let nameless = Doing { timestamp_ms: doing.process_ms, uuid: "", ..doing };
        self.expect(nameless, ExportType::Rejected, None);
        let (account_id, visitor_id) = (doing.account.to_owned(), doing.visitor.to_owned());
        let dead = Dead { account_id, visitor_id, reason: "undecodable".into(), original: Bytes::from_static(b"\x00") };
        self.outcome(doing, What::Dead(dead));
    }

    fn outcome(&mut self, doing: Doing<'_>, what: What) {
        let partition = self.partition(doing);
        let raw_offset = self.raw_offsets.entry(partition).or_default();
        *raw_offset += 1;
        let (raw_offset, process_timestamp_ms) = (*raw_offset, doing.process_ms);
        let outcome = Outcome { raw_offset, process_timestamp_ms, what: Some(what) };
        self.records.push((partition, EnrichedRecord { body: Some(Body::Outcome(outcome)) }.to_bytes()));
    }

    fn expect(&mut self, doing: Doing<'_>, of_type: ExportType, name: Option<&str>) {
        let account = AccountId::parse(doing.account).unwrap();
        let mut prefix = date_prefix(&account, of_type, date_of(doing.process_ms));
        if let Some(key) = of_type.folder_key() {
            prefix += &format!("{}/", folder(key, name));
        }
        let row = (doing.visitor.to_owned(), doing.timestamp_ms, doing.uuid.to_owned(), doing.process_ms);
        self.rows.entry(prefix).or_default().push(row);
    }

    pub fn watermark(&mut self, partition: u32, watermark_ms: i64) {
        let mark = Watermark { log_time_ms: watermark_ms, watermark_ms, settings_version: 1, ..Watermark::default() };
        self.records.push((partition, EnrichedRecord { body: Some(Body::Watermark(mark)) }.to_bytes()));
    }

    /// Ticks: all partitions promise.
    pub fn watermarks(&mut self, watermark_ms: i64) {
        for partition in 0..self.partitions {
            self.watermark(partition, watermark_ms);
        }
    }

    /// Something of everything between two log times: held conversions, duplicates, rejects, dead letters, awkward names.
    pub fn random(partitions: u32, seed: u64, events: u64, from_ms: i64, to_ms: i64) -> Self {
        let mut script = Self::new(partitions);
        let mut held: Vec<(u64, i64)> = Vec::new();
        let step = (to_ms - from_ms) / i64::try_from(events).unwrap();
        for number in 0..events {
            let dice = scramble(seed.wrapping_mul(1_000_003) ^ number);
            let now =
                from_ms + step * i64::try_from(number).unwrap() + i64::try_from(dice % step.unsigned_abs()).unwrap();
            if dice.is_multiple_of(3) {
                held.push((dice, now));
            } else {
                script.happen(dice, number, now);
            }
            if scramble(dice).is_multiple_of(4) {
                let release = held.iter().take_while(|(_, process_ms)| *process_ms < now - step).count();
                for (dice, process_ms) in held.drain(..release) {
                    script.convert(dice, process_ms);
                }
                let promise = held.first().map_or(now, |(_, process_ms)| *process_ms);
                let partition = u32::try_from(dice % u64::from(partitions)).unwrap();
                script.watermark(partition, promise);
            }
        }
        for (dice, process_ms) in held {
            script.convert(dice, process_ms);
        }
        script.watermarks(to_ms);
        script
    }

    fn convert(&mut self, dice: u64, process_ms: i64) {
        const NAMES: [Option<&str>; 9] = [
            Some("add:to:cart"),
            Some("NULL"),
            None,
            Some("a b"),
            Some("naïve ☃"),
            Some("~other"),
            Some("a/b=c%"),
            Some("purchase"),
            Some("purchase"),
        ];
        let (uuid, visitor, account) = names(dice);
        let timestamp_ms = process_ms - i64::try_from(dice % 5_000).unwrap();
        let doing = Doing { account, visitor: &visitor, uuid: &uuid, timestamp_ms, process_ms };
        self.converted(doing, NAMES[usize::try_from(dice / 7 % 9).unwrap()]);
    }

    fn happen(&mut self, dice: u64, number: u64, process_ms: i64) {
        let (uuid, visitor, account) = names(dice);
        let timestamp_ms = process_ms - i64::try_from(dice % 5_000).unwrap();
        let doing = Doing { account, visitor: &visitor, uuid: &uuid, timestamp_ms, process_ms };
        match dice / 11 % 10 {
            0 => self.duplicate(doing, Kind::Conversion),
            1 => self.duplicate(doing, Kind::Decision),
            2 => self.rejected(doing, ["no_decision", "visitor_rate"][usize::try_from(number % 2).unwrap()]),
            3 => self.dead(doing),
            4 => self.decided(doing, &[None, Some("9300"), Some("9300"), Some("x:1")]),
            _ => self.decided(doing, &[Some("9300")]),
        }
    }
}

fn names(dice: u64) -> (String, String, &'static str) {
    const ACCOUNTS: [&str; 5] = ["a", "b", "busy", "busy", "slow"];
    (format!("uuid-{dice:x}"), format!("visitor-{}", dice / 13 % 6), ACCOUNTS[usize::try_from(dice / 17 % 5).unwrap()])
}
