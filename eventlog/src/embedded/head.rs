//! The commit record: what the last commit left behind, stored in the same atomic batch as its records.

use std::time::Duration;

use prost::Message;

/// The key under which every commit writes its record.
pub(super) const COMMIT_KEY: &[u8] = b"\0millrace.commit";

/// Where a partition starts and ends.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Extents {
    /// The first position that can still be read.
    #[prost(uint64, tag = "1")]
    pub(super) start: u64,
    /// The position after everything.
    #[prost(uint64, tag = "2")]
    pub(super) end: u64,
}

/// What is known of one partition after a commit.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Span {
    /// The first position that can still be read.
    #[prost(uint64, tag = "1")]
    pub(super) start: u64,
    /// The position after everything.
    #[prost(uint64, tag = "2")]
    pub(super) end: u64,
    /// Records ever appended.
    #[prost(uint64, tag = "3")]
    pub(super) records: u64,
    /// The append time of the last record, if there ever was one.
    #[prost(sint64, optional, tag = "4")]
    pub(super) last_time_ms: Option<i64>,
    /// The largest append time, if there ever was a record.
    #[prost(sint64, optional, tag = "5")]
    pub(super) max_time_ms: Option<i64>,
}

impl Span {
    pub(super) fn extents(self) -> Extents {
        Extents { start: self.start, end: self.end }
    }
}

/// What the clock may show, as of some moment of the machine's uptime.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Anchor {
    /// The wall clock expected at that moment, ms.
    #[prost(sint64, tag = "1")]
    pub(super) expected_ms: i64,
    /// Which boot of the machine.
    #[prost(string, tag = "2")]
    pub(super) boot_id: String,
    /// The moment: time since that boot, suspended time included, in ns.
    #[prost(uint64, tag = "3")]
    pub(super) since_boot_ns: u64,
}

impl Anchor {
    pub(super) fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.since_boot_ns)
    }
}

/// The record of one commit. Numbers are dense: 1, 2, 3, …; together they are the log's commit chain.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Commit {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    /// Every partition of every topic, in the order of the log's topics.
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
    /// The clock.
    #[prost(message, optional, tag = "3")]
    pub(super) anchor: Option<Anchor>,
}

/// A group's committed position, stored under `group`, 0x00, `topic/partition`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StoredPosition {
    #[prost(uint64, tag = "1")]
    pub(super) next: u64,
    #[prost(string, tag = "2")]
    pub(super) metadata: String,
}
