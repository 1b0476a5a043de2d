//! Transactions: outputs and input positions that become visible together.
//!
//! Everything a transaction holds is known before it begins, so it is open for milliseconds. All deliveries are awaited
//! before the commit (which takes a tenth of a second otherwise). From the moment the commit was asked for, an error does not say
//! whether it happened: then the producer is made anew, which settles whatever was open under its name, and the first output
//! of each partition is looked for where it would be. So the answer is never a guess.
//!
//! Making a producer should end whatever its name has left open, in every partition. A coordinator that comes back together with
//! all of its brokers has been seen not to: it called transactions ended whose partitions never got a marker (Kafka 4.4). What lies open
//! there keeps readers waiting, and the next commit in the partition would commit it too. So a new producer ends that itself,
//! before it commits anything in a partition: a transaction of nothing, aborted, leaves the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use millrace_eventlog::{Appended, Committed, NewRecord, Offset, Partition, ReadError, Topic};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{FutureProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use crate::append::place;
use crate::context::Quiet;
use crate::limits::{
    OUTCOME_PAUSE, READ_TIMEOUT, RECORD_BYTES_MAX, RETRY_PAUSE, TRANSACTION_CALL, TRANSACTION_CALL_LOST,
    VISIBLE_PATIENCE, VISIBLE_PAUSE,
};
use crate::member::Permission;
use crate::options::Options;
use crate::reader::Place;
use crate::reading::extent;
use crate::record::{number, outgoing, raw};
use crate::verdict::{Verdict, fences, verdict};
use crate::{Shared, config, metrics};

/// One transaction as it is given.
pub(crate) struct Job {
    /// Each record with the name of its topic.
    pub(crate) outputs: Vec<(Arc<str>, NewRecord)>,
    /// The topic of the first, as callers know it.
    pub(crate) topic: Option<Topic>,
    pub(crate) offsets: TopicPartitionList,
    pub(crate) permission: Permission,
}

impl Job {
    /// Where it writes.
    fn places(&self) -> BTreeSet<Place> {
        let place =
            |(name, record): &(Arc<str>, NewRecord)| Place { topic: Arc::clone(name), partition: record.partition };
        self.outputs.iter().map(place).collect()
    }

    /// What its positions are committed with.
    fn group(&self) -> Option<Group> {
        let metadata = self.permission.metadata.as_ref().map(Arc::clone)?;
        Some(Group { offsets: self.offsets.clone(), metadata })
    }

    /// What tells whether it was committed, its outputs having been put there.
    fn doubt(&self, appended: &[Appended]) -> Doubt {
        let mut firsts = BTreeMap::new();
        for ((name, _), at) in self.outputs.iter().zip(appended) {
            let place = Place { topic: Arc::clone(name), partition: at.partition };
            firsts.entry(place).or_insert(at.offset);
        }
        Doubt { topic: self.topic, firsts, group: self.group() }
    }
}

/// Positions of a group, and the right to commit them in a transaction.
pub(crate) struct Group {
    pub(crate) offsets: TopicPartitionList,
    pub(crate) metadata: Arc<ConsumerGroupMetadata>,
}

/// A transaction of which it is not known whether it was committed.
pub(crate) struct Doubt {
    /// The topic of its outputs, as callers know it.
    pub(crate) topic: Option<Topic>,
    /// Its first output in each partition: readable if it was committed, and never if not.
    pub(crate) firsts: BTreeMap<Place, Offset>,
    pub(crate) group: Option<Group>,
}

/// Why a transaction was not committed. Nothing of it is visible, now or later.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may be made again.
    Aborted(String),
    /// The member, or its producer, has been replaced by another.
    Fenced(String),
    /// Whether it is committed will never be known: where that would be seen is gone. A hard stop.
    Never(ReadError),
}

/// The producer of one member's transactions.
pub(crate) struct Transactor {
    options: Options,
    id: String,
    producer: Option<FutureProducer<Quiet>>,
    /// Partitions in which the producer has left nothing open, nor have those before it.
    clean: BTreeSet<Place>,
    /// Partitions in which a producer that was dropped may have left something open.
    left: BTreeSet<Place>,
}

/// How a transaction ended that was not plainly committed.
enum Ending {
    /// It is surely not committed.
    Not(Failure),
    /// The commit was asked for, and its answer is not known; the outputs would stand there.
    Perhaps { reason: String, appended: Vec<Appended> },
}

/// Why the outcome of a commit is not known.
enum Unsettled {
    /// It may be later.
    Later(String),
    /// It never will be.
    Never(ReadError),
}

/// Input positions as Kafka takes them.
pub(crate) fn offsets(name: &str, inputs: &[(Partition, Committed)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(inputs.len());
    for (partition, committed) in inputs {
        let mut entry = list.add_partition(name, number(*partition));
        entry.set_offset(rdkafka::Offset::Offset(raw(committed.next)))?;
        entry.set_metadata(&committed.metadata);
    }
    Ok(list)
}

impl Transactor {
    pub(crate) fn new(options: Options, id: String) -> Self {
        Self { options, id, producer: None, clean: BTreeSet::new(), left: BTreeSet::new() }
    }

    /// Makes the producer before it is needed, which ends what a process of this name has left open. Where that does not succeed
    /// now, the first commit tries again.
    pub(crate) async fn prepare(&mut self) {
        self.end_left(None).await;
    }

    /// Ends what may be open in partitions that were left, and what keeps the group's positions from being read.
    pub(crate) async fn end_left(&mut self, group: Option<Group>) {
        let ended = async {
            let producer = self.ready(TRANSACTION_CALL).await?;
            if self.left.is_empty() && group.is_none() {
                return Ok(());
            }
            let left = self.left.clone();
            self.end_open(&producer, left, group.as_ref()).await
        };
        if let Err(Ending::Not(failure)) = ended.await {
            tracing::info!(id = self.id, ?failure, "what was left open cannot be ended yet");
        }
    }

    /// Commits, and gives the outputs' places in their order.
    pub(crate) async fn commit(&mut self, shared: &Shared, job: Job) -> Result<Vec<Appended>, Failure> {
        if job.outputs.is_empty() {
            return commit_positions(job).await.map(|()| Vec::new());
        }
        let began = Instant::now();
        let outcome = match self.attempt(&job).await {
            Ok(appended) => Ok(appended),
            Err(Ending::Not(failure)) => Err(failure),
            Err(Ending::Perhaps { reason, appended }) => {
                self.settle(shared, &job.doubt(&appended), reason).await.map(|()| appended)
            }
        };
        if let Ok(appended) = &outcome {
            wait_until_visible(shared, &job, appended).await;
            ::metrics::histogram!(metrics::TRANSACTION_SECONDS).record(began.elapsed().as_secs_f64());
        }
        let name = match &outcome {
            Ok(_) => "committed",
            Err(Failure::Aborted(_) | Failure::Never(_)) => "aborted",
            Err(Failure::Fenced(_)) => "fenced",
        };
        ::metrics::counter!(metrics::TRANSACTIONS, "outcome" => name).increment(1);
        outcome
    }

    async fn attempt(&mut self, job: &Job) -> Result<Vec<Appended>, Ending> {
        let producer = self.ready(self.options.transaction_timeout).await?;
        let places = job.places();
        let unknown: BTreeSet<Place> = places.difference(&self.clean).chain(&self.left).cloned().collect();
        if !unknown.is_empty() {
            self.end_open(&producer, unknown, None).await?;
        }
        // Until it has ended one way or the other.
        self.left.extend(places);
        let made = self.make(&producer, job).await;
        if let Err(Ending::Not(_)) = &made
            && self.producer.is_some()
        {
            // It was aborted, and its markers are its coordinator's to write.
            self.left.clear();
        }
        made
    }

    /// Makes a transaction: begins, delivers, commits.
    async fn make(&mut self, producer: &FutureProducer<Quiet>, job: &Job) -> Result<Vec<Appended>, Ending> {
        self.call(producer, |producer| producer.begin_transaction()).await?;
        let appended = match deliver(producer, &job.outputs).await {
            Ok(appended) => appended,
            Err(reason) => return Err(self.give_up(producer, Verdict::Abort, reason).await),
        };
        if let Some(group) = job.group() {
            self.call(producer, sending(&group)).await?;
        }
        let deadline = Instant::now() + self.options.transaction_timeout;
        loop {
            let committing = blocking(producer, |producer| producer.commit_transaction(TRANSACTION_CALL)).await;
            let error = match committing {
                Ok(()) => {
                    self.left.clear();
                    return Ok(appended);
                }
                Err(error) => error,
            };
            match verdict(&error) {
                // Asking again is asking for the same commit.
                Verdict::Retry if Instant::now() < deadline => tokio::time::sleep(RETRY_PAUSE).await,
                // Kafka has refused to commit it.
                Verdict::Abort => return Err(self.give_up(producer, Verdict::Abort, error.to_string()).await),
                Verdict::Retry | Verdict::Fenced | Verdict::Broken => {
                    self.drop_producer(&error.to_string());
                    return Err(Ending::Perhaps { reason: error.to_string(), appended });
                }
            }
        }
    }

    /// A call within a transaction before its commit: it succeeds, or the transaction is given up.
    async fn call(
        &mut self,
        producer: &FutureProducer<Quiet>,
        call: impl Fn(&FutureProducer<Quiet>) -> KafkaResult<()> + Clone + Send + 'static,
    ) -> Result<(), Ending> {
        let deadline = Instant::now() + self.options.transaction_timeout;
        loop {
            let Err(error) = blocking(producer, call.clone()).await else { return Ok(()) };
            match verdict(&error) {
                Verdict::Retry if Instant::now() < deadline => tokio::time::sleep(RETRY_PAUSE).await,
                verdict => return Err(self.give_up(producer, verdict, error.to_string()).await),
            }
        }
    }

    /// The producer, ready for a transaction. Making it ends whatever was open under its name.
    async fn ready(&mut self, patience: Duration) -> Result<FutureProducer<Quiet>, Ending> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let aborted = |error: KafkaError| Ending::Not(Failure::Aborted(format!("no transaction can begin: {error}")));
        let config = config::transactions(&self.options, &self.id);
        let producer: FutureProducer<Quiet> = config.create_with_context(Quiet).map_err(aborted)?;
        let deadline = Instant::now() + patience;
        loop {
            match blocking(&producer, |producer| producer.init_transactions(TRANSACTION_CALL)).await {
                Ok(()) => break,
                Err(error) if verdict(&error) == Verdict::Retry && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => {
                    drop_off_thread(producer);
                    return Err(aborted(error));
                }
            }
        }
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    /// Aborts, or drops the producer where that does not work: its successor aborts then.
    async fn give_up(&mut self, producer: &FutureProducer<Quiet>, verdict: Verdict, reason: String) -> Ending {
        let fatal = producer.client().fatal_error();
        let fenced = verdict == Verdict::Fenced || fatal.as_ref().is_some_and(|(code, _)| fences(*code));
        let aborting = match fatal {
            Some((_, fatal)) => Err(fatal),
            None => {
                let abort = |producer: &FutureProducer<Quiet>| producer.abort_transaction(TRANSACTION_CALL);
                blocking(producer, abort).await.map_err(|error| error.to_string())
            }
        };
        if let Err(error) = aborting {
            self.drop_producer(&error);
        }
        Ending::Not(if fenced { Failure::Fenced(reason) } else { Failure::Aborted(reason) })
    }

    fn drop_producer(&mut self, reason: &str) {
        self.clean.clear();
        if let Some(producer) = self.producer.take() {
            tracing::warn!(id = self.id, reason, "the producer of transactions is made anew");
            ::metrics::counter!(metrics::PRODUCERS_REBUILT, "producer" => "transaction").increment(1);
            drop_off_thread(producer);
        }
    }

    /// Ends whatever is open in these partitions under our name, and of the group's positions. Only for a producer that has nothing open
    /// itself, by its coordinator's word.
    async fn end_open(
        &mut self,
        producer: &FutureProducer<Quiet>,
        places: BTreeSet<Place>,
        group: Option<&Group>,
    ) -> Result<(), Ending> {
        self.call(producer, |producer| producer.begin_transaction()).await?;
        let nothing = |place: &Place| {
            let record = NewRecord { partition: place.partition, version: 0, key: Bytes::new(), value: Bytes::new() };
            (Arc::clone(&place.topic), record)
        };
        if let Err(reason) = deliver(producer, &places.iter().map(nothing).collect::<Vec<_>>()).await {
            return Err(self.give_up(producer, Verdict::Abort, reason).await);
        }
        if let Some(group) = group
            && let Err(refused) = blocking(producer, sending(group)).await
        {
            // A group that does not let us has been told of the transaction all the same.
            tracing::debug!(id = self.id, %refused, "positions of a transaction that is to be aborted");
        }
        let abort = |producer: &FutureProducer<Quiet>| producer.abort_transaction(TRANSACTION_CALL);
        if let Err(error) = blocking(producer, abort).await {
            self.drop_producer(&error.to_string());
            return Err(Ending::Not(Failure::Aborted(error.to_string())));
        }
        self.left.retain(|place| !places.contains(place));
        self.clean.extend(places);
        Ok(())
    }

    /// Decides what became of a commit whose answer is not known: ends what is open, then looks. `reason`: why it is not known.
    pub(crate) async fn settle(&mut self, shared: &Shared, doubt: &Doubt, reason: String) -> Result<(), Failure> {
        let trouble = format!("commit of {}", self.id);
        shared.troubles.begin(&trouble, format!("its outcome is not known: {reason}"));
        let outcome = loop {
            match self.look(shared, doubt).await {
                Ok(true) => break Ok(()),
                Ok(false) => break Err(Failure::Fenced(reason)),
                Err(Unsettled::Never(error)) => break Err(Failure::Never(error)),
                Err(Unsettled::Later(now)) => {
                    shared.troubles.begin(&trouble, format!("its outcome is not known: {reason}; {now}"));
                    tokio::time::sleep(OUTCOME_PAUSE).await;
                }
            }
        };
        shared.troubles.end(&trouble);
        outcome
    }

    /// Whether a transaction is committed. Nothing of it is undecided any more once that can be told. One that is committed in some of
    /// its partitions only is not: whoever made it begins again in each from what can be read there.
    async fn look(&mut self, shared: &Shared, doubt: &Doubt) -> Result<bool, Unsettled> {
        let places: BTreeSet<Place> = doubt.firsts.keys().cloned().collect();
        let ended = async {
            let producer = self.ready(self.options.transaction_timeout).await?;
            if places.is_subset(&self.clean) {
                return Ok(());
            }
            self.end_open(&producer, places, doubt.group.as_ref()).await
        };
        if let Err(Ending::Not(Failure::Aborted(reason) | Failure::Fenced(reason))) = ended.await {
            return Err(Unsettled::Later(reason));
        }
        let Some(topic) = doubt.topic else { return Ok(false) };
        for (place, at) in &doubt.firsts {
            if !is_readable(shared, topic, place, *at).await? {
                return Ok(false);
            }
        }
        Ok(!doubt.firsts.is_empty())
    }
}

/// Whether a record that was put there can be read, or never will be.
async fn is_readable(shared: &Shared, topic: Topic, place: &Place, at: Offset) -> Result<bool, Unsettled> {
    let end = match extent(shared, topic, place.clone()).await {
        Ok(extent) if at < extent.start => {
            let (partition, start) = (place.partition, extent.start);
            return Err(Unsettled::Never(ReadError::Truncated { topic, partition, from: at, start }));
        }
        Ok(extent) => extent.end,
        Err(ReadError::Unavailable(reason)) => return Err(Unsettled::Later(reason)),
        Err(gone) => return Err(Unsettled::Never(gone)),
    };
    if end <= at {
        let reason = format!("{}/{} is readable up to {end} only", place.topic, place.partition);
        return Err(Unsettled::Later(reason));
    }
    let reading = {
        let place = place.clone();
        move |reader: &mut crate::reader::Reader| reader.read(&place, at, end, 1, READ_TIMEOUT)
    };
    let chunk = shared.readers.with_reader(place, at, reading).await;
    let chunk = chunk.map_err(|fault| Unsettled::Later(format!("{fault:?}")))?;
    Ok(chunk.records.first().is_some_and(|record| record.offset == at))
}

/// The call that puts a group's positions into the open transaction.
fn sending(group: &Group) -> impl Fn(&FutureProducer<Quiet>) -> KafkaResult<()> + Clone + Send + 'static + use<> {
    let (offsets, metadata) = (group.offsets.clone(), Arc::clone(&group.metadata));
    move |producer| producer.send_offsets_to_transaction(&offsets, &metadata, TRANSACTION_CALL)
}

/// Sends all outputs and waits for them. The error is the first one's reason.
async fn deliver(producer: &FutureProducer<Quiet>, outputs: &[(Arc<str>, NewRecord)]) -> Result<Vec<Appended>, String> {
    let mut sent = Vec::with_capacity(outputs.len());
    for (name, record) in outputs {
        let bytes = record.key.len() + record.value.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(format!("a record of {bytes} bytes is larger than {RECORD_BYTES_MAX}"));
        }
        sent.push(producer.send_result(outgoing(name, record)).map_err(|(error, _)| error.to_string())?);
    }
    let mut appended = Vec::with_capacity(outputs.len());
    for (delivery, (name, record)) in sent.into_iter().zip(outputs) {
        let delivery = delivery.await.map_err(|_| "the producer went away".to_owned())?;
        let delivery = delivery.map_err(|(error, _)| error.to_string())?;
        let at = place(&delivery, record.partition);
        appended.push(at.ok_or_else(|| format!("Kafka does not say where in {name} a record is"))?);
    }
    Ok(appended)
}

/// Positions alone need no transaction.
async fn commit_positions(job: Job) -> Result<(), Failure> {
    if job.offsets.count() == 0 {
        return Ok(());
    }
    let committing = tokio::task::spawn_blocking(move || {
        let Job { offsets, permission, .. } = job;
        permission.commit(&offsets)
    });
    let outcome = committing.await.map_err(|error| Failure::Aborted(format!("the commit broke: {error}")))?;
    outcome.map_err(|error| match error.rdkafka_error_code() {
        Some(code) if fences(code) => Failure::Fenced(error.to_string()),
        _ => Failure::Aborted(error.to_string()),
    })
}

/// Waits, with a bound, until the outputs can be read: Kafka answers a commit before its markers are written.
async fn wait_until_visible(shared: &Shared, job: &Job, appended: &[Appended]) {
    let mut last: Vec<(Place, Offset)> = Vec::new();
    for ((name, _), at) in job.outputs.iter().zip(appended) {
        match last.iter_mut().find(|(place, _)| place.partition == at.partition && place.topic == *name) {
            Some((_, offset)) => *offset = at.offset.max(*offset),
            None => last.push((Place { topic: Arc::clone(name), partition: at.partition }, at.offset)),
        }
    }
    let places: Vec<_> = last.iter().map(|(place, _)| place.clone()).collect();
    let deadline = Instant::now() + VISIBLE_PATIENCE;
    let mut pause = VISIBLE_PAUSE;
    while Instant::now() < deadline {
        let asked = places.clone();
        if let Ok(ends) = shared.cluster.ask(move |cluster| cluster.ends(&asked)).await
            && ends.iter().zip(&last).all(|(end, (_, offset))| end > offset)
        {
            return;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn blocking(
    producer: &FutureProducer<Quiet>,
    call: impl FnOnce(&FutureProducer<Quiet>) -> KafkaResult<()> + Send + 'static,
) -> KafkaResult<()> {
    let producer = producer.clone();
    let calling = tokio::task::spawn_blocking(move || call(&producer));
    match tokio::time::timeout(TRANSACTION_CALL_LOST, calling).await {
        Ok(answer) => answer.unwrap_or(Err(KafkaError::Canceled)),
        // librdkafka forgets to answer where a coordinator goes away under the call. Its thread and the client stay behind.
        Err(_) => {
            tracing::warn!(after = ?TRANSACTION_CALL_LOST, "a call of a transaction is never answered");
            Err(KafkaError::Canceled)
        }
    }
}

/// Letting go of a producer blocks.
fn drop_off_thread(producer: FutureProducer<Quiet>) {
    drop(tokio::task::spawn_blocking(move || drop(producer)));
}
