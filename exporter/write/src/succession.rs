//! Which log's export the bucket holds, and from where on ours goes.
//!
//! A log is put over another's export only if an operator says so, by the other's name. Then it is written down once, for all
//! exporters and every restart, on which day the new log's export begins and in which generation; see
//! [`millrace_schemas::export::Succession`].

use std::collections::BTreeSet;

use millrace_eventlog::{Log, Record, Topic};
use millrace_schemas::codec::Versioned;
use millrace_schemas::export::{RECORD_VERSION, Succession};
use millrace_schemas::layout::{self, GenerationKey, date_of, start_of};
use millrace_schemas::raw::{Raw, raw};
use millrace_schemas::topics;

use crate::bucket::{Bucket, damaged, gone};
use crate::error::Error;
use crate::health::Health;
use crate::{limits, plan, records};

/// Where a log's export begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct First {
    /// Log time of the midnight before which nothing is published; 0 for a bucket's first log.
    pub(crate) ms: i64,
    /// Of every file.
    pub(crate) generation: u32,
}

/// Decides whether this log may export into the bucket, and tells which logs did before. `succeeds`: the log the operator said
/// it takes over from.
pub(crate) async fn decide(
    bucket: &Bucket,
    health: &Health,
    log: &dyn Log,
    succeeds: Option<&str>,
) -> Result<(First, Vec<String>), Error> {
    let log_id = log.id();
    let known = all(bucket).await?;
    refuse_if_taken_over(&known, log_id)?;
    let mut ours = known.iter().find(|one| one.log_id == log_id).cloned();
    let others = others(bucket, log_id).await?;
    if ours.is_none()
        && let Some(old) = succeeds
    {
        let wrong = |reason: &str| Error::Succeeds {
            log_id: log_id.to_owned(),
            old: old.to_owned(),
            reason: reason.to_owned(),
        };
        if !others.contains(old) {
            return Err(wrong("the store holds no export of that log"));
        }
        if known.iter().any(|one| one.succeeds == old) {
            return Err(wrong("another log has taken over from it already"));
        }
        ours = Some(fix(bucket, &made(bucket, health, log, old).await?).await?);
    }
    let line = line_of(&known, ours.as_ref());
    let strangers: Vec<&str> = others.iter().map(String::as_str).filter(|other| !line.contains(other)).collect();
    if !strangers.is_empty() {
        return Err(Error::OtherLog { log_id: log_id.to_owned(), found: strangers.join(", ") });
    }
    let Some(ours) = ours else { return Ok((First::default(), Vec::new())) };
    if succeeds.is_some_and(|old| old != ours.succeeds) {
        let reason = format!("it took over from log {} before: remove the setting", ours.succeeds);
        return Err(Error::Succeeds { log_id: ours.log_id, old: succeeds.unwrap_or_default().to_owned(), reason });
    }
    tracing::info!(succeeds = ours.succeeds, first_day = %date_of(ours.first_ms), ours.generation, "took over this bucket");
    let line = line_of(&known, Some(&ours)).into_iter().map(str::to_owned).collect();
    Ok((First { ms: ours.first_ms, generation: ours.generation }, line))
}

/// Refuses to go on with a log from which another has taken over.
pub(crate) async fn still_ours(bucket: &Bucket, log_id: &str) -> Result<(), Error> {
    refuse_if_taken_over(&all(bucket).await?, log_id)
}

fn refuse_if_taken_over(known: &[Succession], log_id: &str) -> Result<(), Error> {
    match known.iter().find(|one| one.succeeds == log_id) {
        Some(by) => Err(Error::TakenOver { log_id: log_id.to_owned(), by: by.log_id.clone() }),
        None => Ok(()),
    }
}

async fn all(bucket: &Bucket) -> Result<Vec<Succession>, Error> {
    let mut known = Vec::new();
    for key in bucket.list(layout::SUCCESSIONS, None).await? {
        known.push(read(bucket, &key).await?);
    }
    Ok(known)
}

async fn read(bucket: &Bucket, key: &str) -> Result<Succession, Error> {
    let bytes = bucket.read(key).await?.ok_or_else(|| gone(key))?;
    Succession::from_json(&bytes).map_err(|error| damaged(key, &error.to_string()))
}

/// The other logs that have segments or plans.
async fn others(bucket: &Bucket, log_id: &str) -> Result<BTreeSet<String>, Error> {
    let mut found: BTreeSet<String> = bucket.folders("_millrace/segments/").await?.into_iter().collect();
    found.extend(bucket.folders("_millrace/plan/").await?);
    found.remove(log_id);
    Ok(found)
}

/// The logs before `ours`, as far back as is written down.
fn line_of<'a>(known: &'a [Succession], ours: Option<&'a Succession>) -> BTreeSet<&'a str> {
    let mut line = BTreeSet::new();
    let mut at = ours;
    while let Some(one) = at.filter(|one| line.insert(one.succeeds.as_str())) {
        at = known.iter().find(|before| before.log_id == one.succeeds);
    }
    line
}

async fn made(bucket: &Bucket, health: &Health, log: &dyn Log, old: &str) -> Result<Succession, Error> {
    let begins_ms = begins_ms(health, log).await?;
    // Whatever the old log has planned, it may have published in part: not a day of it is touched.
    let planned = records::newest_planned(bucket, old).await?;
    let planned_end_ms = planned.map_or(0, |date| start_of(date) + limits::DAY_MS);
    let first_ms = midnight_from(begins_ms).max(planned_end_ms);
    let mut highest = all(bucket).await?.iter().find(|one| one.log_id == old).map_or(0, |one| one.generation);
    if let Some(date) = planned {
        for key in bucket.list(&format!("{}{date}/", layout::plans_prefix(old)), None).await? {
            highest = highest.max(plan::read_key(bucket, &key).await?.ok_or_else(|| gone(&key))?.generation);
        }
    }
    for key in bucket.list(layout::GENERATIONS, None).await? {
        let rebuilt = GenerationKey::parse(&key).filter(|rebuilt| start_of(rebuilt.date) >= first_ms);
        highest = highest.max(rebuilt.map_or(0, |rebuilt| rebuilt.generation));
    }
    let (log_id, succeeds) = (log.id().to_owned(), old.to_owned());
    Ok(Succession { version: RECORD_VERSION, log_id, succeeds, first_ms, generation: highest + 1 })
}

/// Writes it down; the answer is what stands, whichever exporter was first.
async fn fix(bucket: &Bucket, made: &Succession) -> Result<Succession, Error> {
    let key = layout::succession_key(&made.log_id);
    bucket.create(&key, made.to_json().into()).await?;
    read(bucket, &key).await
}

/// Log time at which every partition has begun. A log without a first record yet is waited for.
async fn begins_ms(health: &Health, log: &dyn Log) -> Result<i64, Error> {
    let raw = Topic(topics::RAW);
    let mut begins_ms = 0;
    for partition in 0..log.partitions(raw) {
        let mut wait = health.wait();
        let record = loop {
            let from = health.ask_log(|| log.extent(raw, partition), Error::Log).await?.start;
            let chunk = health.ask_log(|| log.read(raw, partition, from, 1), Error::Log).await?;
            match chunk.records.into_iter().next() {
                Some(record) => break record,
                None => wait.again("the log has no settings yet").await?,
            }
        };
        begins_ms = begins_ms.max(log_time_of_first(&record));
    }
    Ok(begins_ms)
}

/// The log time of a partition's first record, which holds its settings: the log's clock, or the appender's where they differ by
/// more than the settings allow and it is earlier.
fn log_time_of_first(record: &Record) -> i64 {
    let appended_ms = record.append_time_ms;
    let Ok(Raw { witness_ms, body: Some(raw::Body::Settings(settings)) }) =
        Raw::from_versioned(record.version, record.value.clone())
    else {
        return appended_ms;
    };
    let tolerance_ms = settings.witness_tolerance_ms.unsigned_abs();
    if appended_ms.abs_diff(witness_ms) > tolerance_ms { appended_ms.min(witness_ms) } else { appended_ms }
}

/// The first UTC midnight at or after an instant.
fn midnight_from(time_ms: i64) -> i64 {
    let day_ms = start_of(date_of(time_ms));
    if day_ms == time_ms { day_ms } else { day_ms + limits::DAY_MS }
}
