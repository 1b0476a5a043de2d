//! The processor's life: join the group, recover what is assigned, fold, commit; again after what may pass.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_eventlog::{Log, ReadError, Topic};
use millrace_schemas::topics;
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::contradiction::Contradiction;
use crate::limits::RETRY_PAUSE;
use crate::member::Member;
use crate::progress::Progress;
use crate::recover::{Ground, RecoverError, off_thread};
use crate::snapshot::Shelf;
use crate::store::{Store, StoreError};

/// The name of the group that shares the raw topic.
pub const GROUP: &str = "millrace-processor";
/// The processor's name in [`Readiness`].
pub const PART: &str = "processor";

/// What the processor works with.
#[derive(Clone)]
pub struct Services {
    /// The log.
    pub log: Arc<dyn Log>,
    /// When to tick, and what a tick's witness says.
    pub clock: SharedClock,
    /// The folder of the local state. May be lost; is made if it is not there.
    pub state_dir: PathBuf,
    /// Where snapshots go, and where the state is taken from when the folder is lost.
    pub store: Arc<dyn ObjectStore>,
    /// How it runs.
    pub config: Config,
    /// Where it says that it cannot go on.
    pub readiness: Readiness,
}

/// How the processor runs. Nothing here changes a row: what does is in the log ([`crate::change_settings`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a partition may be silent before it is ticked.
    pub tick_interval: Duration,
    /// How long raw records are kept: no state from before then is of use to anybody.
    pub raw_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { tick_interval: Duration::from_secs(5), raw_retention: Duration::from_secs(100 * 86_400) }
    }
}

/// Why the processor stopped: each is for a person to look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A partition, its state and its outcomes contradict each other, or records are missing.
    #[error("the processor stopped: {0}")]
    Contradiction(#[source] Contradiction),
    /// A topic cannot be read any more.
    #[error("the processor stopped: {0}")]
    Log(#[source] ReadError),
}

/// Why a membership ended before it was told to.
pub(crate) enum Interrupt {
    /// For good.
    Stop(Error),
    /// Close everything and start again: recovery finds what was committed.
    Again(String),
}

impl From<ReadError> for Interrupt {
    fn from(source: ReadError) -> Self {
        match source {
            ReadError::Unavailable(reason) => Self::Again(reason),
            ReadError::Truncated { .. } | ReadError::Regressed { .. } | ReadError::Damaged { .. } => {
                Self::Stop(Error::Log(source))
            }
        }
    }
}

impl From<StoreError> for Interrupt {
    fn from(source: StoreError) -> Self {
        RecoverError::from(source).into()
    }
}

impl From<RecoverError> for Interrupt {
    fn from(source: RecoverError) -> Self {
        match source {
            RecoverError::Later(reason) | RecoverError::Reopen(reason) => Self::Again(reason),
            RecoverError::Stop(contradiction) => Self::Stop(Error::Contradiction(contradiction)),
            RecoverError::Log(wrong) => Self::Stop(Error::Log(wrong)),
            // Stops its partition only; whoever gets here has none.
            RecoverError::Newer(newer) => Self::Again(newer.to_string()),
        }
    }
}

/// Runs until `stop`, then commits what it has taken and leaves. Calls itself not ready from the call on, until the first
/// partitions it is given are recovered, or it seems to be given none.
///
/// # Errors
/// Only what a person must look at; what may pass by itself is tried again, and shows in readiness meanwhile.
pub fn run(
    services: Services,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), Error>> + Send + 'static {
    // Before the first poll: the doors may open before that.
    services.readiness.report(PART, Err("starting".to_owned()));
    async move { keep_running(&services, &progress, &stop).await }
}

async fn keep_running(services: &Services, progress: &Progress, stop: &CancellationToken) -> Result<(), Error> {
    loop {
        let ended = membership(services, progress, stop).await;
        progress.clear();
        match ended {
            Ok(()) => return Ok(()),
            Err(Interrupt::Stop(error)) => {
                tracing::error!(%error, "the processor stopped");
                services.readiness.report(PART, Err(error.to_string()));
                return Err(error);
            }
            Err(Interrupt::Again(reason)) => {
                services.readiness.report(PART, Err(format!("starting again: {reason}")));
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
        }
    }
}

async fn membership(services: &Services, progress: &Progress, stop: &CancellationToken) -> Result<(), Interrupt> {
    // First what may be away for long, then what is dear to open.
    let consumer = services.log.subscribe(GROUP, Topic(topics::RAW)).await?;
    let (folder, log_id) = (services.state_dir.clone(), services.log.id().to_owned());
    let store = off_thread(move || Store::open(&folder, &log_id)).await?;
    let shelf = Shelf::new(Arc::clone(&services.store), services.log.id());
    let ground = Ground { log: Arc::clone(&services.log), store, shelf };
    Member::new(services, progress, ground, consumer).live(stop).await
}
