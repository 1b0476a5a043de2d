//! The stored forms. Tags are never used again for something else; what cannot be read is made again from the log.

use bytes::Bytes;
use millrace_schemas::raw::Settings;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredHead {
    #[prost(int64, tag = "1")]
    pub(super) log_time_ms: i64,
    #[prost(uint64, tag = "2")]
    pub(super) folded: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) settings: Option<Settings>,
    #[prost(int64, tag = "4")]
    pub(super) seen_hour: i64,
    #[prost(int64, tag = "5")]
    pub(super) session_ms: i64,
    #[prost(int64, tag = "6")]
    pub(super) assignment_ms: i64,
    #[prost(int64, tag = "7")]
    pub(super) decided_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredVisitor {
    #[prost(message, optional, tag = "1")]
    pub(super) session: Option<StoredSession>,
    #[prost(message, repeated, tag = "2")]
    pub(super) assignments: Vec<StoredAssignment>,
    #[prost(uint32, tag = "3")]
    pub(super) experiments_seen: u32,
    #[prost(int64, optional, tag = "4")]
    pub(super) decided_ms: Option<i64>,
    #[prost(int64, tag = "5")]
    pub(super) minute: i64,
    #[prost(uint32, tag = "6")]
    pub(super) minute_events: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StoredSession {
    #[prost(int64, tag = "1")]
    pub(super) start_ms: i64,
    #[prost(int64, tag = "2")]
    pub(super) last_ms: i64,
    #[prost(int64, tag = "3")]
    pub(super) joined_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredAssignment {
    #[prost(uint32, tag = "1")]
    pub(super) ordinal: u32,
    #[prost(int64, tag = "2")]
    pub(super) made_ms: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) runs: Vec<StoredRun>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredRun {
    #[prost(message, optional, tag = "1")]
    pub(super) treatment: Option<StoredTreatment>,
    #[prost(int64, tag = "2")]
    pub(super) first_ms: i64,
    #[prost(int64, tag = "3")]
    pub(super) last_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredTreatment {
    #[prost(string, optional, tag = "1")]
    pub(super) campaign_id: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) experiment_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) variation_id: Option<String>,
    #[prost(bool, optional, tag = "4")]
    pub(super) is_holdback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredHeld {
    #[prost(int64, tag = "1")]
    pub(super) arrival_ms: i64,
    #[prost(sint32, tag = "2")]
    pub(super) session: i32,
    #[prost(uint32, tag = "3")]
    pub(super) experiments_seen: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) event: Bytes,
}
