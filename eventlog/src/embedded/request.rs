//! What callers ask of the writer.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::group::InFlight;
use crate::{AppendError, Appended, Committed, NewRecord, Offset, Topic};

/// Records on their way in.
pub(super) enum Outputs {
    /// All to one topic.
    One(Topic, Vec<NewRecord>),
    /// To several.
    Many(Vec<(Topic, NewRecord)>),
}

impl Default for Outputs {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Outputs {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Topic, &NewRecord)> {
        let one = if let Self::One(topic, records) = self { Some((*topic, records.as_slice())) } else { None };
        let many = if let Self::Many(records) = self { records.as_slice() } else { &[] };
        let one = one.into_iter().flat_map(|(topic, records)| records.iter().map(move |record| (topic, record)));
        one.chain(many.iter().map(|(topic, record)| (*topic, record)))
    }
}

/// What a request asks for.
#[derive(Default)]
pub(super) struct Work {
    pub(super) outputs: Outputs,
    /// Is it a transaction? Those skip an offset in each partition they write.
    pub(super) transaction: bool,
    /// Take the offsets, write no record: what an aborted transaction leaves behind.
    pub(super) aborted: bool,
    /// Group positions, by their key in the store.
    pub(super) positions: Vec<(Vec<u8>, Committed)>,
    /// Move a partition's start.
    pub(super) trim: Option<(usize, Offset)>,
    /// Keeps input partitions from being handed on while the commit is under way.
    pub(super) in_flight: Option<InFlight>,
}

/// Work with somebody waiting for its answer.
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
    /// Its share of the queue, given back with the answer.
    pub(super) _room: OwnedSemaphorePermit,
}
