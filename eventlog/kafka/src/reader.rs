//! A client that reads one partition after the other, from positions it is told.
//!
//! How it knows that there is nothing more: whoever asks it has just learnt the *stable end*, the position up to which a
//! reader of committed records may go. Below that there is either a record, or only markers and aborted records. The latter is
//! believed of a second `PartitionEOF` only: at the first the leader is asked for its end once more, and the client assigned
//! anew. An older one may have been waiting since before the end was learnt, and a leader that has just taken over may not know
//! all of it yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Chunk, Offset, Record};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use crate::config;
use crate::context::Quiet;
use crate::limits::REQUEST_TIMEOUT;
use crate::options::Options;
use crate::record::{incoming, number, offset, raw};

/// A partition by its name on the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
}

/// Why a read did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The position is not in the log (any more): the partition's ends say which way.
    OutOfRange,
    /// It may work later.
    Failed(String),
}

/// One client. Its calls block.
pub(crate) struct Reader {
    consumer: BaseConsumer<Quiet>,
    place: Option<Place>,
    next: Offset,
    /// Records taken from the client and not yet given to anybody; they begin at `next`.
    kept: VecDeque<Record>,
    pub(crate) used: Instant,
}

enum Polled {
    Record(Record),
    End,
    Nothing,
}

impl Reader {
    pub(crate) fn new(options: &Options) -> KafkaResult<Self> {
        let consumer = config::reader(options).create_with_context(Quiet)?;
        Ok(Self { consumer, place: None, next: 0, kept: VecDeque::new(), used: Instant::now() })
    }

    /// How well it suits a read: at the position, at the partition, or neither.
    pub(crate) fn suits(&self, place: &Place, from: Offset) -> u8 {
        match &self.place {
            Some(at) if at == place && self.next == from => 2,
            Some(at) if at == place => 1,
            _ => 0,
        }
    }

    /// Reads from `from` on, which lies before `stable_end`.
    pub(crate) fn read(
        &mut self,
        place: &Place,
        from: Offset,
        stable_end: Offset,
        max_bytes: usize,
        patience: Duration,
    ) -> Result<Chunk, Fault> {
        let deadline = Instant::now() + patience;
        let nothing = || {
            let (topic, partition) = (&place.topic, place.partition);
            Fault::Failed(format!(
                "{topic}/{partition}: nothing came from {from} on in {patience:?}, although the end is {stable_end}"
            ))
        };
        self.go_to(place, from)?;
        let (mut records, mut bytes, mut known_end) = (Vec::new(), 0, None);
        loop {
            let left = deadline.duration_since(Instant::now());
            match self.next_event(if records.is_empty() { left } else { Duration::ZERO })? {
                Polled::Record(record) => {
                    if !records.is_empty() && bytes + record.value.len() > max_bytes {
                        self.kept.push_front(record);
                        break;
                    }
                    bytes += record.value.len();
                    self.next = record.offset + 1;
                    records.push(record);
                    if bytes >= max_bytes {
                        break;
                    }
                }
                Polled::End if !records.is_empty() => break,
                Polled::End => match known_end {
                    // Only markers and aborted records lay before the end.
                    Some(end) => {
                        self.next = self.next.max(end);
                        break;
                    }
                    None if left.is_zero() => return Err(nothing()),
                    None => known_end = self.look_again(place, stable_end, deadline)?,
                },
                Polled::Nothing if !records.is_empty() => break,
                Polled::Nothing if left.is_zero() => return Err(nothing()),
                Polled::Nothing => {}
            }
        }
        Ok(Chunk { records, next: self.next })
    }

    /// Waits at `from` until there is a record, the end has moved (then `false`: ask for it), or the time is up.
    pub(crate) fn wait(&mut self, place: &Place, from: Offset, at_most: Duration) -> Result<bool, Fault> {
        self.go_to(place, from)?;
        match self.next_event(at_most)? {
            Polled::Record(record) => {
                self.kept.push_front(record);
                Ok(true)
            }
            Polled::End | Polled::Nothing => Ok(false),
        }
    }

    /// Assigns the client anew, and says where the partition ends by the word of its leader, if that knows of all up to
    /// `stable_end`.
    fn look_again(&mut self, place: &Place, stable_end: Offset, deadline: Instant) -> Result<Option<Offset>, Fault> {
        let patience = deadline.duration_since(Instant::now()).min(REQUEST_TIMEOUT);
        let extent = self.consumer.fetch_watermarks(&place.topic, number(place.partition), patience);
        self.assign(place, self.next)?;
        // One that does not answer is asked at the next end.
        Ok(extent.ok().map(|(_, end)| offset(end)).filter(|end| *end >= stable_end))
    }

    fn go_to(&mut self, place: &Place, from: Offset) -> Result<(), Fault> {
        if self.suits(place, from) < 2 {
            self.assign(place, from)?;
        }
        Ok(())
    }

    fn assign(&mut self, place: &Place, from: Offset) -> Result<(), Fault> {
        self.kept.clear();
        self.place = None;
        let mut list = TopicPartitionList::with_capacity(1);
        let at = rdkafka::Offset::Offset(raw(from));
        list.add_partition_offset(&place.topic, number(place.partition), at).map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        self.place = Some(place.clone());
        self.next = from;
        Ok(())
    }

    fn next_event(&mut self, wait: Duration) -> Result<Polled, Fault> {
        if let Some(record) = self.kept.pop_front() {
            return Ok(Polled::Record(record));
        }
        match self.consumer.poll(wait) {
            Some(Ok(message)) => Ok(Polled::Record(incoming(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            None => Ok(Polled::Nothing),
            Some(Err(error)) if is_passing(&error) => Ok(Polled::Nothing),
            Some(Err(error)) => {
                // Whatever comes next begins with an assignment.
                self.place = None;
                Err(match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Fault::OutOfRange,
                    _ => failed(error),
                })
            }
        }
    }
}

/// Whether an error is about a broker, and not about what is read: another may have the partition in a moment.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn failed(error: KafkaError) -> Fault {
    Fault::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use millrace_eventlog::NewRecord;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::append::Appender;
    use crate::limits::READ_TIMEOUT;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_a_leader_that_does_not_know_all_records_yet_is_not_believed() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("topic", 1, 1).unwrap();
        let options = Options::new(cluster.bootstrap_servers(), "tester");
        let mut reader = Reader::new(&options).unwrap();
        let place = Place { topic: "topic".into(), partition: 0 };

        // The leader before said that there is one record.
        let read = reader.read(&place, 0, 1, usize::MAX, Duration::from_secs(2));

        assert!(matches!(read, Err(Fault::Failed(_))), "skipped: {read:?}");
        let record = NewRecord { partition: 0, version: 1, key: "key".into(), value: "late".into() };
        Appender::new(options, Arc::default()).unwrap().append("topic", vec![record]).await.unwrap();
        let read = reader.read(&place, 0, 1, usize::MAX, READ_TIMEOUT).unwrap();
        assert_eq!((read.records.len(), read.next), (1, 1));
    }
}
