//! The day's plan: made once per shard and day, before the day's first slot, and the only source of what shapes a key.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use millrace_schemas::export::{Plan, PublishedFile, RECORD_VERSION};
use millrace_schemas::layout::{self, Codec};
use xxhash_rust::xxh3::xxh3_64;

use crate::accounts::Account;
use crate::bucket::{Bucket, damaged, gone};
use crate::config::{Config, is_slot_length};
use crate::error::Error;
use crate::limits;

/// What each account exported on one day, by account. An estimate: what was told of twice counts twice.
#[derive(Debug, Default)]
pub(crate) struct Exported(BTreeMap<String, OfAccount>);

#[derive(Debug, Default)]
struct OfAccount {
    rows: u64,
    /// Digests of type and folder: names may be long, and many.
    folders: HashSet<u64>,
}

impl Exported {
    /// Counts a file.
    pub(crate) fn add(&mut self, file: &PublishedFile) {
        let account = match self.0.get_mut(&file.account_id) {
            Some(account) => account,
            None => self.0.entry(file.account_id.clone()).or_default(),
        };
        account.rows += file.rows;
        account.folders.insert(xxh3_64(format!("{}/{}", file.of_type, file.folder).as_bytes()));
    }
}

/// The plan of that key, if it has been made.
pub(crate) async fn read(bucket: &Bucket, log_id: &str, date: NaiveDate, shard: u32) -> Result<Option<Plan>, Error> {
    read_key(bucket, &layout::plan_key(log_id, date, shard)).await
}

/// The plan at `key`, whoever's log's.
pub(crate) async fn read_key(bucket: &Bucket, key: &str) -> Result<Option<Plan>, Error> {
    let Some(bytes) = bucket.read(key).await? else { return Ok(None) };
    let plan = Plan::from_json(&bytes).map_err(|error| damaged(key, &error.to_string()))?;
    let lengths = plan.slots_ms.values().chain([&plan.default_slot_ms]);
    if !lengths.copied().all(is_slot_length) || Codec::parse(&plan.codec).is_none() {
        return Err(damaged(key, "its slots or its codec are none this release knows"));
    }
    Ok(Some(plan))
}

/// Fixes a plan; the answer is what stands, whoever made it.
pub(crate) async fn fix(bucket: &Bucket, plan: &Plan) -> Result<Plan, Error> {
    let key = layout::plan_key(&plan.log_id, plan.date, plan.shard);
    bucket.create(&key, plan.to_json().into()).await?;
    read(bucket, &plan.log_id, plan.date, plan.shard).await?.ok_or_else(|| gone(&key))
}

/// What a plan is made from.
pub(crate) struct Basis<'a> {
    pub(crate) config: &'a Config,
    pub(crate) log_id: &'a str,
    pub(crate) shard: u32,
    pub(crate) date: NaiveDate,
    /// The accounts of the shard.
    pub(crate) accounts: &'a [Account],
    /// What the shard published two days before.
    pub(crate) exported: &'a Exported,
    /// Of every file of the log.
    pub(crate) generation: u32,
}

/// The plan that follows from it.
pub(crate) fn make(basis: &Basis<'_>) -> Plan {
    let config = basis.config;
    let default_slot_ms = config.slot_ms().unwrap_or(limits::SLOT_UNKNOWN_MS);
    let mut slots_ms = if config.slot.is_some() { BTreeMap::new() } else { slots(basis) };
    slots_ms.retain(|_, slot_ms| *slot_ms != default_slot_ms);
    Plan {
        version: RECORD_VERSION,
        log_id: basis.log_id.to_owned(),
        shard: basis.shard,
        date: basis.date,
        default_slot_ms,
        slots_ms,
        rows_per_file: config.rows_per_file,
        bytes_per_file: config.bytes_per_file,
        folders_per_slot: config.folders_per_slot,
        codec: config.codec.name().to_owned(),
        generation: basis.generation,
    }
}

/// Each account's slot: what it asked for, else what its rows and folders of two days before suggest.
fn slots(basis: &Basis<'_>) -> BTreeMap<String, i64> {
    let chosen = |(account, exported): (&String, &OfAccount)| {
        let folders = exported.folders.len() as u64;
        (account.clone(), slot_for(exported.rows, folders, basis.config.files_per_day))
    };
    let mut slots: BTreeMap<String, i64> = basis.exported.0.iter().map(chosen).collect();
    for account in basis.accounts {
        match account.slot_ms {
            Some(slot_ms) if is_slot_length(slot_ms) => {
                slots.insert(account.id.clone(), slot_ms);
            }
            Some(slot_ms) => tracing::warn!(account = account.id, slot_ms, "not a slot length; choosing one"),
            None => {}
        }
    }
    slots
}

/// The shortest slot that makes at most `files_per_day` files a day, or full ones; 6 h if none does.
pub(crate) fn slot_for(rows: u64, folders: u64, files_per_day: u64) -> i64 {
    let suits = |slot_ms: &&i64| {
        let slots = (limits::DAY_MS / **slot_ms).unsigned_abs();
        let files = rows.min(folders.saturating_mul(slots));
        files <= files_per_day || rows / files.max(1) >= limits::FULL_FILE_ROWS
    };
    let last = limits::SLOT_LADDER_MS[limits::SLOT_LADDER_MS.len() - 1];
    limits::SLOT_LADDER_MS.iter().find(suits).copied().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000;

    #[test]
    fn a_small_account_is_fresh_because_it_has_few_rows() {
        assert_eq!(slot_for(0, 0, 5_000), 10 * SECOND);
        assert_eq!(slot_for(5_000, 300, 5_000), 10 * SECOND);
    }

    #[test]
    fn more_rows_and_folders_make_longer_slots() {
        // 1,440 slots of a minute x 3 folders = 4,320 files.
        assert_eq!(slot_for(100_000, 3, 5_000), 60 * SECOND);
        // 288 x 4 = 1,152 where 1,440 x 4 = 5,760 is too much.
        assert_eq!(slot_for(100_000, 4, 5_000), 300 * SECOND);
        assert_eq!(slot_for(1_000_000, 200, 5_000), 3_600 * SECOND);
    }

    #[test]
    fn a_large_account_is_fresh_because_its_files_are_full() {
        // 8,640 slots of 10 s in one folder: more files than wanted, but of 11,574 rows each.
        assert_eq!(slot_for(100_000_000, 1, 5_000), 10 * SECOND);
    }

    #[test]
    fn the_longest_slot_is_the_last_resort() {
        assert_eq!(slot_for(10_000_000, 1_000_000, 5_000), 21_600 * SECOND);
    }

    fn file(account: &str, folder: &str, rows: u64) -> PublishedFile {
        PublishedFile {
            account_id: account.into(),
            of_type: "events".into(),
            folder: folder.into(),
            key: format!("{account}/{folder}"),
            rows,
            bytes: 1,
            sha256: String::new(),
            rows_sha256: String::new(),
            min_timestamp_ms: 0,
            max_timestamp_ms: 0,
        }
    }

    fn account(id: &str, slot_ms: Option<i64>) -> Account {
        Account { id: id.into(), created_ms: 0, closed_ms: None, slot_ms }
    }

    fn plan(config: &Config) -> Plan {
        let many = (0..4).map(|n| file("busy", &format!("event={n}"), 25_000));
        let mut exported = Exported::default();
        many.chain([file("small", "event=a", 10)]).for_each(|file| exported.add(&file));
        let accounts = [
            account("asks", Some(3_600_000)),
            account("wrong", Some(7_000)),
            account("new", None),
            account("small", None),
        ];
        let date = NaiveDate::from_ymd_opt(2026, 1, 3).unwrap();
        make(&Basis { config, log_id: "log", shard: 2, date, accounts: &accounts, exported: &exported, generation: 0 })
    }

    #[test]
    fn a_plan_names_each_account_whose_slot_is_not_the_default() {
        let plan = plan(&Config::default());
        let expected = [("asks", 3_600_000), ("busy", 300_000), ("small", 10_000)];
        assert_eq!(plan.slots_ms, expected.map(|(id, ms)| (id.to_owned(), ms)).into());
        assert_eq!((plan.default_slot_ms, plan.slot_ms("new"), plan.slot_ms("wrong")), (60_000, 60_000, 60_000));
    }

    #[test]
    fn a_set_slot_is_the_slot_of_every_account() {
        let config = Config { slot: Some(Duration::from_secs(10)), ..Config::default() };
        let plan = plan(&config);
        assert!(plan.slots_ms.is_empty());
        assert_eq!(plan.slot_ms("asks"), 10_000);
    }
}
