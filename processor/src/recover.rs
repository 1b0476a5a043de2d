//! Where a partition was left: its state, folded to exactly where the last committed transaction ended.
//!
//! The only witness is the last watermark record in the enriched partition. Recovery takes whatever the local store holds
//! (which is never further), or the newest snapshot that is not further, folds raw up to *folded* without emitting anything,
//! and holds exactly the conversions from *released* to *folded*: it believes the record and never its own arithmetic, so that
//! another grace, or another release's idea of what was due, loses and doubles nothing.

use std::sync::Arc;

use millrace_eventlog::{Chunk, Committed, Log, Offset, Partition, ReadError, Topic};
use millrace_schemas::enriched::Watermark;
use millrace_schemas::layout::SnapshotName;
use millrace_schemas::settings::defaults;
use millrace_schemas::topics;

use crate::contradiction::{Contradiction, Witness};
use crate::limits::RECOVERY_READ_BYTES;
use crate::snapshot::{Restored, Shelf, SnapshotError, restore};
use crate::step::{Changes, Input, Newer, Outcomes, Overlay, State, fold};
use crate::store::{Store, StoreError};

mod checks;
mod watermark;

pub(crate) use checks::settings_first;
pub use watermark::last_committed;
pub(crate) use watermark::last_watermark;

use checks::{is_the_log_that_was_folded, reaches_back_to, untouched};
use watermark::settled_watermark;

const RAW: Topic = Topic(topics::RAW);

/// What recovery works with.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Store,
    pub(crate) shelf: Shelf,
}

/// Why a partition could not be recovered, by what happens next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// Log and state contradict each other, or something is missing: a person must look.
    #[error("{0}")]
    Stop(#[from] Contradiction),
    /// Reading the log is of no use any more: a person must look.
    #[error("{0}")]
    Log(#[source] ReadError),
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// The local store has to be opened again first.
    #[error("{0}")]
    Reopen(String),
    /// This release is too old for the partition.
    #[error(transparent)]
    Newer(#[from] Newer),
}

impl From<ReadError> for RecoverError {
    fn from(source: ReadError) -> Self {
        match source {
            ReadError::Unavailable(_) => Self::Later(source.to_string()),
            ReadError::Truncated { .. } | ReadError::Regressed { .. } | ReadError::Damaged { .. } => Self::Log(source),
        }
    }
}

impl From<StoreError> for RecoverError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::OtherLog { stored, here } => Self::Stop(Contradiction::StateOfOtherLog { stored, here }),
            StoreError::Failed(_) | StoreError::Damaged(_) => Self::Reopen(source.to_string()),
        }
    }
}

impl From<SnapshotError> for RecoverError {
    fn from(source: SnapshotError) -> Self {
        match source {
            SnapshotError::Local(local) => local.into(),
            SnapshotError::OtherLog { key, stored, here } => {
                Self::Stop(Contradiction::SnapshotOfOtherLog { key, stored, here })
            }
            SnapshotError::ObjectStore(_) | SnapshotError::Damaged(_) => Self::Later(source.to_string()),
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
/// may be ahead of what can be read for a moment, and may be missing or outdated for ever.
pub(crate) async fn recover(
    ground: Ground,
    partition: Partition,
    group: Option<Committed>,
) -> Result<State, RecoverError> {
    let Ground { log, store, .. } = &ground;
    let looking = store.clone();
    let local = off_thread(move || looking.folded(partition)).await?;
    let group = group.map(|group| (Witness::Group, group.next));
    let watermark = settled_watermark(&**log, partition, group.clone(), true).await?;
    // The group's position comes with the transaction: where it was seen, no commit is on its way any more.
    let patience = group.is_none();
    let local_witness = local.map(|folded| (Witness::LocalState, folded));
    let watermark = confirm(&ground, partition, watermark, local_witness, patience).await?;
    let folded = watermark.as_ref().map(|watermark| watermark.folded);
    if let Some(watermark) = watermark.as_ref().filter(|_| local == folded)
        && let Some(state) = load(store, partition).await?
    {
        is_the_log_that_was_folded(&**log, partition, state.head()).await?;
        return catch_up(&ground, partition, state, watermark).await;
    }
    let names = match ground.shelf.names(partition).await {
        Ok(names) => names,
        Err(wrong) if local.is_some() && reaches_back_to(&**log, partition, local.unwrap_or(0)).await.is_ok() => {
            tracing::warn!(partition, %wrong, "snapshots cannot be listed: going on from the local state");
            Vec::new()
        }
        Err(wrong) => return Err(SnapshotError::from(wrong).into()),
    };
    let newest = names.last().map(|name| (Witness::Snapshot(ground.shelf.key(partition, name)), name.folded));
    let watermark = confirm(&ground, partition, watermark, newest, patience).await?;
    let Some(watermark) = watermark else {
        untouched(&**log, partition).await?;
        return fresh(store, partition).await;
    };
    let state = start_of(&ground, partition, &names, &watermark, local).await?;
    catch_up(&ground, partition, state, &watermark).await
}

/// The watermark record, read again where `witness` remembers more.
async fn confirm(
    ground: &Ground,
    partition: Partition,
    watermark: Option<Watermark>,
    witness: Option<(Witness, Offset)>,
    patience: bool,
) -> Result<Option<Watermark>, RecoverError> {
    let recorded = watermark.as_ref().map_or(0, |watermark| watermark.folded);
    match witness {
        Some((witness, folded)) if folded > recorded => {
            settled_watermark(&*ground.log, partition, Some((witness, folded)), patience).await
        }
        _ => Ok(watermark),
    }
}

/// The newest state at or before the watermark record that there is: a snapshot's, the local store's, or none.
async fn start_of(
    ground: &Ground,
    partition: Partition,
    names: &[SnapshotName],
    watermark: &Watermark,
    local: Option<Offset>,
) -> Result<State, RecoverError> {
    let Ground { log, store, shelf } = ground;
    if let Restored::From(name, state) = restore(shelf, store, partition, names, watermark.folded, local).await? {
        tracing::info!(partition, snapshot = %name, "starting from a snapshot");
        reaches_back_to(&**log, partition, name.folded).await?;
        return Ok(*state);
    }
    if local.is_some()
        && let Some(state) = load(store, partition).await?
    {
        reaches_back_to(&**log, partition, state.head().folded).await?;
        return Ok(state);
    }
    reaches_back_to(&**log, partition, 0).await?;
    fresh(store, partition).await
}

async fn load(store: &Store, partition: Partition) -> Result<Option<State>, RecoverError> {
    let store = store.clone();
    Ok(off_thread(move || store.load(partition)).await?)
}

/// A state without records, and a store without leavings. Its settings give way to the partition's first record.
async fn fresh(store: &Store, partition: Partition) -> Result<State, RecoverError> {
    let clearing = store.clone();
    off_thread(move || clearing.clear(partition)).await?;
    let mut settings = defaults();
    settings.version = 0;
    let mut state = State::new(settings);
    state.rest_on(store.below(partition));
    Ok(state)
}

/// Folds raw from where the state is to where the watermark record says.
async fn catch_up(
    ground: &Ground,
    partition: Partition,
    mut state: State,
    watermark: &Watermark,
) -> Result<State, RecoverError> {
    let Ground { log, store, .. } = ground;
    let log_id = || log.id().to_owned();
    let folded = watermark.folded;
    while state.head().folded < folded {
        let from = state.head().folded;
        let end = log.extent(RAW, partition).await?.end;
        let ends = Contradiction::RawEnds { log_id: log_id(), partition, end, folded };
        if end < folded {
            return Err(ends.into());
        }
        let chunk = log.read(RAW, partition, from, RECOVERY_READ_BYTES).await?;
        if chunk.next <= from {
            return Err(ends.into());
        }
        let folding =
            Chunked { store: store.clone(), log_id: log_id(), partition, folded, released: watermark.released };
        // The fold reads the local store, and this is a lot of it.
        state = off_thread(move || Ok(folding.fold(state, &chunk))).await??;
    }
    if state.head().log_time_ms != watermark.log_time_ms {
        let (here_ms, recorded_ms) = (state.head().log_time_ms, watermark.log_time_ms);
        let log_id = log_id();
        return Err(Contradiction::OtherRecords { log_id, partition, folded, here_ms, recorded_ms }.into());
    }
    state.drop_released(watermark.released);
    let (released, store) = (watermark.released, store.clone());
    off_thread(move || store.drop_released(partition, released)).await?;
    Ok(state)
}

/// A part of the log that recovery folds.
struct Chunked {
    store: Store,
    log_id: String,
    partition: Partition,
    folded: Offset,
    released: Offset,
}

impl Chunked {
    fn fold(&self, mut state: State, chunk: &Chunk) -> Result<State, RecoverError> {
        let mut overlay = Overlay::on(&state);
        for record in chunk.records.iter().filter(|record| record.offset < self.folded) {
            let input = Input::read(record)?;
            settings_first(&self.log_id, self.partition, overlay.head(), &input)?;
            // Its outcomes were committed; so these are dropped.
            fold(&state, &mut overlay, input, &mut Outcomes::default(), self.released);
            overlay.is_whole().map_err(RecoverError::Reopen)?;
        }
        overlay.folded_to(chunk.next.min(self.folded));
        let changes = Changes::of(&state, &overlay);
        let swept = state.apply(overlay);
        self.store.commit(self.partition, changes, swept)?;
        Ok(state)
    }
}
