//! Every bound of the log on Kafka, on one page. Bytes unless the name says otherwise; times are real time.

use std::time::Duration;

/// The largest record the log takes: key and value together. The same as on the embedded log.
pub const RECORD_BYTES_MAX: usize = millrace_eventlog::limits::RECORD_BYTES_MAX;

/// The largest batch a topic must take (`max.message.bytes`): our largest record with all that Kafka adds to it.
pub const BATCH_BYTES_MAX: usize = 10 << 20;

/// What a record costs in flight beyond its key and value.
pub const RECORD_OVERHEAD_BYTES: usize = 256;

/// The records of all appends that were taken and not yet answered; further appends wait for room.
pub const IN_FLIGHT_BYTES: usize = 64 << 20;

/// Records that may be in flight, whatever their size.
pub const IN_FLIGHT_RECORDS_MAX: usize = 1_000_000;

/// How long an append may take once there is room for it; then it is unknown whether the log took it. Just below the
/// patience of ingest, so that the append's room is free again when its client has been answered.
pub const APPEND_TIMEOUT: Duration = Duration::from_millis(3_400);

/// How long a record waits for company before its batch is sent.
pub const LINGER: Duration = Duration::from_millis(2);

/// How long a transaction may be open before the broker aborts it.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one blocking call of a transaction waits before it is made again.
pub const TRANSACTION_CALL: Duration = Duration::from_secs(5);

/// After this long without an answer a call of a transaction is given up, and its client with it: librdkafka may never answer.
pub const TRANSACTION_CALL_LOST: Duration = Duration::from_secs(10);

/// How long a commit waits until its outputs can be read (its markers are written just after Kafka has answered).
pub const VISIBLE_PATIENCE: Duration = Duration::from_secs(1);

/// The pause between two looks at whether outputs can be read; doubled each time.
pub const VISIBLE_PAUSE: Duration = Duration::from_millis(1);

/// The pause before the outcome of a commit that broke off is asked for again.
pub const OUTCOME_PAUSE: Duration = Duration::from_millis(500);

/// How long a member of a group may be silent before its partitions are given to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a member says that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a group waits for a member that does not answer a rebalance, and how long a member may not poll.
pub const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a member looks whether its group has given every partition to somebody.
pub const COVER_EVERY: Duration = Duration::from_secs(10);

/// How long a member that leaves its group, to come back, waits until it has.
pub const LEAVING: Duration = Duration::from_secs(2);

/// How long a member may sit on a revoked partition before the partition is taken from it.
pub const REVOKED_PATIENCE: Duration = millrace_eventlog::limits::REVOKED_PATIENCE;

/// What a consumer is given of one partition in one delivery, in bytes of values.
pub const DELIVERY_BYTES: usize = millrace_eventlog::limits::DELIVERY_BYTES;

/// What waits for the owner of one member, of all its partitions.
pub const QUEUED_BYTES_MAX: usize = 16 << 20;

/// What a client has fetched ahead for a member or a reader.
pub const FETCHED_BYTES_MAX: usize = 8 << 20;

/// The most one fetch answers with.
pub const FETCH_BYTES_MAX: usize = 16 << 20;

/// How long a broker holds a fetch at the end of a partition. So long an end may take to be noticed.
pub const FETCH_WAIT: Duration = Duration::from_millis(100);

/// How long one poll of a member waits; what its owner asks for meanwhile (a start, a pause) waits as long.
pub const POLL: Duration = Duration::from_millis(20);

/// Records a member takes from its client before it looks at what its owner wants.
pub const POLL_RECORDS_MAX: usize = 5_000;

/// A member whose owner has not made room for this long stops its client from fetching.
pub const HELD_AFTER: Duration = Duration::from_secs(2);

/// How long one request for metadata or positions may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a member waits for one answer about its partitions. There is none while a partition has no leader, or a transaction
/// with its position is not decided, and the others must not wait for that.
pub const QUESTION_TIMEOUT: Duration = Duration::from_millis(500);

/// The pause before a question that kept a member from polling, and was not answered, is asked again.
pub const QUESTION_PAUSE: Duration = Duration::from_secs(1);

/// Positions that a member asks for at once where they are not answered together.
pub const POSITIONS_AT_ONCE: usize = 16;

/// How long opening waits for a broker.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a read waits for records that are known to be there.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a position must lie beyond the end, or a topic be unknown, before that is believed: a broker that has just
/// taken over may not know better.
pub const REGRESSED_AFTER: Duration = Duration::from_secs(1);

/// How long a topic must be unknown to the brokers before it counts as deleted.
pub const DELETED_AFTER: Duration = Duration::from_secs(5);

/// The pause before something that failed is tried again.
pub const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Readers with a client of their own; further reads wait for one.
pub const READERS_MAX: usize = 12;

/// A reader that nobody used for this long is closed.
pub const READER_IDLE_MAX: Duration = Duration::from_secs(30);

/// A member looks this often whether its topic is still there and its positions get on.
pub const WATCH_EVERY: Duration = Duration::from_secs(5);

/// A consumer that got nothing for this long although its partition has grown is made anew.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The pause before a member that was fenced by another with its name joins again; doubled each time.
pub const FENCED_PAUSE: Duration = Duration::from_secs(1);

/// The longest of those pauses.
pub const FENCED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often a log asks the brokers whether they are there, and serves what its clients report.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// An append that failed this long ago is no trouble any more if the brokers answer.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// How long closing waits for what is in flight, and for members to leave. A process that stops keeps so much of its
/// deadline for it, but no more than half.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest name of an instance, and the longest prefix.
pub const NAME_BYTES_MAX: usize = 100;

/// The fewest replicas of a record, outside of trying out.
pub const REPLICATION_MIN: u16 = 3;

/// The fewest of them that have it before it is acknowledged.
pub const IN_SYNC_MIN: u16 = 2;
