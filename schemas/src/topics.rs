//! The topics by name. How many partitions each has is decided when a log is made.

/// Events as accepted, rejects, settings, ticks. Partitioned by account and visitor.
pub const RAW: &str = "millrace.raw";
/// One outcome per raw event or reject, and watermarks. The same partition number as the raw record.
pub const ENRICHED: &str = "millrace.enriched";
/// Facts: who and what exists. One partition.
pub const ACCESS: &str = "millrace.access";
/// Who tried what. Partitioned by account.
pub const AUDIT: &str = "millrace.audit";

/// The partitions of raw, enriched and audit of an embedded log.
pub const PARTITIONS_EMBEDDED: u32 = 4;
/// The partitions of raw, enriched and audit on Kafka, unless set when the log is made.
pub const PARTITIONS_KAFKA: u32 = 64;
