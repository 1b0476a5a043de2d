//! From the enriched topic to Parquet that data teams list and fetch. Two steps; each creates objects once and changes none.
//!
//! *Seal* ([`sealing`](self)): the records of a partition are gathered until size or age says so, sorted, and put as **one**
//! object, whose key is the offset it starts at: data, commit record and fence at once. *Publish*: once the sealed watermark of
//! every partition has passed the end of a slot, the owner of a shard merges the slot's rows from the segments and creates its
//! files, then a record that says how far it is. After a day's last slot come `_manifest.json` and `_SUCCESS`.
//!
//! Which rows a key holds follows from the log and the day's plan alone. So whoever publishes a slot a second time (a
//! restart, a paused process that wakes up, a newer release) can only put what is missing.
//!
//! | file | does |
//! |---|---|
//! | `sealing` | the walk of a record: consumer, `gather`, `rows`, `seal` |
//! | `beginning` | where a partition's next segment starts |
//! | `witness` | whether the log is the one the newest segment was made from |
//! | `gather` | what is read and not sealed; when to seal it |
//! | `rows`, `sort_key` | an outcome's rows, their order, what is counted |
//! | `segment` | a segment's bytes |
//! | `seal` | puts a segment, finds out whose it is |
//! | `publishing` | what runs: `resume`, `follow`, round after round |
//! | `round` | the walk of a slot: `shard`, `plan`, `slots`, `close`, record |
//! | `resume` | where publishing goes on |
//! | `follow` | the segments of all partitions |
//! | `shard` | what is not published yet, and the day's counts |
//! | `plan`, `records` | what is fixed for a day; how far a shard is |
//! | `slots`, `merge` | an account's rows from many segments, slot by slot |
//! | `slot_files`, `file`, `columns`, `cells` | rows to Parquet files |
//! | `put` | files to the store |
//! | `close`, `day_files` | manifest and `_SUCCESS`; the files they list |
//! | `succession` | whether the bucket is this log's, and from which day on |
//! | `retention` | removes what is old enough, by log time |
//! | [`visible`] | what readers can rely on |
//! | `bucket` | the object store: create-if-absent, never trusting its answer |
//! | `health` | what is waited for, and the word to readiness |

mod accounts;
mod beginning;
mod bucket;
mod cells;
mod close;
mod columns;
mod config;
mod day_files;
mod error;
mod file;
mod follow;
mod gather;
mod health;
pub mod limits;
#[doc(hidden)]
pub mod measured;
mod merge;
pub mod metrics;
mod plan;
mod progress;
mod publishing;
mod put;
mod records;
mod resume;
mod retention;
mod round;
mod rows;
mod seal;
mod sealing;
mod segment;
mod shard;
mod slot_files;
mod slots;
mod sort_key;
mod succession;
pub mod visible;
mod witness;

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::{Log, Topic};
use millrace_schemas::topics;
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use accounts::{Account, Accounts};
pub use config::Config;
pub use error::Error;
pub use file::arrow_schema;
pub use health::PART;
pub use progress::{Counted, Progress, SealedThrough, Snapshot};
pub use sealing::GROUP;

/// What the exporter works with.
#[derive(Clone)]
pub struct Services {
    /// The log whose enriched topic is exported.
    pub log: Arc<dyn Log>,
    /// The bucket. Its creates must be exact: of several, one wins.
    pub store: Arc<dyn ObjectStore>,
    /// The directory.
    pub accounts: Arc<dyn Accounts>,
    /// For ages and pauses only; rows, slots and dates follow log time.
    pub clock: SharedClock,
    /// What an operator has set.
    pub config: Config,
    /// Where it says what it waits for, or why it ended.
    pub readiness: Readiness,
    /// Random, of this process: tells its segments from another owner's.
    pub writer_id: [u8; 16],
}

/// Seals and publishes until `stop`.
///
/// # Errors
/// What an operator has to look at: see [`Error`]. A failing store or a log that is away is no reason to end: it shows in
/// readiness while it lasts.
pub async fn run(services: Services, progress: Arc<Progress>, stop: CancellationToken) -> Result<(), Error> {
    let readiness = services.readiness.clone();
    match both(services, progress, stop).await {
        Ok(()) | Err(Error::Stopped) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "the exporter stopped");
            readiness.report(PART, Err(error.to_string()));
            Err(error)
        }
    }
}

async fn both(services: Services, progress: Arc<Progress>, stop: CancellationToken) -> Result<(), Error> {
    let mistakes = services.config.mistakes();
    if !mistakes.is_empty() {
        return Err(Error::Config(mistakes));
    }
    let Services { log, store, accounts, clock, config, readiness, writer_id } = services;
    let shard_count = log.partitions(Topic(topics::ENRICHED));
    let log_id = log.id().to_owned();
    let health = health::Health::new(Some(readiness), Arc::clone(&clock), stop.clone());
    let bucket = bucket::Bucket::new(store, health.clone());
    let starting = health.hold("starting");
    let (first, older_logs) = succession::decide(&bucket, &health, log.as_ref(), config.succeeds.as_deref()).await?;
    bucket.probe(&format!("_millrace/probe/{}", hex::encode(writer_id))).await?;
    drop(starting);
    let signals = Arc::new(sealing::Signals::new());
    let publishing = publishing::Publishing {
        bucket: bucket.clone(),
        log_id: log_id.clone(),
        shard_count,
        accounts,
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        config: config.clone(),
        health: health.clone(),
        progress: Arc::clone(&progress),
        signals: Arc::clone(&signals),
        first,
        files_bytes: config.memory_bytes / 8 / shard_count.max(1) as usize,
        room: Semaphore::new(limits::SHARDS_AT_ONCE),
    };
    let beginnings = beginning::Beginnings {
        bucket: bucket.clone(),
        log: Arc::clone(&log),
        log_id: log_id.clone(),
        health: health.clone(),
    };
    let retention = retention::Retention {
        bucket: bucket.clone(),
        log_id: log_id.clone(),
        older_logs,
        shard_count,
        config: config.clone(),
        stop: stop.clone(),
        signals: Arc::clone(&signals),
    };
    let writer = seal::Writer { bucket, log_id, shards: shard_count, id: writer_id, first_ms: first.ms };
    let sealing = sealing::Sealing { log, clock, stop, config, writer, beginnings, health, progress, signals };
    tokio::try_join!(sealing.run(), publishing.run(), retention.run()).map(|_: ((), (), ())| ())
}
