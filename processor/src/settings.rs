//! Settings records: the values that change rows travel in the raw log, so that every owner and every replay changes at the
//! same offset.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_clock::Clock;
use millrace_eventlog::{AppendError, Log, NewRecord, Offset, Partition, ReadError, Record, Topic, first_record};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::Watermark;
use millrace_schemas::raw::{Raw, Settings, raw};
use millrace_schemas::settings::{OutOfRange, validate};
use millrace_schemas::topics;

use crate::limits::{RECOVERY_READ_BYTES, SETTINGS_READS_AT_ONCE};
use crate::recover::last_watermark;

const RAW: Topic = Topic(topics::RAW);

/// Why settings were not written.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Mend the values.
    #[error("{}", list(.0))]
    OutOfRange(Vec<OutOfRange>),
    /// The log holds no settings: they are made with it.
    #[error("the log holds no settings record")]
    Missing,
    /// The log took nothing, or it is unknown whether it did. Trying again is safe.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the log holds contradicts itself.
    #[error("{0}")]
    Log(String),
}

fn list(wrong: &[OutOfRange]) -> String {
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Makes settings the first record of every raw partition of a new log. Partitions that hold something are left alone, so it
/// may be called at every start, before anything else is appended.
///
/// # Errors
/// See [`SettingsError`]; nothing is half done that a second call would not finish.
pub async fn create_settings(log: &dyn Log, clock: &dyn Clock, settings: &Settings) -> Result<(), SettingsError> {
    validate(settings).map_err(SettingsError::OutOfRange)?;
    let mut lacking = Vec::new();
    for partition in 0..log.partitions(RAW) {
        let extent = log.extent(RAW, partition).await?;
        // A log that begins later had settings once.
        if extent.start == 0 && first_record(log, RAW, partition, extent).await?.is_none() {
            lacking.push(partition);
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    // Where an earlier call was interrupted, and the configuration has changed since, what it wrote holds.
    let made = newest_of(&by_partition(log).await?).unwrap_or(*settings);
    let records = lacking.into_iter().map(|partition| record(partition, clock, &made));
    log.append(RAW, records.collect()).await?;
    Ok(())
}

/// Changes the settings in force, if `change` changes any: they get the next version and go to every raw partition. `Some` is
/// that version. A partition that an earlier, interrupted change did not reach gets it now. Two changes at the same moment may
/// take the same version, and then the first in each partition holds: make changes from one place.
///
/// # Errors
/// See [`SettingsError`].
pub async fn change_settings(
    log: &dyn Log,
    clock: &dyn Clock,
    change: impl FnOnce(&mut Settings),
) -> Result<Option<u64>, SettingsError> {
    let present = by_partition(log).await?;
    let newest = newest_of(&present)?;
    let mut wanted = newest;
    change(&mut wanted);
    wanted.version = newest.version;
    let changes = wanted != newest;
    wanted.version += u64::from(changes);
    validate(&wanted).map_err(SettingsError::OutOfRange)?;
    let behind = |settings: &Option<Settings>| settings.is_none_or(|settings| settings.version < wanted.version);
    let lacking = (0..).zip(&present).filter(|(_, settings)| behind(settings));
    let records: Vec<_> = lacking.map(|(partition, _)| record(partition, clock, &wanted)).collect();
    if !records.is_empty() {
        log.append(RAW, records).await?;
    }
    Ok(changes.then_some(wanted.version))
}

/// The settings in force once everything in the log is folded: of all partitions, those with the highest version.
///
/// # Errors
/// [`SettingsError::Missing`] for a log without settings, [`SettingsError::Read`].
pub async fn settings_in_force(log: &dyn Log) -> Result<Settings, SettingsError> {
    newest_of(&by_partition(log).await?)
}

/// The partitions that reach back to their beginning and do not begin with settings: what [`create_settings`] would make, or
/// could not make any more.
///
/// # Errors
/// The log cannot be read.
pub async fn partitions_without_settings(log: &dyn Log) -> Result<Vec<Partition>, ReadError> {
    let lacks = |partition| async move { Ok((partition, !begins_with_settings(log, partition).await?)) };
    let partitions = stream::iter(0..log.partitions(RAW));
    let told: Vec<(Partition, bool)> = partitions.map(lacks).buffered(SETTINGS_READS_AT_ONCE).try_collect().await?;
    Ok(told.into_iter().filter(|(_, lacks)| *lacks).map(|(partition, _)| partition).collect())
}

async fn begins_with_settings(log: &dyn Log, partition: Partition) -> Result<bool, ReadError> {
    let extent = log.extent(RAW, partition).await?;
    if extent.start > 0 {
        return Ok(true);
    }
    let first = first_record(log, RAW, partition, extent).await?;
    Ok(first.is_some_and(|first| settings_of(&first).is_some()))
}

/// The settings a raw record holds. They have an empty key; so nothing else is decoded but ticks.
fn settings_of(record: &Record) -> Option<Settings> {
    if !record.key.is_empty() {
        return None;
    }
    match Raw::from_versioned(record.version, record.value.clone()) {
        Ok(Raw { body: Some(raw::Body::Settings(settings)), .. }) => Some(settings),
        _ => None,
    }
}

fn newest_of(present: &[Option<Settings>]) -> Result<Settings, SettingsError> {
    present.iter().flatten().max_by_key(|settings| settings.version).copied().ok_or(SettingsError::Missing)
}

async fn by_partition(log: &dyn Log) -> Result<Vec<Option<Settings>>, SettingsError> {
    let mut present = Vec::new();
    for partition in 0..log.partitions(RAW) {
        let watermark = last_watermark(log, partition).await.map_err(|wrong| SettingsError::Log(wrong.to_string()))?;
        // The last watermark record knows what was folded: only what came since is read.
        let (from, known) = match watermark {
            Some(Watermark { folded, settings: Some(settings), .. }) => (folded, Some(settings)),
            _ => (log.extent(RAW, partition).await?.start, None),
        };
        let later = settings_after(log, partition, from).await?;
        present.push([known, later].into_iter().flatten().max_by_key(|settings| settings.version));
    }
    Ok(present)
}

async fn settings_after(log: &dyn Log, partition: Partition, mut from: Offset) -> Result<Option<Settings>, ReadError> {
    let mut newest: Option<Settings> = None;
    let end = log.extent(RAW, partition).await?.end;
    while from < end {
        let chunk = log.read(RAW, partition, from, RECOVERY_READ_BYTES).await?;
        for settings in chunk.records.iter().filter_map(settings_of) {
            if newest.is_none_or(|newest| settings.version > newest.version) {
                newest = Some(settings);
            }
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(newest)
}

fn record(partition: Partition, clock: &dyn Clock, settings: &Settings) -> NewRecord {
    let raw = Raw { witness_ms: clock.now_ms(), body: Some(raw::Body::Settings(*settings)) };
    NewRecord { partition, version: Raw::VERSION, key: Bytes::new(), value: raw.to_bytes() }
}
