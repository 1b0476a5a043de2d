//! What is in the log, what is visible, and how far behind: `/local/status`.
//!
//! | file | tells |
//! |---|---|
//! | `log` | what is in the log |
//! | `partitions` | how far each partition is folded and sealed |
//! | `visible` | what the object store shows |

use std::sync::Arc;

use millrace_directory::{AccountId, Node};
use millrace_eventlog::Topic;
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_schemas::export::instant_text;
use millrace_schemas::{partition, topics};
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::connect::Ground;
use crate::folder::Folder;
use crate::limits::STATUS_ACCOUNTS_MAX;

mod log;
mod partitions;
mod visible;

pub(crate) use log::{LogStatus, TopicStatus};
pub(crate) use partitions::PartitionStatus;

use visible::Look;

/// How far the parts of the running process are.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) processor: Arc<millrace_processor::Progress>,
    pub(crate) exporter: Arc<millrace_exporter_write::Progress>,
}

/// What a status is of.
#[derive(Clone)]
pub(crate) enum Place {
    /// One machine's folder. `running` is `None` where nothing runs and the folder was opened to look at it.
    Folder { folder: Folder, log: Arc<EmbeddedLog>, running: Option<Arc<Running>> },
    /// A cluster, of which this process sees the log and the store.
    Cluster { brokers: String },
}

/// Where a status is taken from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) place: Place,
    pub(crate) ground: Ground,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) node: Arc<Node>,
    pub(crate) readiness: Readiness,
}

/// The answer of `/local/status`. Times are ms since 1970 (`…_ms`) or ISO-8601.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The release.
    pub(crate) release: String,
    /// The data folder, or the cluster's brokers.
    pub(crate) data: String,
    /// Whether a process runs. Absent for a cluster: its roles say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<bool>,
    /// Whether every part is ready. Absent for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<bool>,
    /// What is wrong, by part.
    pub(crate) not_ready: Vec<NotReady>,
    /// The log.
    pub(crate) log: LogStatus,
    /// What became of the events of the day at hand, as far as it is sealed; absent where no exporter runs in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<EventsStatus>,
    /// How far each partition of the raw topic has come.
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

/// Events (not records, not rows) of one UTC day of log time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventsStatus {
    pub(crate) date: String,
    /// They make rows.
    pub(crate) accepted: u64,
    /// Sent again, and dropped.
    pub(crate) duplicate: u64,
    /// Kept with their reason under `rejected/`.
    pub(crate) rejected: u64,
}

/// An account's export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountStatus {
    pub(crate) account: String,
    pub(crate) name: String,
    /// Everything up to here is visible; absent before the first slot is out.
    pub(crate) complete_through: Option<String>,
    pub(crate) complete_through_ms: Option<i64>,
    /// How far that is behind this machine's clock, ms.
    pub(crate) lag_ms: Option<i64>,
}

impl Sources {
    /// The status now.
    pub(crate) async fn status(&self) -> Status {
        let (running, data) = match &self.place {
            Place::Folder { folder, running, .. } => (Some(running.is_some()), folder.path().display().to_string()),
            Place::Cluster { brokers } => (None, brokers.clone()),
        };
        let mut not_ready: Vec<NotReady> =
            self.readiness.check().err().unwrap_or_default().into_iter().map(wrong).collect();
        let named = self.accounts();
        let shards = self.ground.log.partitions(Topic(topics::ENRICHED));
        let wanted = named.iter().map(|(id, _)| partition::of_account(id.as_str(), shards)).collect();
        let look = Look::at(&self.ground, &self.store, wanted, matches!(self.place, Place::Cluster { .. })).await;
        not_ready.extend(look.trouble.iter().map(|reason| wrong(("object store", reason.clone()))));
        let accounts: Vec<AccountStatus> = named.into_iter().map(|(id, name)| self.account(&look, &id, name)).collect();
        let (log, partitions) = match &self.place {
            Place::Folder { log, running, .. } => {
                (log::of_folder(log), partitions::of_process(log, running.as_deref()))
            }
            Place::Cluster { .. } => {
                let (log, extents) = log::of_cluster(self.ground.log.as_ref()).await;
                let partitions = partitions::of_cluster(self.ground.log.as_ref(), &extents, &look).await;
                not_ready.extend(log.trouble.iter().map(|reason| wrong(("log", reason.clone()))));
                let untold = self.ground.log.partitions(Topic(topics::RAW)) as usize - partitions.len();
                if untold > 0 {
                    let reason = format!("how far {untold} of the raw topic's are cannot be told");
                    not_ready.push(wrong(("partitions", reason)));
                }
                (log, partitions)
            }
        };
        Status {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            data,
            running,
            ready: running.map(|running| running && not_ready.is_empty()),
            not_ready,
            log,
            events: self.events(),
            partitions,
            lag_ms: accounts.iter().filter_map(|account| account.lag_ms).max(),
            accounts,
        }
    }

    /// Open accounts; the first by id where there are very many.
    fn accounts(&self) -> Vec<(AccountId, String)> {
        let directory = self.node.directory();
        let open = directory.accounts().filter(|account| account.closed_ms.is_none());
        let mut named: Vec<(AccountId, String)> =
            open.map(|account| (account.id.clone(), account.name.clone())).collect();
        named.sort();
        named.truncate(STATUS_ACCOUNTS_MAX);
        named
    }

    fn account(&self, look: &Look, id: &AccountId, name: String) -> AccountStatus {
        let through_ms = look.complete_through(id);
        AccountStatus {
            account: id.to_string(),
            name,
            complete_through: through_ms.map(instant_text),
            complete_through_ms: through_ms,
            lag_ms: through_ms.map(|through_ms| self.ground.clock.now_ms() - through_ms),
        }
    }

    fn events(&self) -> Option<EventsStatus> {
        let Place::Folder { running: Some(running), .. } = &self.place else { return None };
        let counted = running.exporter.snapshot().counted;
        let date = counted.values().map(|counted| counted.date).max()?;
        let of_day = || counted.values().filter(|counted| counted.date == date);
        Some(EventsStatus {
            date: date.to_string(),
            accepted: of_day().map(|counted| counted.accepted).sum(),
            duplicate: of_day().map(|counted| counted.duplicate).sum(),
            rejected: of_day().map(|counted| counted.rejected).sum(),
        })
    }
}

fn wrong((part, reason): (&'static str, String)) -> NotReady {
    NotReady { part: part.to_owned(), reason }
}
