//! A client that reads one partition after the other, from positions it is told.
//!
//! How it knows that there is nothing more: whoever asks it has just learnt the *stable end*, the position up to which a
//! reader of committed records may go. Below that there is either a record, or only markers and aborted records. The latter is believed
//! only of a `PartitionEOF` that came after the client was assigned anew: an older one may have been waiting since before
//! the end was learnt.

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
use crate::options::Options;
use crate::record::{incoming, number, raw};

/// A partition by its name on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let mut assigned_since = self.go_to(place, from)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            let wait = if records.is_empty() { deadline.duration_since(Instant::now()) } else { Duration::ZERO };
            match self.next_event(wait)? {
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
                // Only markers and aborted records lay before the end.
                Polled::End if assigned_since => {
                    self.next = self.next.max(stable_end);
                    break;
                }
                Polled::End => {
                    self.assign(place, self.next)?;
                    assigned_since = true;
                }
                Polled::Nothing if !records.is_empty() => break,
                Polled::Nothing if Instant::now() < deadline => {}
                Polled::Nothing => {
                    let (topic, partition) = (&place.topic, place.partition);
                    return Err(Fault::Failed(format!(
                        "{topic}/{partition}: nothing came from {from} on in {patience:?}, although the end is {stable_end}"
                    )));
                }
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

    /// Goes to a position; says whether that took an assignment.
    fn go_to(&mut self, place: &Place, from: Offset) -> Result<bool, Fault> {
        let assign = self.suits(place, from) < 2;
        if assign {
            self.assign(place, from)?;
        }
        Ok(assign)
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
