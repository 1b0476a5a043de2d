//! What is in the log, what is visible, and how far behind: `/local/status`.

use std::sync::Arc;
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_directory::{AccountId, Node};
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_eventlog::{Log, Topic};
use millrace_exporter_write::visible::Visible;
use millrace_schemas::export::instant_text;
use millrace_schemas::topics;
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;
use crate::limits::{STATUS_ACCOUNTS_MAX, STATUS_STORE_WAIT};

/// How far the parts of the running process are.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) processor: Arc<millrace_processor::Progress>,
    pub(crate) exporter: Arc<millrace_exporter_write::Progress>,
}

/// Where a status is taken from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) folder: Folder,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) node: Arc<Node>,
    /// `None`: nothing runs, the folder was opened to look at it.
    pub(crate) running: Option<Arc<Running>>,
    pub(crate) readiness: Readiness,
    pub(crate) clock: SharedClock,
    pub(crate) stop: CancellationToken,
}

/// The answer of `/local/status`. Times are ms since 1970 (`…_ms`) or ISO-8601.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The release.
    pub(crate) release: String,
    /// The data folder.
    pub(crate) data: String,
    /// Whether a process runs.
    pub(crate) running: bool,
    /// Whether every part is ready.
    pub(crate) ready: bool,
    /// What is wrong, by part.
    pub(crate) not_ready: Vec<NotReady>,
    /// The log.
    pub(crate) log: LogStatus,
    /// How far each partition of the raw topic has come. Empty while nothing runs.
    pub(crate) partitions: Vec<PartitionStatus>,
    /// The accounts, by id.
    pub(crate) accounts: Vec<AccountStatus>,
    /// The greatest `lag_ms` of all accounts that have something visible.
    pub(crate) lag_ms: Option<i64>,
}

/// A part that is not ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotReady {
    pub(crate) part: String,
    pub(crate) reason: String,
}

/// The log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogStatus {
    /// Its id.
    pub(crate) id: String,
    /// Its topics.
    pub(crate) topics: Vec<TopicStatus>,
    /// Bytes on disk, journals included.
    pub(crate) bytes: u64,
    /// Bytes free on its file system.
    pub(crate) free_bytes: u64,
    /// Why it takes no records at present, if it takes none.
    pub(crate) trouble: Option<String>,
}

/// A topic of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TopicStatus {
    pub(crate) topic: String,
    pub(crate) partitions: usize,
    /// Records ever appended, ticks, settings and watermarks included.
    pub(crate) records: u64,
    /// When the last one was appended.
    pub(crate) last_append: Option<String>,
}

/// A partition's way through the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartitionStatus {
    pub(crate) partition: u32,
    /// The end of the raw partition.
    pub(crate) raw_end: u64,
    /// Records up to here are in the processor's state.
    pub(crate) folded: u64,
    /// Conversions that wait for their grace to pass.
    pub(crate) held: usize,
    pub(crate) log_time_ms: i64,
    /// No earlier row follows in the enriched topic.
    pub(crate) watermark_ms: i64,
    /// The end of the enriched partition.
    pub(crate) enriched_end: u64,
    /// Records up to here are sealed.
    pub(crate) sealed: u64,
    pub(crate) sealed_watermark_ms: i64,
    /// The version of the settings in force.
    pub(crate) settings_version: u64,
}

/// An account's export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountStatus {
    pub(crate) account: String,
    pub(crate) name: String,
    /// Everything up to here is visible; absent before the first slot is out.
    pub(crate) complete_through: Option<String>,
    pub(crate) complete_through_ms: Option<i64>,
    /// How far that is behind the machine's clock, ms.
    pub(crate) lag_ms: Option<i64>,
}

impl Sources {
    /// The status now.
    pub(crate) async fn status(&self) -> Status {
        let accounts = self.accounts().await;
        let not_ready = self.readiness.check().err().unwrap_or_default();
        Status {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.folder.path().display().to_string(),
            running: self.running.is_some(),
            ready: self.running.is_some() && not_ready.is_empty(),
            not_ready: not_ready.into_iter().map(|(part, reason)| NotReady { part: part.into(), reason }).collect(),
            log: self.log_status(),
            partitions: self.partitions(),
            lag_ms: accounts.iter().filter_map(|account| account.lag_ms).max(),
            accounts,
        }
    }

    fn log_status(&self) -> LogStatus {
        let facts = self.log.facts();
        let all = [topics::RAW, topics::ENRICHED, topics::ACCESS, topics::AUDIT];
        let topics = all.into_iter().map(|name| {
            let of_topic = || facts.partitions.iter().filter(|partition| partition.topic == Topic(name));
            TopicStatus {
                topic: name.to_owned(),
                partitions: of_topic().count(),
                records: of_topic().map(|partition| partition.records).sum(),
                last_append: of_topic().filter_map(|partition| partition.last_append_ms).max().map(instant_text),
            }
        });
        LogStatus {
            id: self.log.id().to_owned(),
            topics: topics.collect(),
            bytes: facts.journal_bytes + facts.partitions.iter().map(|partition| partition.bytes).sum::<u64>(),
            free_bytes: facts.free_bytes,
            trouble: facts.trouble,
        }
    }

    fn partitions(&self) -> Vec<PartitionStatus> {
        let Some(running) = &self.running else { return Vec::new() };
        let facts = self.log.facts();
        let end = |name, number| {
            let found = facts.partitions.iter().find(|facts| facts.topic == Topic(name) && facts.partition == number);
            found.map_or(0, |facts| facts.end)
        };
        let sealed = running.exporter.snapshot().partitions;
        let status = |(partition, processed): (u32, millrace_processor::PartitionProgress)| {
            let sealed = sealed.get(&partition).copied().unwrap_or_default();
            PartitionStatus {
                partition,
                raw_end: end(topics::RAW, partition),
                folded: processed.folded,
                held: processed.held,
                log_time_ms: processed.log_time_ms,
                watermark_ms: processed.watermark_ms,
                enriched_end: end(topics::ENRICHED, partition),
                sealed: sealed.position,
                sealed_watermark_ms: sealed.watermark_ms,
                settings_version: processed.settings_version,
            }
        };
        running.processor.partitions().into_iter().map(status).collect()
    }

    /// Open accounts; the first by id where there are very many.
    async fn accounts(&self) -> Vec<AccountStatus> {
        let directory = self.node.directory();
        let open = directory.accounts().filter(|account| account.closed_ms.is_none());
        let mut named: Vec<(AccountId, String)> =
            open.map(|account| (account.id.clone(), account.name.clone())).collect();
        named.sort();
        named.truncate(STATUS_ACCOUNTS_MAX);
        let shards = self.log.partitions(Topic(topics::ENRICHED));
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let visible = Visible::new(store, clock, self.stop.child_token(), self.log.id(), shards);
        let mut accounts = Vec::new();
        for (id, name) in named {
            let through_ms = within(STATUS_STORE_WAIT, visible.complete_through(&id)).await;
            accounts.push(AccountStatus {
                account: id.to_string(),
                name,
                complete_through: through_ms.map(instant_text),
                complete_through_ms: through_ms,
                lag_ms: through_ms.map(|through_ms| self.clock.now_ms() - through_ms),
            });
        }
        accounts
    }
}

/// What the store says in time; it is asked again and again while it fails, which a status need not wait for.
async fn within<E: std::fmt::Display>(
    wait: Duration,
    asked: impl Future<Output = Result<Option<i64>, E>>,
) -> Option<i64> {
    match tokio::time::timeout(wait, asked).await {
        Ok(Ok(through_ms)) => through_ms,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what is visible cannot be told");
            None
        }
        Err(_) => None,
    }
}
