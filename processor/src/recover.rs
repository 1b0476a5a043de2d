//! Where a partition was left: its state, folded to exactly where the last committed transaction ended.
//!
//! The only witness is the last watermark record in the enriched partition. Recovery takes whatever the local store holds
//! (which is never further), folds raw up to *folded* without emitting anything, and holds exactly the conversions from
//! *released* to *folded*: it believes the record and never its own arithmetic, so that another grace, or another release's
//! idea of what was due, loses and doubles nothing.

use std::sync::Arc;

use millrace_eventlog::{Committed, Log, Offset, Partition, ReadError, Topic};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Watermark, enriched_record};
use millrace_schemas::settings::defaults;
use millrace_schemas::topics;

use crate::limits::{RECOVERY_READ_BYTES, WATERMARK_READ_PAUSE, WATERMARK_READS_MAX, WATERMARK_SEARCH_STEP};
use crate::step::{Changes, Input, Newer, Outcomes, Overlay, State, fold};
use crate::store::{Store, StoreError};

const RAW: Topic = Topic(topics::RAW);
const ENRICHED: Topic = Topic(topics::ENRICHED);

/// Why a partition could not be recovered, by what happens next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// Log and state contradict each other, or something is missing: a person must look.
    #[error("{0}")]
    Stop(String),
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// This release is too old for the partition.
    #[error(transparent)]
    Newer(#[from] Newer),
}

impl From<ReadError> for RecoverError {
    fn from(source: ReadError) -> Self {
        match source {
            ReadError::Unavailable(_) => Self::Later(source.to_string()),
            ReadError::Truncated { .. } | ReadError::Regressed { .. } | ReadError::Damaged { .. } => {
                Self::Stop(source.to_string())
            }
        }
    }
}

impl From<StoreError> for RecoverError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::OtherLog { .. } => Self::Stop(source.to_string()),
            StoreError::Failed(_) | StoreError::Damaged(_) => Self::Later(source.to_string()),
        }
    }
}

/// Runs something that may block on the disk.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|broken| Err(StoreError::Failed(std::io::Error::other(broken.to_string()).into())))
}

/// The state of a partition at the end of its last committed transaction. `group`: the group's committed position, which
/// may be ahead of what can be read for a moment.
pub(crate) async fn recover(
    log: Arc<dyn Log>,
    store: Store,
    partition: Partition,
    group: Option<Committed>,
) -> Result<State, RecoverError> {
    let watermark = settled_watermark(&*log, partition, group).await?;
    let loading = store.clone();
    let stored = off_thread(move || loading.load(partition)).await?;
    match (watermark, stored) {
        (None, None) => untouched(&*log, partition).await,
        (None, Some(stored)) => Err(RecoverError::Stop(format!(
            "the local state is folded to {} of {RAW}/{partition}, but {ENRICHED}/{partition} holds no watermark record: \
             the log lost records or is another log",
            stored.head().folded
        ))),
        (Some(watermark), Some(stored)) if stored.head().folded > watermark.folded => Err(RecoverError::Stop(format!(
            "the local state is folded to {} of {RAW}/{partition}, but the last watermark record says {}: the log lost \
             records or is another log",
            stored.head().folded,
            watermark.folded
        ))),
        (Some(watermark), Some(stored)) => catch_up(&*log, store, partition, stored, &watermark).await,
        (Some(watermark), None) => {
            begins_at_zero(&*log, RAW, partition).await?;
            catch_up(&*log, store, partition, fresh(), &watermark).await
        }
    }
}

/// A state without records. Its settings give way to the partition's first record.
fn fresh() -> State {
    let mut settings = defaults();
    settings.version = 0;
    State::new(settings)
}

/// Nothing was ever committed: right only for a log that holds nothing and still reaches back to its beginning.
async fn untouched(log: &dyn Log, partition: Partition) -> Result<State, RecoverError> {
    begins_at_zero(log, RAW, partition).await?;
    begins_at_zero(log, ENRICHED, partition).await?;
    if holds_records(log, ENRICHED, partition).await? {
        return Err(RecoverError::Stop(format!(
            "{ENRICHED}/{partition} holds records but no watermark record: they are not this processor's"
        )));
    }
    Ok(fresh())
}

async fn begins_at_zero(log: &dyn Log, topic: Topic, partition: Partition) -> Result<(), RecoverError> {
    let start = log.extent(topic, partition).await?.start;
    if start == 0 {
        return Ok(());
    }
    Err(RecoverError::Stop(format!(
        "{topic}/{partition} begins at offset {start}: the records before it are gone, and there is no local state that \
         has them folded"
    )))
}

/// Whether a partition holds any record. Positions are not dense: an end above the start proves nothing.
pub(crate) async fn holds_records(log: &dyn Log, topic: Topic, partition: Partition) -> Result<bool, ReadError> {
    let extent = log.extent(topic, partition).await?;
    let mut from = extent.start;
    while from < extent.end {
        let chunk = log.read(topic, partition, from, 1).await?;
        if !chunk.records.is_empty() {
            return Ok(true);
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(false)
}

/// The last watermark record, once it is not behind the group's position any more: where it is, a commit is still on its
/// way into the partition.
async fn settled_watermark(
    log: &dyn Log,
    partition: Partition,
    group: Option<Committed>,
) -> Result<Option<Watermark>, RecoverError> {
    let committed = group.map_or(0, |group| group.next);
    for _ in 0..WATERMARK_READS_MAX {
        let end = log.extent(ENRICHED, partition).await?.end;
        let watermark = last_watermark(log, partition).await?;
        if watermark.as_ref().map_or(0, |watermark| watermark.folded) >= committed {
            return Ok(watermark);
        }
        log.grown(ENRICHED, partition, end, WATERMARK_READ_PAUSE).await;
    }
    Err(RecoverError::Stop(format!(
        "the group has committed {RAW}/{partition} to {committed}, but no watermark record in {ENRICHED}/{partition} says so"
    )))
}

/// How far a partition is, told by the log alone, whoever owns it: its last watermark record.
///
/// # Errors
/// The partition cannot be read, or a record of it; as a text for people.
pub async fn last_committed(log: &dyn Log, partition: Partition) -> Result<Option<Watermark>, String> {
    last_watermark(log, partition).await.map_err(|error| error.to_string())
}

/// The last watermark record of a partition, sought from the end in steps that double.
pub(crate) async fn last_watermark(log: &dyn Log, partition: Partition) -> Result<Option<Watermark>, RecoverError> {
    let extent = log.extent(ENRICHED, partition).await?;
    let (mut to, mut step) = (extent.end, WATERMARK_SEARCH_STEP);
    while to > extent.start {
        let from = to.saturating_sub(step).max(extent.start);
        if let Some(found) = last_watermark_within(log, partition, from, to).await? {
            return Ok(Some(found));
        }
        (to, step) = (from, step.saturating_mul(2));
    }
    Ok(None)
}

async fn last_watermark_within(
    log: &dyn Log,
    partition: Partition,
    mut from: Offset,
    to: Offset,
) -> Result<Option<Watermark>, RecoverError> {
    let mut last = None;
    while from < to {
        let chunk = log.read(ENRICHED, partition, from, RECOVERY_READ_BYTES).await?;
        for record in chunk.records.iter().filter(|record| record.offset < to) {
            let read = EnrichedRecord::from_versioned(record.version, record.value.clone());
            match read.map(|read| read.body) {
                Ok(Some(enriched_record::Body::Watermark(watermark))) => last = Some(watermark),
                Ok(_) => {}
                Err(wrong) => {
                    let offset = record.offset;
                    return Err(RecoverError::Stop(format!("{ENRICHED}/{partition} offset {offset}: {wrong}")));
                }
            }
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    Ok(last)
}

/// Folds raw from where the state is to where the watermark record says.
async fn catch_up(
    log: &dyn Log,
    store: Store,
    partition: Partition,
    mut state: State,
    watermark: &Watermark,
) -> Result<State, RecoverError> {
    while state.head().folded < watermark.folded {
        let from = state.head().folded;
        let chunk = log.read(RAW, partition, from, RECOVERY_READ_BYTES).await?;
        if chunk.next <= from {
            return Err(RecoverError::Stop(format!(
                "{RAW}/{partition} ends at {from}, but {} was folded once: the log lost records",
                watermark.folded
            )));
        }
        let mut overlay = Overlay::on(&state);
        for record in chunk.records.iter().filter(|record| record.offset < watermark.folded) {
            // Its outcomes were committed; so these are dropped.
            fold(&state, &mut overlay, Input::read(record)?, &mut Outcomes::default(), watermark.released);
        }
        overlay.folded_to(chunk.next.min(watermark.folded));
        let changes = Changes::of(&state, &overlay);
        let swept = state.apply(overlay);
        let writing = store.clone();
        off_thread(move || writing.commit(partition, changes, swept)).await?;
    }
    if state.head().log_time_ms != watermark.log_time_ms {
        return Err(RecoverError::Stop(format!(
            "{RAW}/{partition} folded to {} gives log time {}, but it was {} once: it is another log",
            watermark.folded,
            state.head().log_time_ms,
            watermark.log_time_ms
        )));
    }
    state.drop_released(watermark.released);
    let released = watermark.released;
    off_thread(move || store.drop_released(partition, released)).await?;
    Ok(state)
}
