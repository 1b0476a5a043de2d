//! The log on Kafka.
//!
//! What the interface promises ([`millrace_eventlog`]) is kept like this:
//!
//! - **Appends** (`append.rs`) go through one idempotent producer that waits for every in-sync replica. A timeout is
//!   "unknown". Bytes in flight are bounded; who finds no room waits, and is refused in the end.
//! - **Reads** (`reader.rs`, `pool.rs`) see committed records only. Up to where that is possible is asked of the
//!   broker first, so that "nothing more" is never said too early.
//! - **Groups** (`member/`) are Kafka's, with static members and cooperative rebalancing. Where a partition starts is
//!   its owner's word, never the group's offset.
//! - **Transactions** (`transact.rs`) carry the group's metadata, so that a member that lost its place is fenced by
//!   the broker. A commit that broke off is decided by looking whether its records are there.
//!
//! The `end` of a partition is its last stable offset: what a reader can reach. Where a transaction is open, appends
//! that were acknowledged after its first record are readable, and before `end`, only once it has ended; Millrace keeps
//! transactions and appends to different topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_eventlog::{
    AppendError, Appended, Chunk, Consumer, Extent, Log, NewRecord, Offset, Partition, ReadError, Topic,
};
use tokio::sync::oneshot;

mod append;
mod check;
mod cluster;
mod config;
mod context;
mod identity;
mod keeper;
pub mod levers;
pub mod limits;
mod member;
pub mod metrics;
mod open;
mod options;
mod pool;
mod reader;
mod reading;
mod record;
pub mod topics;
mod transact;
mod trouble;
mod verdict;

pub use options::{OpenError, Options};

use append::Appender;
use cluster::Cluster;
use limits::CLOSE_TIMEOUT;
use member::Members;
use pool::Pool;
use reader::Place;
use trouble::Troubles;

/// A log on a Kafka cluster. One object serves all threads of a process.
pub struct KafkaLog {
    id: String,
    topics: BTreeMap<Topic, OfLog>,
    shared: Arc<Shared>,
    keeper: keeper::Keeper,
}

/// A topic of this log.
struct OfLog {
    name: Arc<str>,
    partitions: u32,
}

/// What the log's parts share.
pub(crate) struct Shared {
    options: Options,
    cluster: Cluster,
    appender: Appender,
    readers: Arc<Pool>,
    members: Members,
    troubles: Arc<Troubles>,
}

impl KafkaLog {
    /// What is wrong now, if anything: no broker answers, appends fail, a member cannot join, the outcome of a commit is not
    /// known.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.troubles.now()
    }

    /// Finishes, within [`limits::CLOSE_TIMEOUT`], what was taken; members leave. What takes longer goes on by itself. Later
    /// calls are refused; doing it twice changes nothing.
    pub async fn close(&self) {
        self.shared.members.close();
        let shared = Arc::clone(&self.shared);
        let (done, closed) = oneshot::channel();
        let closing = move || {
            shared.appender.close();
            shared.members.join_all();
            shared.readers.shrink(true);
            drop(shared);
            // Whoever waited for it may be gone.
            let _ = done.send(());
        };
        // No thread of the runtime: that would wait for it at its end, without a bound.
        if let Err(error) = std::thread::Builder::new().name("kafka-closing".into()).spawn(closing) {
            tracing::error!(%error, "closing the log on Kafka took a thread that could not be started");
        }
        match tokio::time::timeout(CLOSE_TIMEOUT, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("closing the log on Kafka was interrupted"),
            Err(_) => tracing::warn!("not everything of the log on Kafka was closed in time"),
        }
        self.keeper.stop();
    }

    fn of(&self, topic: Topic) -> &OfLog {
        match self.topics.get(&topic) {
            Some(of) => of,
            None => panic!("the log has no topic {topic}"),
        }
    }

    fn place(&self, topic: Topic, partition: Partition) -> Place {
        let of = self.of(topic);
        assert!(partition < of.partitions, "the log has no partition {topic}/{partition}");
        Place { topic: Arc::clone(&of.name), partition }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.shared.members.close();
        self.keeper.stop();
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.of(topic).partitions
    }

    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        for record in &records {
            self.place(topic, record.partition);
        }
        let name = Arc::clone(&self.of(topic).name);
        self.shared.appender.append(&name, records).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        reading::read(&self.shared, topic, self.place(topic, partition), from, max_bytes).await
    }

    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError> {
        reading::extent(&self.shared, topic, self.place(topic, partition)).await
    }

    async fn position_at(&self, topic: Topic, partition: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError> {
        reading::position_at(&self.shared, topic, self.place(topic, partition), time_ms).await
    }

    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration) {
        let grown = reading::grown(&self.shared, topic, self.place(topic, partition), end);
        // Either answer is one: it has grown, or the time is up.
        let _ = tokio::time::timeout(at_most, grown).await;
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        let of = self.of(topic);
        let member = member::join(&self.shared, group, topic, Arc::clone(&of.name), of.partitions)?;
        Ok(Box::new(member))
    }
}
