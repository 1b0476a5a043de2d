//! A conversion that waits for the decisions it may belong to.

use std::sync::Arc;

use bytes::Bytes;
use millrace_eventlog::Offset;

use super::assignment::Treatment;
use super::digest::Digest;

/// One entry of the held queue. Events are kept as their bytes: a queue of a minute is long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    /// Of the raw record.
    pub(crate) offset: Offset,
    /// Log time of the raw record: the row's `process_timestamp`.
    pub(crate) arrival_ms: i64,
    pub(crate) visitor: Digest,
    /// The event's own timestamp.
    pub(crate) timestamp_ms: i64,
    /// The session it joined on arrival.
    pub(crate) session: i32,
    /// The session id its client sent.
    pub(crate) sent_session: Option<Box<str>>,
    /// How many experiments of the visitor had been seen on arrival: its own snapshot's come after those.
    pub(crate) experiments_seen: u32,
    /// False: only its own snapshot counts.
    pub(crate) enrich: bool,
    /// Its own snapshot's decisions.
    pub(crate) snapshot: Box<[Arc<Treatment>]>,
    /// The raw record's key.
    pub(crate) key: Bytes,
    /// The event, encoded.
    pub(crate) event: Bytes,
}
