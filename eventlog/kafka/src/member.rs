//! Members of groups.
//!
//! Each member is a *seat* (`seat.rs`, `state.rs`): the place at which its owner, who holds the [`Consumer`] (`owner.rs`), and its worker, a
//! thread with a Kafka consumer, tell each other things. The worker polls (`worker.rs`, `life.rs`), keeps the client where the owner wants it (`flows.rs`),
//! answers rebalances (`rebalance.rs`), announces what is assigned (`announce.rs`), and watches that the topic is there and positions get on (`watch.rs`), and that
//! the group gives every partition to somebody (`cover.rs`).
//!
//! Seats are numbered within a process and group. The number is part of the member's name, so that whoever sits down again
//! has the name, and at once the partitions, of the one before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use millrace_eventlog::{Appended, CommitError, Consumer, Delivery, Offset, Partition, ReadError, Topic, Transaction};

use crate::Shared;
use crate::transact::{Failure, Job, Transactor, offsets};

mod announce;
mod cover;
mod flows;
mod life;
mod owner;
mod pending;
mod rebalance;
mod seat;
mod state;
mod watch;
mod worker;

pub(crate) use owner::Permission;
use pending::Pending;
use seat::{Restart, Seat};
use worker::Worker;

/// The members of all groups in this process.
#[derive(Default)]
pub(crate) struct Members {
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    seats: HashMap<String, Vec<Chair>>,
    closed: bool,
}

/// What makes a member's transactions.
type SharedTransactor = Arc<tokio::sync::Mutex<Transactor>>;

/// One seat's place in the group: who sits there, and the thread that works for it or is still leaving.
struct Chair {
    seat: Arc<Seat>,
    taken: bool,
    worker: Option<JoinHandle<()>>,
    /// Of whoever sits there: it knows what may have been left open.
    transactor: SharedTransactor,
}

impl Members {
    /// Nobody joins any more, and all leave.
    pub(crate) fn close(&self) {
        let mut groups = self.lock();
        groups.closed = true;
        for chair in groups.seats.values().flatten() {
            chair.seat.close();
        }
    }

    /// Waits until all have left. Blocks.
    pub(crate) fn join_all(&self) {
        let workers: Vec<_> =
            self.lock().seats.values_mut().flatten().filter_map(|chair| chair.worker.take()).collect();
        for worker in workers {
            wait_for(worker);
        }
    }

    /// All members of a group leave in good order and join again. False: there is none.
    pub(crate) fn restart(&self, group: &str, reason: &'static str) -> bool {
        let groups = self.lock();
        let Some(chairs) = groups.seats.get(group) else { return false };
        let taken: Vec<_> = chairs.iter().filter(|chair| chair.taken).collect();
        for chair in &taken {
            chair.seat.restart(Restart::InGoodOrder(reason));
        }
        !taken.is_empty()
    }

    fn stand_up(&self, group: &str, number: usize) {
        if let Some(chair) = self.lock().seats.get_mut(group).and_then(|chairs| chairs.get_mut(number)) {
            chair.taken = false;
            chair.seat.leave();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_for(worker: JoinHandle<()>) {
    if worker.join().is_err() {
        tracing::error!("a thread of a member had panicked");
    }
}

/// Joins a group. See [`millrace_eventlog::Log::subscribe`].
pub(crate) fn join(
    shared: &Arc<Shared>,
    group: &str,
    topic: Topic,
    name: Arc<str>,
    partitions: u32,
) -> Result<Member, ReadError> {
    let group = format!("{}{group}", shared.options.prefix);
    let mut groups = shared.members.lock();
    if groups.closed {
        return Err(closed());
    }
    let chairs = groups.seats.entry(group.clone()).or_default();
    let number = chairs.iter().position(|chair| !chair.taken).unwrap_or(chairs.len());
    let seat = Arc::new(Seat::new(topic, partitions));
    let before = chairs.get_mut(number).and_then(|chair| chair.worker.take());
    let instance = format!("{}-{number}", shared.options.instance);
    let transactor = chairs.get(number).map(|chair| Arc::clone(&chair.transactor));
    let transactor = transactor.unwrap_or_else(|| {
        let transactor = Transactor::new(shared.options.clone(), format!("{group}.{instance}"));
        Arc::new(tokio::sync::Mutex::new(transactor))
    });
    let pending = Pending::new(Arc::clone(&transactor));
    let worker = Worker::new(Arc::clone(shared), Arc::clone(&seat), group.clone(), instance, name, pending);
    let work = move || {
        // Whoever sat here must have left before another comes under the same name.
        if let Some(before) = before {
            wait_for(before);
        }
        worker.run();
    };
    let worker = std::thread::Builder::new().name(format!("kafka-member-{number}")).spawn(work);
    let worker = worker.map_err(|error| ReadError::Unavailable(format!("a thread could not be started: {error}")))?;
    let chair =
        Chair { seat: Arc::clone(&seat), taken: true, worker: Some(worker), transactor: Arc::clone(&transactor) };
    match chairs.get_mut(number) {
        Some(empty) => *empty = chair,
        None => chairs.push(chair),
    }
    drop(groups);
    let prepared = Arc::clone(&transactor);
    // Joining does not wait for it.
    drop(tokio::spawn(async move { prepared.lock().await.prepare().await }));
    Ok(Member { shared: Arc::clone(shared), seat, group, number, transactor })
}

fn closed() -> ReadError {
    ReadError::Unavailable("the log is closed".into())
}

/// A member, as its owner sees it.
pub(crate) struct Member {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    group: String,
    number: usize,
    transactor: SharedTransactor,
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        self.seat.let_go();
        loop {
            if let Some(delivery) = self.seat.take() {
                return delivery;
            }
            self.seat.woken().await;
        }
    }

    fn start(&mut self, partition: Partition, from: Offset) {
        self.seat.start(partition, from);
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        self.seat.pause(partition, paused);
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError> {
        let Transaction { outputs, inputs } = transaction;
        let partitions: Vec<_> = inputs.iter().map(|(partition, _)| *partition).collect();
        let permission = self.seat.begin_commit(&partitions, outputs.is_empty()).map_err(|partitions| {
            CommitError::Fenced { partitions, reason: format!("group {} has given them to somebody else", self.group) }
        })?;
        let offsets = offsets(&self.seat.topic_name(&self.shared.options), &inputs);
        let offsets = offsets.map_err(|error| CommitError::Aborted(error.to_string()))?;
        let topic = outputs.first().map(|(topic, _)| *topic);
        let outputs = outputs.into_iter();
        let outputs = outputs.map(|(topic, record)| (crate::topics::named(&self.shared.options, topic).into(), record));
        let job = Job { outputs: outputs.collect(), topic, offsets, permission };
        let (shared, transactor) = (Arc::clone(&self.shared), Arc::clone(&self.transactor));
        // A task of its own: half a transaction must not be left open when whoever waits goes away.
        let working = tokio::spawn(async move { transactor.lock().await.commit(&shared, job).await });
        let outcome = working.await.unwrap_or_else(|error| Err(Failure::Aborted(format!("the commit broke: {error}"))));
        outcome.map_err(|failure| match failure {
            Failure::Aborted(reason) => CommitError::Aborted(reason),
            Failure::Fenced(reason) => {
                // The broker fences members, not partitions: all of them are lost, and the member joins anew.
                self.seat.restart(Restart::Lost("fenced"));
                CommitError::Fenced { partitions, reason }
            }
            Failure::Never(error) => {
                let reason = error.to_string();
                // The next delivery is this error: nobody goes on from here.
                self.seat.fail(partitions.first().copied().unwrap_or_default(), error);
                CommitError::Aborted(reason)
            }
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.members.stand_up(&self.group, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_eventlog::NewRecord;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::append::Appender;
    use crate::cluster::Cluster;
    use crate::options::Options;
    use crate::pool::Pool;
    use crate::trouble::Troubles;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn shared(options: Options) -> Arc<Shared> {
        let troubles = Arc::new(Troubles::default());
        Arc::new(Shared {
            appender: Appender::new(options.clone(), Arc::clone(&troubles)).unwrap(),
            readers: Arc::new(Pool::new(options.clone())),
            members: Members::default(),
            cluster: Cluster::new(&options).unwrap(),
            troubles,
            options,
        })
    }

    /// A real broker does not lose its answers on request.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_whose_outcome_is_not_known_is_a_trouble_until_it_is() {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["input", "output"] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let shared = shared(Options::new(cluster.bootstrap_servers(), "tester"));
        let mut member = join(&shared, "group", Topic("input"), "input".into(), 1).unwrap();
        // Neither the commit is answered nor, three times, where the output's partition ends. Before it, what may be open is ended.
        let (well, fenced) =
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
        cluster.request_errors(RDKafkaApiKey::EndTxn, &[well, fenced]);
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::ListOffsets, &[refused; 6]);
        let output = NewRecord { partition: 0, version: 1, key: "key".into(), value: "value".into() };
        let transaction = Transaction { outputs: vec![(Topic("output"), output)], inputs: Vec::new() };
        let in_doubt = || shared.troubles.now().is_some_and(|trouble| trouble.contains("commit of group.tester-0"));

        let committing = tokio::spawn(async move { member.commit(transaction).await });
        let doubted = async {
            while !in_doubt() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, doubted).await.expect("readiness says so");
        let committed = tokio::time::timeout(DEADLINE, committing).await.expect("it is decided").unwrap();

        assert_eq!(committed.unwrap()[0].offset, 1, "behind the record of the transaction that ended what was open");
        assert!(!in_doubt(), "{:?}", shared.troubles.now());
        shared.members.close();
    }
}
