//! What all parts stand on: the log and the object store of a data folder.

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Topic, TopicSpec};
use millrace_schemas::topics;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::config::LogOptions;
use crate::error::StartError;
use crate::folder::Folder;

/// The topics of an embedded log. The access topic is one sequence of facts.
fn topics() -> [TopicSpec; 4] {
    let many = topics::PARTITIONS_EMBEDDED;
    [(topics::RAW, many), (topics::ENRICHED, many), (topics::ACCESS, 1), (topics::AUDIT, many)]
        .map(|(name, partitions)| TopicSpec { topic: Topic(name), partitions })
}

/// Opens the folder's log; makes folder and log where there are none.
///
/// # Errors
/// The folder is in use, the log is damaged, or the file system does not serve.
pub(crate) async fn open_log(
    folder: &Folder,
    options: &LogOptions,
    clock: &SharedClock,
) -> Result<Arc<EmbeddedLog>, StartError> {
    folder.make().map_err(|error| StartError::other(folder.path(), error))?;
    let (folder, clock) = (folder.clone(), Arc::clone(clock));
    let options = Options {
        confirm_clock: options.confirm_clock,
        tail_bytes: options.tail.in_memory(),
        verify_bytes: options.verify.bytes,
        ..Options::default()
    };
    // Checking what is there reads up to `log.verify` bytes.
    let opening = tokio::task::spawn_blocking(move || {
        EmbeddedLog::open(&folder.log(), &topics(), clock, options)
            .map_err(|error| StartError::of_log(folder.path(), error))
    });
    opening.await.map_err(|error| StartError::Other(format!("opening the log: {error}")))?
}

/// Closes a log and lets go of its folder, whoever else still holds it.
pub(crate) async fn close_log(log: Arc<EmbeddedLog>) {
    if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
        tracing::error!(%error, "the log was not closed in good order");
    }
}

/// Opens the folder's object store. What it acknowledges survives a power cut.
///
/// # Errors
/// The file system's.
pub(crate) fn open_store(folder: &Folder) -> Result<Arc<dyn ObjectStore>, StartError> {
    let path = folder.store();
    std::fs::create_dir_all(&path).map_err(|error| StartError::other(&path, error))?;
    let store = LocalFileSystem::new_with_prefix(&path).map_err(|error| StartError::other(&path, error))?;
    // Folders that retention has emptied go as well: nobody shall be shown a day of which nothing is left.
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}
