//! What the exporter writes about its own work, as JSON: the day's plan, the published record, the manifest.
//!
//! The write side makes them; whoever answers "what is visible, up to when" reads them.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::layout::{AccountId, ExportType, Slot, date_of, start_of};

/// The version of a plan and a published record this release writes, and the newest it reads.
pub const RECORD_VERSION: u32 = 1;
/// The version of the exported columns; stands in manifests and in every file's key-value metadata.
pub const SCHEMA_VERSION: u32 = 1;
/// Key-value metadata of a file: [`SCHEMA_VERSION`].
pub const META_SCHEMA_VERSION: &str = "millrace.schema_version";
/// Key-value metadata of a file: the log its rows come from.
pub const META_LOG_ID: &str = "millrace.log_id";
/// Key-value metadata of a file: [`slot_text`].
pub const META_SLOT: &str = "millrace.slot";

/// Why an export record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportRecordError {
    /// Written by a later release: upgrade the reader.
    #[error("written by a later release (version {version}, known: {RECORD_VERSION}): upgrade this process first")]
    Newer {
        /// The record's version.
        version: u32,
    },
    /// No such record.
    #[error("not a record of this kind: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// A day's plan for one shard: all that shapes a key, fixed before the day's first slot is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// The log.
    pub log_id: String,
    /// The shard.
    pub shard: u32,
    /// The UTC day.
    #[serde(with = "date_text")]
    pub date: NaiveDate,
    /// The slot length of accounts that `slots_ms` does not name.
    pub default_slot_ms: i64,
    /// Slot lengths that differ from the default, by account.
    pub slots_ms: BTreeMap<String, i64>,
    /// The most rows in one file.
    pub rows_per_file: u64,
    /// The most bytes of encoded enriched records in one file; a single larger record still gets a file.
    pub bytes_per_file: u64,
    /// The most folders of an account, type and slot; rows of further names go to `~other`.
    pub folders_per_slot: u32,
    /// The codec's name, as in file names.
    pub codec: String,
    /// The generation of every file of the day.
    pub generation: u32,
}

impl Plan {
    /// The slot length of an account on this day.
    #[must_use]
    pub fn slot_ms(&self, account: &str) -> i64 {
        self.slots_ms.get(account).copied().unwrap_or(self.default_slot_ms)
    }

    /// The shortest slot length of the day.
    #[must_use]
    pub fn slot_ms_min(&self) -> i64 {
        self.slots_ms.values().copied().chain([self.default_slot_ms]).min().unwrap_or(self.default_slot_ms)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`ExportRecordError::Newer`], [`ExportRecordError::Malformed`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ExportRecordError> {
        checked(serde_json::from_slice::<Self>(bytes)?, |plan| plan.version)
    }

    /// The plan's bytes; the same plan always has the same.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// Says that a log took over a bucket from another, and from which day on; fixed before it publishes anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// The log that took over.
    pub log_id: String,
    /// The log whose export was there.
    pub succeeds: String,
    /// The UTC midnight at which its export begins, log time, ms. What it holds from before is never published.
    pub first_ms: i64,
    /// The generation of its files: higher than any of the log before, so that the two never make the same key.
    pub generation: u32,
}

impl Succession {
    /// Reads a succession.
    ///
    /// # Errors
    /// [`ExportRecordError::Newer`], [`ExportRecordError::Malformed`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ExportRecordError> {
        checked(serde_json::from_slice::<Self>(bytes)?, |record| record.version)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// Says of a shard: every slot that ends at or before `through_ms` is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// The log.
    pub log_id: String,
    /// The shard.
    pub shard: u32,
    /// Log time, ms; never later than the end of the day that holds `previous_ms`.
    pub through_ms: i64,
    /// The record before it; `files` tells what came between. 0 for the first.
    pub previous_ms: i64,
    /// The highest version of the settings that was in force before `through_ms`.
    pub settings_version: u64,
    /// How far each partition's segments were read; one entry each.
    pub segments: Vec<Reached>,
    /// The files of the slots that ended after `previous_ms`, at or before `through_ms`.
    pub files: Vec<PublishedFile>,
}

/// How far a partition's segments were read when a record was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The partition of the enriched topic.
    pub partition: u32,
    /// The start of the first segment that may hold anything of the day of `through_ms`, or of the newest segment:
    /// whoever goes on from the record reads the segments from there.
    pub from: u64,
    /// The end of the newest segment.
    pub end: u64,
    /// The watermark of the newest segment, ms.
    pub watermark_ms: i64,
}

/// A file that is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// The account.
    pub account_id: String,
    /// The type's name.
    #[serde(rename = "type")]
    pub of_type: String,
    /// The folder under `date=`; empty where the type has none.
    pub folder: String,
    /// The key, relative to the bucket.
    pub key: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// SHA-256 of the canonical encoding of its rows, lower-case hex.
    pub rows_sha256: String,
    /// The earliest and the latest `timestamp` of its rows (`process_timestamp` for rejects), ms.
    pub min_timestamp_ms: i64,
    /// See `min_timestamp_ms`.
    pub max_timestamp_ms: i64,
}

impl Published {
    /// Reads a record.
    ///
    /// # Errors
    /// [`ExportRecordError::Newer`], [`ExportRecordError::Malformed`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ExportRecordError> {
        checked(serde_json::from_slice::<Self>(bytes)?, |record| record.version)
    }

    /// The record's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    /// The `through_ms` in a published record's key.
    #[must_use]
    pub fn through_of_key(key: &str) -> Option<i64> {
        key.rsplit('/').next().filter(|name| name.len() == 14)?.parse().ok()
    }
}

/// The instant up to which everything of `account` is visible once its shard is published through `through_ms`; `plan` is that
/// of [`plan_needed`]. `None`: it cannot be told without the plan.
///
/// A record says that every slot that *ends* by `through_ms` is out; what is between the start of the account's own slot and
/// `through_ms` is not. So within a day nothing can be said without the plan, and guessing `through_ms` would promise too much;
/// a plan is made before the first slot of its day, so one that is missing is damage, never a beginning.
#[must_use]
pub fn complete_through(account: &str, through_ms: i64, plan: Option<&Plan>) -> Option<i64> {
    match plan_needed(through_ms) {
        None => Some(through_ms),
        Some(date) => {
            plan.filter(|plan| plan.date == date).map(|plan| Slot::of(through_ms, plan.slot_ms(account)).start_ms)
        }
    }
}

/// The day whose plan [`complete_through`] needs. A midnight needs none: it ends a slot of every length.
#[must_use]
pub fn plan_needed(through_ms: i64) -> Option<NaiveDate> {
    let date = date_of(through_ms);
    (start_of(date) != through_ms).then_some(date)
}

/// A closed day of an account and type: `_manifest.json`. Later releases may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The account.
    pub account_id: String,
    /// The type's name.
    #[serde(rename = "type")]
    pub of_type: String,
    /// The UTC day of `process_timestamp`.
    #[serde(with = "date_text")]
    pub date: NaiveDate,
    /// [`SCHEMA_VERSION`] of the files.
    pub schema_version: u32,
    /// The release that closed the day.
    pub release: String,
    /// The log.
    pub log_id: String,
    /// The generation of the files.
    pub generation: u32,
    /// The version of the settings in force at the end of the day.
    pub settings: u64,
    /// Rows of all files.
    pub rows: u64,
    /// The files, by key.
    pub files: Vec<ManifestFile>,
    /// What became of the day's events; absent for rejects.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub events: Option<EventCounts>,
    /// Why conversions carry no experiment; conversions only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unattributed: Option<UnattributedCounts>,
    /// Rejects by reason; rejects only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rejected: Option<BTreeMap<String, u64>>,
    /// Dead letters; rejects only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dead: Option<u64>,
    /// Rejects that were sent again; rejects only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duplicate: Option<u64>,
}

/// A file of a closed day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// The key, relative to the bucket.
    pub key: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// SHA-256 of the canonical encoding of its rows, lower-case hex.
    pub rows_sha256: String,
    /// The earliest `timestamp` of its rows (`process_timestamp` for rejects), ISO-8601 UTC.
    pub min_timestamp: String,
    /// The latest.
    pub max_timestamp: String,
}

/// Events (not rows: one event may make several decision rows).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// In the files.
    pub accepted: u64,
    /// Sent again within the window, and dropped.
    pub duplicate: u64,
}

/// Conversions without an experiment, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnattributedCounts {
    /// The visitor had no decision.
    pub no_decision: u64,
    /// Every decision of the visitor was later.
    pub decision_later: u64,
    /// The visitor's decisions had left the window.
    pub outside_window: u64,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ExportRecordError::Malformed`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ExportRecordError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The manifest's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// An instant as manifests and status write it: `2026-01-02T03:04:05.678Z`.
#[must_use]
pub fn instant_text(time_ms: i64) -> String {
    DateTime::from_timestamp_millis(time_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A slot as files' metadata writes it: start and length, `2026-01-02T03:04:00.000Z/60s`.
#[must_use]
pub fn slot_text(slot: Slot) -> String {
    format!("{}/{}s", instant_text(slot.start_ms), slot.length_ms / 1000)
}

/// The key of a closed day's manifest.
#[must_use]
pub fn manifest_key(account: &AccountId, export: ExportType, date: NaiveDate) -> String {
    crate::layout::date_prefix(account, export, date) + crate::layout::MANIFEST
}

/// The key that says a day is closed.
#[must_use]
pub fn success_key(account: &AccountId, export: ExportType, date: NaiveDate) -> String {
    crate::layout::date_prefix(account, export, date) + crate::layout::SUCCESS
}

fn checked<T>(record: T, version: impl Fn(&T) -> u32) -> Result<T, ExportRecordError> {
    let version = version(&record);
    if version > RECORD_VERSION { Err(ExportRecordError::Newer { version }) } else { Ok(record) }
}

/// A UTC day as `2026-01-02`.
mod date_text {
    use chrono::NaiveDate;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(date: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(date)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

// Struct fields in order, maps sorted: the same value always has the same bytes.
fn json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            version: RECORD_VERSION,
            log_id: "log".into(),
            shard: 1,
            date: NaiveDate::from_ymd_opt(2026, 1, 2).unwrap(),
            default_slot_ms: 10_000,
            slots_ms: BTreeMap::from([("large".into(), 60_000)]),
            rows_per_file: 1_000_000,
            bytes_per_file: 256 << 20,
            folders_per_slot: 1_000,
            codec: "snappy".into(),
            generation: 0,
        }
    }

    #[test]
    fn an_account_is_complete_up_to_its_own_last_slot() {
        let day = start_of(plan().date);
        let complete = |account, through_ms| complete_through(account, through_ms, Some(&plan()));
        assert_eq!(complete("small", day + 70_000), Some(day + 70_000));
        assert_eq!(complete("large", day + 70_000), Some(day + 60_000));
        assert_eq!(complete("large", day), Some(day));
    }

    #[test]
    fn within_a_day_nothing_is_promised_without_the_days_own_plan() {
        let day = start_of(plan().date);
        assert_eq!((plan_needed(day), complete_through("large", day, None)), (None, Some(day)));
        assert_eq!((plan_needed(day + 1), complete_through("large", day + 70_000, None)), (Some(plan().date), None));
        let yesterdays = Plan { date: plan().date.pred_opt().unwrap(), ..plan() };
        assert_eq!(complete_through("large", day + 70_000, Some(&yesterdays)), None);
    }

    #[test]
    fn a_plan_is_read_back_and_a_later_one_is_refused() {
        assert_eq!(Plan::from_json(&plan().to_json()).unwrap(), plan());
        let later = Plan { version: RECORD_VERSION + 1, ..plan() };
        assert!(matches!(Plan::from_json(&later.to_json()), Err(ExportRecordError::Newer { version: 2 })));
        assert!(matches!(Plan::from_json(b"{}"), Err(ExportRecordError::Malformed(_))));
    }

    #[test]
    fn the_instant_of_a_published_record_stands_in_its_key() {
        let key = crate::layout::published_key("log", 3, 1_767_312_000_000);
        assert_eq!(Published::through_of_key(&key), Some(1_767_312_000_000));
        assert_eq!(Published::through_of_key("_millrace/published/log/00003/x"), None);
    }

    #[test]
    fn a_manifest_of_rejects_tells_reasons_and_others_tell_events() {
        let manifest = Manifest {
            account_id: "a".into(),
            of_type: "rejected".into(),
            date: plan().date,
            schema_version: SCHEMA_VERSION,
            release: "0.1.0".into(),
            log_id: "log".into(),
            generation: 0,
            settings: 1,
            rows: 0,
            files: Vec::new(),
            events: None,
            unattributed: None,
            rejected: Some(BTreeMap::from([("visitor_rate".into(), 2)])),
            dead: Some(0),
            duplicate: Some(0),
        };
        let text = String::from_utf8(manifest.to_json()).unwrap();
        assert_eq!(
            text,
            "{\"account_id\":\"a\",\"type\":\"rejected\",\"date\":\"2026-01-02\",\"schema_version\":1,\"release\":\"0.1.0\",\
             \"log_id\":\"log\",\"generation\":0,\"settings\":1,\"rows\":0,\"files\":[],\"rejected\":{\"visitor_rate\":2},\
             \"dead\":0,\"duplicate\":0}"
        );
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), manifest);
    }

    #[test]
    fn instants_are_iso_8601_in_utc() {
        assert_eq!(instant_text(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(slot_text(Slot::of(1_767_323_045_678, 60_000)), "2026-01-02T03:04:00.000Z/60s");
    }
}
