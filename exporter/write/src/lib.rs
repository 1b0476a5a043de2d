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
//! | `gather` | what is read and not sealed; when to seal it |
//! | `rows`, `sort_key` | an outcome's rows, their order, what is counted |
//! | `segment` | a segment's bytes |
//! | `seal` | puts a segment, finds out whose it is |
//! | `publishing` | the walk of a slot: `follow`, `shard`, `plan`, `slots`, `close`, record |
//! | `follow` | the segments of all partitions |
//! | `shard` | what is not published yet, and the day's counts |
//! | `plan`, `records` | what is fixed for a day; how far a shard is |
//! | `slots`, `merge` | an account's rows from many segments, slot by slot |
//! | `slot_files`, `file`, `columns`, `cells` | rows to Parquet files |
//! | `put` | files to the store |
//! | `close` | manifest and `_SUCCESS` |
//! | [`visible`] | what readers can rely on |
//! | `bucket` | the object store: create-if-absent, never trusting its answer |

mod accounts;
mod bucket;
mod cells;
mod close;
mod columns;
mod config;
mod error;
mod file;
mod follow;
mod gather;
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
mod rows;
mod seal;
mod sealing;
mod segment;
mod shard;
mod slot_files;
mod slots;
mod sort_key;
pub mod visible;

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::{Log, Topic};
use millrace_schemas::topics;
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

pub use accounts::{Account, Accounts};
pub use config::Config;
pub use error::Error;
pub use file::arrow_schema;
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
    /// Random, of this process: tells its segments from another owner's.
    pub writer_id: [u8; 16],
}

/// Seals and publishes until `stop`.
///
/// # Errors
/// What an operator has to look at: see [`Error`]. A failing store is no reason to end.
pub async fn run(services: Services, progress: Arc<Progress>, stop: CancellationToken) -> Result<(), Error> {
    let mistakes = services.config.mistakes();
    if !mistakes.is_empty() {
        return Err(Error::Config(mistakes));
    }
    let Services { log, store, accounts, clock, config, writer_id } = services;
    let shard_count = log.partitions(Topic(topics::ENRICHED));
    let log_id = log.id().to_owned();
    let bucket = bucket::Bucket::new(store, Arc::clone(&clock), stop.clone());
    let signals = Arc::new(sealing::Signals::new());
    let publishing = publishing::Publishing {
        bucket: bucket.clone(),
        log_id: log_id.clone(),
        shard_count,
        accounts,
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        config: config.clone(),
        progress: Arc::clone(&progress),
        signals: Arc::clone(&signals),
    };
    let writer = seal::Writer { bucket: bucket.clone(), log_id: log_id.clone(), shards: shard_count, id: writer_id };
    let sealing = sealing::Sealing { log, clock, stop, config, writer, progress, signals };
    let both = async {
        refuse_other_logs(&bucket, &log_id).await?;
        bucket.probe(&format!("_millrace/probe/{}", hex::encode(writer_id))).await?;
        tokio::try_join!(sealing.run(), publishing.run())
    };
    match both.await {
        Ok(_) | Err(Error::Stopped) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A store with another log's export and none of ours is somebody else's.
async fn refuse_other_logs(bucket: &bucket::Bucket, log_id: &str) -> Result<(), Error> {
    let found = bucket.folders("_millrace/segments/").await?;
    if found.is_empty() || found.iter().any(|id| id == log_id) {
        return Ok(());
    }
    Err(Error::OtherLog { log_id: log_id.to_owned(), found: found.join(", ") })
}
