//! The records one request becomes: events and rejects, encoded one after the other into one buffer.

use bytes::Bytes;
use millrace_eventlog::{NewRecord, Partition};
use millrace_schemas::codec::Versioned;
use millrace_schemas::partition;
use millrace_schemas::raw::{Raw, Reject, raw};
use millrace_schemas::raw_encode::{EventRef, encode_raw};
use millrace_schemas::reasons::TOO_LARGE;
use prost::Message;

use crate::limits::{EVENT_BYTES_MAX, ORIGINAL_BYTES_MAX, RECORDS_BYTES_MAX};
use crate::problem::{Broken, Problem};
use crate::refusal::{BadEvent, Refusal};

/// An event that carries more than an event may.
pub(crate) const LARGE: Broken = Broken {
    reason: TOO_LARGE,
    rule: "at most 262144 bytes, as sent and with all that is recorded of it; of a larger one the first 262144 bytes are kept",
};

/// What all records of one request share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) request_id: &'a str,
    /// Our clock, ms since 1970.
    pub(crate) witness_ms: i64,
    /// Of the raw topic.
    pub(crate) partitions: u32,
}

/// Collects the records of a request.
pub(crate) struct Records<'a> {
    shared: Shared<'a>,
    buffer: Vec<u8>,
    ends: Vec<Ends>,
    accepted: u32,
    bad: Vec<BadEvent>,
}

/// Where a record's key and value end in the buffer; each begins where the one before ends.
struct Ends {
    partition: Partition,
    key: usize,
    value: usize,
}

/// Something that could not be used, as it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejected<'a> {
    /// "" where it did not parse.
    pub(crate) visitor_id: &'a str,
    pub(crate) uuid: Option<&'a str>,
    /// As sent.
    pub(crate) original: &'a str,
}

impl<'a> Records<'a> {
    /// For a body of that size.
    pub(crate) fn new(shared: Shared<'a>, body_bytes: usize) -> Self {
        Self { shared, buffer: Vec::with_capacity(body_bytes * 5 / 4), ends: Vec::new(), accepted: 0, bad: Vec::new() }
    }

    /// Adds an event. `Ok(Err)`: it carries too much, and was not added.
    pub(crate) fn event(&mut self, event: &EventRef<'_>) -> Result<Result<(), Problem>, Refusal> {
        let start = self.buffer.len();
        let key = self.key(event.visitor_id);
        encode_raw(self.shared.witness_ms, event, &mut self.buffer);
        if self.buffer.len() - key > EVENT_BYTES_MAX {
            self.buffer.truncate(start);
            return Ok(Err(Problem { field: String::new(), broken: LARGE }));
        }
        self.end(event.visitor_id, key)?;
        self.accepted += 1;
        Ok(Ok(()))
    }

    /// Adds a reject. `field` is its path from the body's root.
    pub(crate) fn reject(&mut self, rejected: Rejected<'_>, field: String, broken: Broken) -> Result<(), Refusal> {
        let position = self.accepted + u32::try_from(self.bad.len()).unwrap_or(u32::MAX);
        let Shared { account_id, source, request_id, witness_ms, .. } = self.shared;
        let original = rejected.original.as_bytes();
        let original = &original[..original.len().min(ORIGINAL_BYTES_MAX)];
        let reject = Reject {
            account_id: account_id.into(),
            visitor_id: rejected.visitor_id.into(),
            uuid: rejected.uuid.map(Into::into),
            reason: broken.reason.into(),
            field: field.clone(),
            rule: broken.rule.into(),
            original: Bytes::copy_from_slice(original),
            position,
            source: source.into(),
            request_id: request_id.into(),
        };
        let raw = Raw { witness_ms, body: Some(raw::Body::Reject(reject)) };
        let key = self.key(rejected.visitor_id);
        // A Vec grows: encoding cannot fail.
        let _ = raw.encode(&mut self.buffer);
        self.end(rejected.visitor_id, key)?;
        self.bad.push(BadEvent { position, field, reason: broken.reason, rule: broken.rule });
        Ok(())
    }

    fn key(&mut self, visitor_id: &str) -> usize {
        self.buffer.extend_from_slice(self.shared.account_id.as_bytes());
        self.buffer.push(0);
        self.buffer.extend_from_slice(visitor_id.as_bytes());
        self.buffer.len()
    }

    fn end(&mut self, visitor_id: &str, key: usize) -> Result<(), Refusal> {
        if self.buffer.len() > RECORDS_BYTES_MAX {
            return Err(Refusal::TooMuch(
                "The events, each with all it carries, come to more than 16 MiB: send fewer at once",
            ));
        }
        let partition = partition::of_visitor(self.shared.account_id, visitor_id, self.shared.partitions);
        self.ends.push(Ends { partition, key, value: self.buffer.len() });
        Ok(())
    }

    pub(crate) fn finish(self) -> Prepared {
        let all = Bytes::from(self.buffer);
        let mut start = 0;
        let records = self.ends.into_iter().map(|Ends { partition, key, value }| {
            let from = std::mem::replace(&mut start, value);
            NewRecord { partition, version: Raw::VERSION, key: all.slice(from..key), value: all.slice(key..value) }
        });
        Prepared { records: records.collect(), bytes: all.len(), accepted: self.accepted, bad: self.bad }
    }
}

/// A request's records, ready to be appended.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// In the order of the batch.
    pub(crate) records: Vec<NewRecord>,
    /// What they hold together.
    pub(crate) bytes: usize,
    /// How many are events; the others are rejects.
    pub(crate) accepted: u32,
    /// One per reject.
    pub(crate) bad: Vec<BadEvent>,
}
