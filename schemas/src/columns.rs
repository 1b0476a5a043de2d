//! The columns of each exported type, as plain data. exporter/write makes Arrow of it, so that nobody else compiles Arrow.
//!
//! Order is part of the format. Columns are only ever appended; every column is nullable.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// INT64 TIMESTAMP_MILLIS, UTC.
    Timestamp,
    /// BOOLEAN.
    Bool,
    /// INT64.
    Int,
    /// DOUBLE.
    Double,
    /// BYTE_ARRAY without a logical type.
    Binary,
    /// LIST of STRUCT; empty when there is nothing, never null.
    List(&'static [Column]),
    /// MAP of text to text; empty when there is nothing, never null.
    TextMap,
}

/// One column: its name and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name in the file.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

const fn col(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// An attribute of a visitor.
pub const ATTRIBUTE: &[Column] =
    &[col("id", Kind::Text), col("name", Kind::Text), col("type", Kind::Text), col("value", Kind::Text)];

/// An experiment a conversion is attributed to.
pub const EXPERIMENT: &[Column] = &[
    col("campaign_id", Kind::Text),
    col("experiment_id", Kind::Text),
    col("variation_id", Kind::Text),
    col("is_holdback", Kind::Bool),
];

/// `type=decisions`: one row per decision.
pub const DECISIONS: &[Column] = &[
    col("uuid", Kind::Text),
    col("timestamp", Kind::Timestamp),
    col("process_timestamp", Kind::Timestamp),
    col("visitor_id", Kind::Text),
    col("session_id", Kind::Text),
    col("account_id", Kind::Text),
    col("campaign_id", Kind::Text),
    col("experiment_id", Kind::Text),
    col("variation_id", Kind::Text),
    col("attributes", Kind::List(ATTRIBUTE)),
    col("user_ip", Kind::Text),
    col("user_agent", Kind::Text),
    col("referer", Kind::Text),
    col("is_holdback", Kind::Bool),
    col("revision", Kind::Text),
    col("client_engine", Kind::Text),
    col("client_version", Kind::Text),
];

/// `type=events`: one row per conversion.
pub const EVENTS: &[Column] = &[
    col("uuid", Kind::Text),
    col("timestamp", Kind::Timestamp),
    col("process_timestamp", Kind::Timestamp),
    col("visitor_id", Kind::Text),
    col("session_id", Kind::Text),
    col("account_id", Kind::Text),
    col("experiments", Kind::List(EXPERIMENT)),
    col("entity_id", Kind::Text),
    col("attributes", Kind::List(ATTRIBUTE)),
    col("user_ip", Kind::Text),
    col("user_agent", Kind::Text),
    col("referer", Kind::Text),
    col("event_type", Kind::Text),
    col("event_name", Kind::Text),
    col("revenue", Kind::Int),
    col("value", Kind::Double),
    col("quantity", Kind::Int),
    col("tags", Kind::TextMap),
    col("revision", Kind::Text),
    col("client_engine", Kind::Text),
    col("client_version", Kind::Text),
    col("properties", Kind::TextMap),
];

/// `rejected/`: one row per reject or dead letter.
pub const REJECTED: &[Column] = &[
    col("uuid", Kind::Text),
    col("process_timestamp", Kind::Timestamp),
    col("account_id", Kind::Text),
    col("visitor_id", Kind::Text),
    col("outcome", Kind::Text),
    col("reason", Kind::Text),
    col("field", Kind::Text),
    col("request_id", Kind::Text),
    col("source", Kind::Text),
    col("position", Kind::Int),
    col("original", Kind::Binary),
];

/// `audit/`: one row per audit entry.
pub const AUDIT: &[Column] = &[
    col("timestamp", Kind::Timestamp),
    col("account_id", Kind::Text),
    col("actor_kind", Kind::Text),
    col("actor_id", Kind::Text),
    col("action", Kind::Text),
    col("target_kind", Kind::Text),
    col("target_id", Kind::Text),
    col("outcome", Kind::Text),
    col("source_ip", Kind::Text),
    col("user_agent", Kind::Text),
    col("request_id", Kind::Text),
    col("count", Kind::Int),
    col("detail", Kind::Text),
];
