//! Transactions: outputs and input positions that become visible together.
//!
//! Everything a transaction holds is known before it begins, so it is open for milliseconds. All deliveries are awaited
//! before the commit (which takes a tenth of a second otherwise). From the moment the commit was asked for, an error does not say
//! whether it happened: then the producer is made anew, which settles whatever was open under its name, and the first output
//! is looked for where it would be. So the answer is never a guess.

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Appended, Committed, NewRecord, Offset, Partition, ReadError, Topic};
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
        Self { options, id, producer: None }
    }

    /// Makes the producer before it is needed, which ends what a process of this name has left open. Where that does not succeed
    /// now, the first commit tries again.
    pub(crate) async fn prepare(&mut self) {
        if let Err(Ending::Not(failure)) = self.ready(TRANSACTION_CALL).await {
            tracing::info!(id = self.id, ?failure, "the producer of transactions cannot be made yet");
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
            Err(Ending::Perhaps { reason, appended }) => self.settle(shared, &job, reason, appended).await,
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
        self.call(&producer, |producer| producer.begin_transaction()).await?;
        let appended = match deliver(&producer, &job.outputs).await {
            Ok(appended) => appended,
            Err(reason) => return Err(self.give_up(&producer, Verdict::Abort, reason).await),
        };
        if let Some(metadata) = &job.permission.metadata {
            let (offsets, metadata) = (job.offsets.clone(), Arc::clone(metadata));
            let send = move |producer: &FutureProducer<Quiet>| {
                producer.send_offsets_to_transaction(&offsets, &metadata, TRANSACTION_CALL)
            };
            self.call(&producer, send).await?;
        }
        let deadline = Instant::now() + self.options.transaction_timeout;
        loop {
            let committing = blocking(&producer, |producer| producer.commit_transaction(TRANSACTION_CALL)).await;
            let error = match committing {
                Ok(()) => return Ok(appended),
                Err(error) => error,
            };
            match verdict(&error) {
                // Asking again is asking for the same commit.
                Verdict::Retry if Instant::now() < deadline => tokio::time::sleep(RETRY_PAUSE).await,
                // Kafka has refused to commit it.
                Verdict::Abort => return Err(self.give_up(&producer, Verdict::Abort, error.to_string()).await),
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
                Err(error) if verdict(&error) == Verdict::Retry && Instant::now() < deadline => {}
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
        if let Some(producer) = self.producer.take() {
            tracing::warn!(id = self.id, reason, "the producer of transactions is made anew");
            ::metrics::counter!(metrics::PRODUCERS_REBUILT, "producer" => "transaction").increment(1);
            drop_off_thread(producer);
        }
    }

    /// Decides what became of a commit whose answer is not known: ends what is open, then looks.
    async fn settle(
        &mut self,
        shared: &Shared,
        job: &Job,
        reason: String,
        appended: Vec<Appended>,
    ) -> Result<Vec<Appended>, Failure> {
        let trouble = format!("commit of {}", self.id);
        shared.troubles.begin(&trouble, format!("its outcome is not known: {reason}"));
        let outcome = loop {
            match self.look(shared, job, &appended).await {
                Ok(true) => break Ok(appended),
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

    async fn look(&mut self, shared: &Shared, job: &Job, appended: &[Appended]) -> Result<bool, Unsettled> {
        let ready = self.ready(self.options.transaction_timeout).await;
        if let Err(Ending::Not(Failure::Aborted(reason) | Failure::Fenced(reason))) = ready {
            return Err(Unsettled::Later(reason));
        }
        let (Some(topic), Some((name, _)), Some(first)) = (job.topic, job.outputs.first(), appended.first()) else {
            return Ok(false);
        };
        let (place, at) = (Place { topic: Arc::clone(name), partition: first.partition }, first.offset);
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
        let chunk = shared.readers.with_reader(&place, at, reading).await;
        let chunk = chunk.map_err(|fault| Unsettled::Later(format!("{fault:?}")))?;
        Ok(chunk.records.first().is_some_and(|record| record.offset == at))
    }
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
