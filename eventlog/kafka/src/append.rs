//! Appending: records of many callers share the batches of one idempotent producer.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use millrace_eventlog::{AppendError, Appended, NewRecord};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DeliveryFuture, FutureProducer, Producer, PurgeConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config;
use crate::context::Quiet;
use crate::limits::{CLOSE_TIMEOUT, FORGIVEN_AFTER, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES};
use crate::metrics;
use crate::options::Options;
use crate::record::outgoing;
use crate::trouble::Troubles;

/// One permit of the room stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

const TROUBLE: &str = "appending";

/// What has been sent of one call.
type Sent = Vec<Result<DeliveryFuture, KafkaError>>;

/// The producer of appends, and the room for what is in flight.
pub(crate) struct Appender {
    options: Options,
    troubles: Arc<Troubles>,
    producer: RwLock<FutureProducer<Quiet>>,
    rebuilding: Mutex<()>,
    /// When an append last failed.
    failed: Mutex<Option<Instant>>,
    room: Arc<Semaphore>,
    permits: usize,
}

impl Appender {
    pub(crate) fn new(options: Options, troubles: Arc<Troubles>) -> KafkaResult<Self> {
        let producer = RwLock::new(config::producer(&options).create_with_context(Quiet)?);
        let permits = options.in_flight_bytes / PERMIT_BYTES;
        let room = Arc::new(Semaphore::new(permits));
        Ok(Self { options, troubles, producer, rebuilding: Mutex::new(()), failed: Mutex::new(None), room, permits })
    }

    /// Appends to the topic named `name` on the cluster. See [`millrace_eventlog::Log::append`].
    pub(crate) async fn append(&self, name: &str, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        let bytes = size(&records)?;
        let room = self.make_room(&records, bytes).await?;
        let producer = self.producer();
        let sent = send(&producer, name, &records);
        let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
        let count = records.len();
        // librdkafka has its own copy; the bytes stay accounted for until it has answered.
        drop(records);
        let outcome = gather(sent, &partitions).await;
        drop(room);
        self.report(&outcome);
        match &outcome {
            Ok(_) => {
                ::metrics::counter!(metrics::RECORDS, "topic" => name.to_owned()).increment(count as u64);
                ::metrics::counter!(metrics::BYTES, "topic" => name.to_owned()).increment(bytes as u64);
            }
            Err(AppendError::Unknown { .. }) => ::metrics::counter!(metrics::UNKNOWN).increment(1),
            Err(_) => ::metrics::counter!(metrics::REFUSED, "reason" => "kafka").increment(1),
        }
        if outcome.is_err() {
            self.rebuild_if_fatal(&producer);
        }
        outcome
    }

    async fn make_room(&self, records: &[NewRecord], bytes: usize) -> Result<Room, AppendError> {
        let held = bytes + records.len() * RECORD_OVERHEAD_BYTES;
        // What is larger than all the room there is waits until it is alone.
        let permits = u32::try_from((held / PERMIT_BYTES + 1).min(self.permits)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits);
        match tokio::time::timeout(self.options.append_timeout, room).await {
            Ok(Ok(permit)) => Ok(Room::new(permit, held)),
            Ok(Err(_)) => Err(refused("the log is closed")),
            Err(_) => {
                ::metrics::counter!(metrics::REFUSED, "reason" => "room").increment(1);
                Err(refused("too many bytes are already on their way to Kafka"))
            }
        }
    }

    fn producer(&self) -> FutureProducer<Quiet> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn report(&self, outcome: &Result<Vec<Appended>, AppendError>) {
        match outcome {
            Ok(_) => self.troubles.end(TROUBLE),
            Err(AppendError::TooLarge { .. }) => {}
            Err(error) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                self.troubles.begin(TROUBLE, error.to_string());
            }
        }
    }

    /// The brokers answer: a failure that is some time past counts no longer. A node that is not ready gets no requests, so
    /// waiting for an append that succeeds could be for ever.
    pub(crate) fn forgive(&self) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|failed| failed.elapsed() >= FORGIVEN_AFTER) {
            *failed = None;
            self.troubles.end(TROUBLE);
        }
    }

    /// A producer that has met a fatal error never sends again: another takes its place.
    fn rebuild_if_fatal(&self, failed: &FutureProducer<Quiet>) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.producer().client().fatal_error().is_none() {
            return;
        }
        match config::producer(&self.options).create_with_context(Quiet) {
            Ok(producer) => {
                tracing::error!(%code, reason, "the producer met a fatal error and was made anew");
                ::metrics::counter!(metrics::PRODUCERS_REBUILT, "producer" => "append").increment(1);
                let old = {
                    let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                    std::mem::replace(&mut *current, producer)
                };
                // Who still waits for the old one hears that its records were purged. Letting go of it blocks.
                old.purge(PurgeConfig::default().queue().inflight());
                drop(tokio::task::spawn_blocking(move || drop(old)));
            }
            Err(error) => tracing::error!(%code, %error, "the producer met a fatal error and could not be made anew"),
        }
    }

    /// Takes nothing more and waits, with a bound, for what is in flight. Blocks.
    pub(crate) fn close(&self) {
        self.room.close();
        let producer = self.producer();
        if let Err(error) = producer.flush(CLOSE_TIMEOUT) {
            tracing::warn!(%error, "records were still on their way when the log was closed");
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

/// The bytes of an append, all of whose records fit.
fn size(records: &[NewRecord]) -> Result<usize, AppendError> {
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.len();
        if size > RECORD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: size, bound: RECORD_BYTES_MAX });
        }
        bytes += size;
    }
    Ok(bytes)
}

fn send(producer: &FutureProducer<Quiet>, name: &str, records: &[NewRecord]) -> Sent {
    let mut sent = Vec::with_capacity(records.len());
    for record in records {
        let result = producer.send_result(outgoing(name, record)).map_err(|(error, _)| error);
        let stop = result.is_err();
        sent.push(result);
        if stop {
            // What follows in the same partition must not overtake it.
            break;
        }
    }
    sent
}

/// Waits for every report, and says what they mean together.
async fn gather(sent: Sent, partitions: &[u32]) -> Result<Vec<Appended>, AppendError> {
    let mut appended = Vec::with_capacity(sent.len());
    let (mut reason, mut perhaps_there) = (None, false);
    for (sent, partition) in sent.into_iter().zip(partitions) {
        let error = match sent {
            Ok(delivery) => match delivery.await {
                Ok(Ok(delivery)) => {
                    perhaps_there = true;
                    match place(&delivery, *partition) {
                        Some(place) => appended.push(place),
                        None => reason = Some("a record is there, but Kafka does not say where".to_owned()),
                    }
                    continue;
                }
                Ok(Err((error, _))) => {
                    perhaps_there |= !is_refusal(&error);
                    error
                }
                Err(_) => {
                    perhaps_there = true;
                    KafkaError::Canceled
                }
            },
            // It never left this process, nor did what follows.
            Err(error) => error,
        };
        reason.get_or_insert_with(|| error.to_string());
    }
    match reason {
        None => Ok(appended),
        Some(reason) if perhaps_there => Err(AppendError::Unknown { reason }),
        Some(reason) => Err(AppendError::Refused { reason }),
    }
}

/// Where a delivered record stands. A record that Kafka knew already, too long ago to say where, has no offset.
pub(crate) fn place(delivery: &Delivery, partition: u32) -> Option<Appended> {
    let at = u64::try_from(delivery.offset).ok()?;
    Some(Appended { partition, offset: at, append_time_ms: delivery.timestamp.to_millis()? })
}

/// Whether an error of a delivery says that the broker looked at the record and did not take it. A timeout does not, and
/// neither does a purge: the record may have been sent before.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}

fn refused(reason: &str) -> AppendError {
    AppendError::Refused { reason: reason.to_owned() }
}

/// Room taken by one append until it is answered.
struct Room {
    _permit: OwnedSemaphorePermit,
    bytes: f64,
}

impl Room {
    fn new(permit: OwnedSemaphorePermit, bytes: usize) -> Self {
        // A metric is a float.
        let bytes = bytes as f64;
        ::metrics::gauge!(metrics::IN_FLIGHT).increment(bytes);
        Self { _permit: permit, bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::IN_FLIGHT).decrement(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    fn record(text: &str) -> NewRecord {
        NewRecord { partition: 0, version: 1, key: "key".into(), value: text.to_owned().into() }
    }

    /// A real broker does not produce such an error on request.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_that_met_a_fatal_error_is_made_anew() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("topic", 1, 1).unwrap();
        let troubles = Arc::new(Troubles::default());
        let appender =
            Appender::new(Options::new(cluster.bootstrap_servers(), "tester"), Arc::clone(&troubles)).unwrap();
        appender.append("topic", vec![record("before")]).await.unwrap();
        let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[fatal]);

        let met = appender.append("topic", vec![record("met")]).await;

        assert!(matches!(met, Err(AppendError::Unknown { .. })), "whether it is there cannot be told: {met:?}");
        assert!(troubles.now().is_some_and(|trouble| trouble.contains("appending")), "{:?}", troubles.now());
        appender.append("topic", vec![record("after")]).await.expect("another producer took its place");
        assert_eq!(troubles.now(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_append_that_finds_no_room_in_time_is_refused_and_was_not_sent() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("topic", 1, 1).unwrap();
        let mut options = Options::new(cluster.bootstrap_servers(), "tester");
        options.in_flight_bytes = RECORD_BYTES_MAX;
        options.append_timeout = std::time::Duration::from_secs(1);
        let appender = Appender::new(options, Arc::default()).unwrap();
        let all = Arc::clone(&appender.room).acquire_many_owned(u32::try_from(appender.permits).unwrap()).await;

        let refused = appender.append("topic", vec![record("no room")]).await;

        assert!(matches!(refused, Err(AppendError::Refused { .. })), "{refused:?}");
        drop(all);
        appender.append("topic", vec![record("room")]).await.unwrap();
        appender.close();
        let closed = appender.append("topic", vec![record("closed")]).await;
        assert!(matches!(closed, Err(AppendError::Refused { .. })), "{closed:?}");
    }

    #[test]
    fn only_what_the_broker_looked_at_is_refused() {
        for (code, refusal) in [
            (RDKafkaErrorCode::MessageSizeTooLarge, true),
            (RDKafkaErrorCode::TopicAuthorizationFailed, true),
            (RDKafkaErrorCode::MessageTimedOut, false),
            (RDKafkaErrorCode::PurgeQueue, false),
            (RDKafkaErrorCode::PurgeInflight, false),
            (RDKafkaErrorCode::NotEnoughReplicasAfterAppend, false),
        ] {
            assert_eq!(is_refusal(&KafkaError::MessageProduction(code)), refusal, "{code}");
        }
    }
}
