//! Where things stand in the bucket. No text from an event can reach outside its own prefix, and two names never
//! share a folder.
//!
//! ```text
//! v1/account_id=A/type=T/date=D/experiment=E/part-HHMMSS-LLLLL-NNNN-gG.snappy.parquet      type=decisions
//! v1/account_id=A/type=T/date=D/event=N/part-HHMMSS-LLLLL-NNNN-gG.snappy.parquet           type=events
//! rejected/v1/account_id=A/date=D/part-….parquet
//! audit/v1/account_id=A/date=D/part-….parquet
//! _millrace/…                                                                  never readable with a scoped credential
//! ```

use std::fmt;

use chrono::{DateTime, NaiveDate};
use sha2::{Digest, Sha256};

use crate::limits::{ACCOUNT_ID_BYTES_MAX, FOLDER_SEGMENT_BYTES_MAX};

mod snapshots;

pub use snapshots::{SnapshotName, SnapshotPart, SnapshotShelf, snapshot_parts_prefix, snapshots_prefix};

/// The bucket, unless configured.
pub const BUCKET_DEFAULT: &str = "millrace-events";
/// The name of a closed day's list of files.
pub const MANIFEST: &str = "_manifest.json";
/// The empty object that closes a day.
pub const SUCCESS: &str = "_SUCCESS";
/// Everything that is ours alone.
pub const INTERNAL: &str = "_millrace/";

/// An account's id: `[0-9A-Za-z_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(String);

impl AccountId {
    /// The id, if `text` is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        ((1..=ACCOUNT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is exported apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportType {
    /// One row per decision.
    Decisions,
    /// One row per conversion.
    Events,
    /// Rejects and dead letters.
    Rejected,
    /// The audit trail.
    Audit,
}

impl ExportType {
    /// The word in `type=` parameters and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Events => "events",
            Self::Rejected => "rejected",
            Self::Audit => "audit",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Decisions, Self::Events, Self::Rejected, Self::Audit].into_iter().find(|t| t.name() == name)
    }

    /// What the folders under `date=` are called; `None` where there are none.
    #[must_use]
    pub fn folder_key(self) -> Option<&'static str> {
        match self {
            Self::Decisions => Some("experiment"),
            Self::Events => Some("event"),
            Self::Rejected | Self::Audit => None,
        }
    }

    /// The prefix of all an account has of this type, ending in `/`.
    #[must_use]
    pub fn prefix(self, account: &AccountId) -> String {
        match self {
            Self::Decisions | Self::Events => format!("{}type={}/", account_prefix(account), self.name()),
            Self::Rejected | Self::Audit => format!("{}/v1/account_id={account}/", self.name()),
        }
    }
}

/// `v1/account_id=A/`: what a default scope opens.
#[must_use]
pub fn account_prefix(account: &AccountId) -> String {
    format!("v1/account_id={account}/")
}

/// The prefix of one day, ending in `/`.
#[must_use]
pub fn date_prefix(account: &AccountId, export: ExportType, date: NaiveDate) -> String {
    format!("{}date={}/", export.prefix(account), date.format("%Y-%m-%d"))
}

/// The UTC day of a log time.
#[must_use]
pub fn date_of(time_ms: i64) -> NaiveDate {
    DateTime::from_timestamp_millis(time_ms).unwrap_or_default().date_naive()
}

/// The log time at which a UTC day begins.
#[must_use]
pub fn start_of(date: NaiveDate) -> i64 {
    date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}

/// The folder of a name under `date=`, without a slash: `event=add%3Ato%3Acart`, `experiment=NULL`.
///
/// Injective: null is `NULL`, the literal name `NULL` is `%4EULL`, `~` is always `%7E`; over 200 bytes it is cut, never
/// inside an escape or a character, and ends in `~` and 16 hex digits of the whole name's SHA-256. (So two names that are
/// cut share a folder only where 64 bits of SHA-256 are equal; the column holds the whole name in any case.)
#[must_use]
pub fn folder(folder_key: &str, name: Option<&str>) -> String {
    let mut segment = format!("{folder_key}=");
    let Some(name) = name else {
        segment.push_str("NULL");
        return segment;
    };
    if name == "NULL" {
        segment.push_str("%4EULL");
        return segment;
    }
    const TAIL: usize = 1 + 16;
    let mut cut_at = segment.len();
    for character in name.chars() {
        escape_into(&mut segment, character);
        if segment.len() <= FOLDER_SEGMENT_BYTES_MAX - TAIL {
            cut_at = segment.len();
        }
        if segment.len() > FOLDER_SEGMENT_BYTES_MAX {
            break;
        }
    }
    if segment.len() > FOLDER_SEGMENT_BYTES_MAX {
        segment.truncate(cut_at);
        segment.push('~');
        segment.push_str(&hex::encode(&Sha256::digest(name.as_bytes())[..8]));
    }
    segment
}

/// The folder that takes the rows of further names once a slot has its most folders.
#[must_use]
pub fn folder_other(folder_key: &str) -> String {
    format!("{folder_key}=~other")
}

/// Hive's own list; `~`, which marks what we make ourselves; and the two characters of the first plane that XML cannot hold:
/// one such name would make a whole listing unreadable.
fn escape_into(segment: &mut String, character: char) {
    let ascii = character.is_ascii_control() || r##""#%'*/:=?\{}[]^~"##.contains(character);
    if !ascii && !matches!(character, '\u{fffe}' | '\u{ffff}') {
        return segment.push(character);
    }
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        segment.push('%');
        for digit in [byte >> 4, byte & 15] {
            segment.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
}

/// How pages inside a file are compressed; fixed by the day's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// The default.
    Snappy,
    /// Smaller, slower to write.
    Zstd,
}

impl Codec {
    /// The word in file names and plans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Snappy, Self::Zstd].into_iter().find(|codec| codec.name() == name)
    }
}

/// A slot: a span of one UTC day's log time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Log time of its start, ms.
    pub start_ms: i64,
    /// Its length in ms; divides a day, whole seconds.
    pub length_ms: i64,
}

impl Slot {
    /// The slot of `length_ms` that holds `time_ms`. Slots never reach over midnight.
    #[must_use]
    pub fn of(time_ms: i64, length_ms: i64) -> Self {
        let day = start_of(date_of(time_ms));
        Self { start_ms: day + (time_ms - day) / length_ms * length_ms, length_ms }
    }

    /// The first log time after it.
    #[must_use]
    pub fn end_ms(self) -> i64 {
        self.start_ms + self.length_ms
    }

    /// The UTC day it belongs to.
    #[must_use]
    pub fn date(self) -> NaiveDate {
        date_of(self.start_ms)
    }
}

/// `part-HHMMSS-LLLLL-NNNN-gG.snappy.parquet`
#[must_use]
pub fn part_name(slot: Slot, number: u32, generation: u32, codec: Codec) -> String {
    let second = (slot.start_ms - start_of(slot.date())) / 1000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let length = slot.length_ms / 1000;
    let codec = codec.name();
    format!("part-{hour:02}{minute:02}{second:02}-{length:05}-{number:04}-g{generation}.{codec}.parquet")
}

/// The prefix of one partition's segments.
#[must_use]
pub fn segments_prefix(log_id: &str, topic: &str, partition: u32) -> String {
    format!("_millrace/segments/{log_id}/{topic}/{partition:05}/")
}

/// The key of the segment that begins at `start`.
#[must_use]
pub fn segment_key(log_id: &str, topic: &str, partition: u32, start: u64) -> String {
    format!("{}{start:020}", segments_prefix(log_id, topic, partition))
}

/// The prefix of a log's plans; the days are folders directly under it.
#[must_use]
pub fn plans_prefix(log_id: &str) -> String {
    format!("_millrace/plan/{log_id}/")
}

/// The key of a day's plan for one shard.
#[must_use]
pub fn plan_key(log_id: &str, date: NaiveDate, shard: u32) -> String {
    format!("{}{}/{shard:05}", plans_prefix(log_id), date.format("%Y-%m-%d"))
}

/// The prefix of one shard's published records.
#[must_use]
pub fn published_prefix(log_id: &str, shard: u32) -> String {
    format!("_millrace/published/{log_id}/{shard:05}/")
}

/// The key that says: every slot of the shard that ends at or before `through_ms` is out.
#[must_use]
pub fn published_key(log_id: &str, shard: u32, through_ms: i64) -> String {
    format!("{}{through_ms:014}", published_prefix(log_id, shard))
}

/// Where it stands which logs have taken over from which.
pub const SUCCESSIONS: &str = "_millrace/succession/";

/// The key that says from which log this one took over.
#[must_use]
pub fn succession_key(log_id: &str) -> String {
    format!("{SUCCESSIONS}{log_id}")
}

/// The prefix of everything that says a day belongs to a rebuild.
pub const GENERATIONS: &str = "_millrace/generation/";

/// The prefix of the generations of one day; publishing never touches a day that has one.
#[must_use]
pub fn generation_prefix(account: &AccountId, export: ExportType, date: NaiveDate) -> String {
    format!("{GENERATIONS}{account}/{}/{}/", export.name(), date.format("%Y-%m-%d"))
}

/// A key under [`GENERATIONS`], taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationKey<'a> {
    /// The account.
    pub account: &'a str,
    /// The type's name; also that of a type this release does not know.
    pub of_type: &'a str,
    /// The day.
    pub date: NaiveDate,
    /// The rebuild's generation.
    pub generation: u32,
}

impl<'a> GenerationKey<'a> {
    /// Reads a key; `None` if it is none.
    #[must_use]
    pub fn parse(key: &'a str) -> Option<Self> {
        let mut parts = key.strip_prefix(GENERATIONS)?.split('/');
        let (account, of_type) = (parts.next()?, parts.next()?);
        let (date, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { account, of_type, date, generation })
    }
}
