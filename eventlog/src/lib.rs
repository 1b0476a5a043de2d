//! The log: what Millrace knows for certain, in order.
//!
//! A log has an id and topics; a topic has numbered partitions; a partition is a sequence of records, each with an
//! *offset* and an *append time*. This crate is mechanism only: it reads no event and decides nothing.
//!
//! Two implementations stand behind [`Log`]: [`embedded`] (one process, one folder) and Kafka. Both pass the same
//! [`conformance`] suite. What a caller may rely on:
//!
//! - An append that returned `Ok` is durable: it survives `kill -9` and power loss. An append that returned
//!   [`AppendError::Unknown`] may be in the log or not.
//! - Offsets rise within a partition. They are **not dense**: a gap says nothing.
//! - Append times within a partition may repeat and may go back.
//! - A transaction's records are seen all or not at all, and only once it is committed.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub mod conformance;
pub mod embedded;
pub mod faults;
mod first;
pub mod limits;
pub mod metrics;

pub use first::first_record;

/// The name of a topic. Topics are fixed when a log is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub &'static str);

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// The number of a partition within its topic, from 0.
pub type Partition = u32;

/// The place of a record within its partition. Rises; is not dense.
pub type Offset = u64;

/// A topic as it is made: its name and how many partitions it has for the log's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic's name.
    pub topic: Topic,
    /// How many partitions it has; never changes.
    pub partitions: u32,
}

/// A record on its way into the log. The caller has already chosen the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Where it goes.
    pub partition: Partition,
    /// The schema version of `value`, carried in a header.
    pub version: u32,
    /// The record's key.
    pub key: Bytes,
    /// The record's value.
    pub value: Bytes,
}

/// A record as the log gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log took it: wall clock of the log (not of the sender), in ms since 1970. Records that the log wrote
    /// together share it; which those are is the log's business, and one append may have several times.
    pub append_time_ms: i64,
    /// The schema version of `value`, from its header.
    pub version: u32,
    /// The record's key.
    pub key: Bytes,
    /// The record's value.
    pub value: Bytes,
}

/// Where an appended record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The partition.
    pub partition: Partition,
    /// The offset it was given.
    pub offset: Offset,
    /// The append time it was given.
    pub append_time_ms: i64,
}

/// The records of one read, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The records, offsets rising.
    pub records: Vec<Record>,
    /// The position after them: the next read starts here. Greater than the last record's offset; may skip.
    pub next: Offset,
}

/// What a partition holds: records from `start` up to, but without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first position that can still be read.
    pub start: Offset,
    /// The position the next record will get at the earliest. A reader at `end` has read everything committed.
    pub end: Offset,
}

/// What a consumer is told, in order, per partition.
#[derive(Debug)]
pub enum Delivery {
    /// The partition is ours now. Nothing of it is delivered until [`Consumer::start`] says from where.
    /// `committed` is the group's last committed position: a hint, never the truth.
    Assigned {
        /// The partition.
        partition: Partition,
        /// The group's committed position and its metadata, if any.
        committed: Option<Committed>,
    },
    /// Records of one partition, never empty.
    Records {
        /// The partition.
        partition: Partition,
        /// The records, offsets rising.
        records: Vec<Record>,
        /// The position after them.
        next: Offset,
    },
    /// Everything committed in this partition has been delivered; said once each time the end is reached.
    End {
        /// The partition.
        partition: Partition,
        /// The position reached.
        next: Offset,
    },
    /// The partition goes to another member in good order: what was consumed may still be committed now.
    Revoked {
        /// The partition.
        partition: Partition,
    },
    /// The partition is gone: another member may own it already; nothing may be committed for it.
    Lost {
        /// The partition.
        partition: Partition,
    },
}

/// A group's committed position in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset the group would consume.
    pub next: Offset,
    /// What the committer wrote beside it.
    pub metadata: String,
}

/// Outputs and input positions that become visible together or not at all.
#[derive(Debug, Default, Clone)]
pub struct Transaction {
    /// Records to append, each to its topic.
    pub outputs: Vec<(Topic, NewRecord)>,
    /// For each input partition: the position consumed up to, with metadata.
    pub inputs: Vec<(Partition, Committed)>,
}

/// Why an append did not answer `Ok`. Ordered by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Not in the log; the same append may be tried again later (no room, clock refused, shutting down).
    #[error("the log takes no records now: {reason}")]
    Refused {
        /// What an operator should look at.
        reason: String,
    },
    /// May be in the log or not. Never report it as a failure that lost the event.
    #[error("it is unknown whether the log took the records: {reason}")]
    Unknown {
        /// What an operator should look at.
        reason: String,
    },
    /// A record is larger than the log can hold. Trying again does not help.
    #[error("a record of {bytes} bytes is larger than the log's bound of {bound} bytes")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The largest the log takes.
        bound: usize,
    },
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The position is older than what the log still holds: a hard stop, records are missing.
    #[error("{topic}/{partition}: offset {from} is gone, the log begins at {start}")]
    Truncated {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: Partition,
        /// What was asked for.
        from: Offset,
        /// What is there.
        start: Offset,
    },
    /// The position is beyond the end: the log has lost records or is another log. A hard stop.
    #[error("{topic}/{partition}: offset {from} is beyond the log's end {end}: the log regressed or is another log")]
    Regressed {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: Partition,
        /// What was asked for.
        from: Offset,
        /// The log's end.
        end: Offset,
    },
    /// Stored bytes do not check out. Names the file where one is known.
    #[error("{topic}/{partition}: damaged at offset {offset}: {reason}")]
    Damaged {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: Partition,
        /// The first offset that cannot be read.
        offset: Offset,
        /// What is wrong, and where.
        reason: String,
    },
    /// It may work later.
    #[error("the log cannot be read now: {0}")]
    Unavailable(String),
}

/// Why a transaction was not committed. In each case none of its outputs is visible, now or later.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Aborted: go back to the last committed positions and fold again.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// These partitions belong to another member by now: drop them. The transaction is aborted. A log that fences whole
    /// members names all of the transaction's partitions; each is then said to be lost, and assigned anew to whoever has it.
    #[error("partitions {partitions:?} belong to another member: {reason}")]
    Fenced {
        /// The partitions to drop.
        partitions: Vec<Partition>,
        /// What happened.
        reason: String,
    },
}

/// A log. One object serves all threads.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// The log's id, made with the log: text of `[0-9a-z-]`, part of every segment key and snapshot.
    fn id(&self) -> &str;

    /// How many partitions a topic has. Panics for a topic the log was not made with: a mistake of wiring.
    fn partitions(&self, topic: Topic) -> u32;

    /// Appends records, in order within each partition, and answers once **all** are durable, in the order given.
    /// All of the call's records are in, or an error is returned; after `Unknown` any of them may be in.
    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError>;

    /// Reads committed records from `from` on, at most `max_bytes` of values (but at least one record if there is one).
    /// At the end: no records, `next == from` or later.
    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError>;

    /// What the partition holds now. Every append acknowledged before the call lies before `end`, except behind a
    /// transaction that is still open: what comes after its first record is not readable, and not before `end`, until it ends.
    async fn extent(&self, topic: Topic, partition: Partition) -> Result<Extent, ReadError>;

    /// The first position whose append time is at or after `time_ms`; `None` if there is none.
    async fn position_at(&self, topic: Topic, partition: Partition, time_ms: i64) -> Result<Option<Offset>, ReadError>;

    /// Returns once the partition's end is beyond `end`, or after `at_most` (real time). For followers that are at the end.
    async fn grown(&self, topic: Topic, partition: Partition, end: Offset, at_most: Duration);

    /// Joins a group that shares the topic's partitions.
    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError>;
}

/// A member of a group: gets partitions, reads them, commits.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; waits for one. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Delivery, ReadError>;

    /// Says from where to deliver an assigned partition; called again, it goes back or forth.
    /// The answer to a position outside the log comes from [`Consumer::next`] as an error.
    fn start(&mut self, partition: Partition, from: Offset);

    /// Stops (or resumes) delivery of one partition, to bound memory. Assignment is unaffected.
    fn pause(&mut self, partition: Partition, paused: bool);

    /// Commits outputs and input positions together. `Ok` gives the outputs' places, in order.
    /// Any number of members may commit; for one partition only its present owner can.
    async fn commit(&mut self, transaction: Transaction) -> Result<Vec<Appended>, CommitError>;
}
