//! The suite every log must pass.
//!
//! A [`Rig`] is one fresh log with three empty topics and a few levers. Each [`Check`] gets a rig of its own and panics if
//! the log does not keep its word; [`checks`] lists them all. Nothing here knows which log it is talking to, and nothing
//! counts on dense offsets, on append times that rise, or on being the only one who appends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Appended, Chunk, Committed, Consumer, Delivery, Log, NewRecord, Offset, Partition, ReadError, Record, Topic,
};

mod appends;
mod groups;
mod reading;
mod transactions;

/// How long a check waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The topics of a rig. They are its own and empty.
#[derive(Debug, Clone, Copy)]
pub struct Topics {
    /// Four partitions.
    pub input: Topic,
    /// Four partitions.
    pub output: Topic,
    /// One partition.
    pub single: Topic,
}

/// A log under test.
#[async_trait]
pub trait Rig: Send + Sync {
    /// The log. After [`Rig::reopen`], ask again.
    fn log(&self) -> Arc<dyn Log>;

    /// Its topics.
    fn topics(&self) -> Topics;

    /// Stops using the log and opens it anew, as a restarted process would.
    async fn reopen(&mut self);

    /// Writes these in one transaction that is aborted in the end.
    async fn abort(&self, outputs: Vec<(Topic, NewRecord)>);

    /// Revokes a partition from the member that owns it, in good order, and assigns it anew. A log that revokes whole
    /// members does so with all the member has.
    async fn revoke(&self, group: &str, topic: Topic, partition: Partition);

    /// Takes a partition from the member that owns it without asking, and assigns it anew; or all the member has, as above.
    async fn lose(&self, group: &str, topic: Topic, partition: Partition);

    /// Removes what lies below `before`.
    async fn trim(&self, topic: Topic, partition: Partition, before: Offset);

    /// Moves the clock the log takes its append times from: forward as time passes, backward as a wrong time server would.
    /// `false`: this rig cannot, and the check has nothing to say.
    fn shift_clock(&self, by_ms: i64) -> bool;
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One promise of the interface.
pub struct Check {
    /// The promise, as a sentence.
    pub name: &'static str,
    run: fn(Box<dyn Rig>) -> Running,
}

impl Check {
    /// Tries the promise on a fresh rig. Panics if it is not kept.
    pub async fn run(&self, rig: Box<dyn Rig>) {
        (self.run)(rig).await;
    }
}

macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$(Check { name: stringify!($name), run: |rig| Box::pin($module::$name(rig)) }),*]
    };
}

/// Every check.
#[must_use]
pub fn checks() -> Vec<Check> {
    checks![
        appends::records_come_back_in_order_with_all_they_had,
        appends::an_append_over_several_partitions_answers_in_the_order_given,
        appends::the_append_times_answered_are_those_read,
        appends::acknowledged_records_are_there_after_reopening,
        appends::concurrent_appends_lose_and_reorder_nothing,
        appends::a_record_that_is_too_large_takes_its_whole_append_with_it,
        appends::an_empty_append_does_nothing,
        reading::a_read_is_bounded_but_never_empty_before_the_end,
        reading::reading_at_the_end_gives_nothing,
        reading::a_position_beyond_the_end_is_a_regressed_log,
        reading::a_position_before_the_start_is_a_truncated_log,
        reading::a_position_inside_a_gap_reads_on_behind_it,
        reading::a_follower_wakes_when_its_partition_grows,
        reading::a_time_finds_the_first_record_at_or_after_it,
        reading::append_times_may_go_back,
        groups::a_lone_member_gets_every_partition,
        groups::an_end_is_said_once_each_time_it_is_reached,
        groups::a_start_goes_back_and_forth,
        groups::a_start_outside_the_log_is_an_error_of_next,
        groups::a_paused_partition_is_silent_and_then_goes_on,
        groups::a_delivery_that_was_not_waited_for_is_not_lost,
        groups::a_second_member_gets_its_share_after_the_first_let_go,
        groups::what_a_member_leaves_goes_to_those_who_stay,
        groups::a_revoked_partition_may_still_be_committed,
        groups::a_lost_partition_is_fenced_at_commit,
        groups::groups_do_not_disturb_each_other,
        transactions::outputs_and_positions_are_committed_together,
        transactions::a_committed_position_survives_reopening,
        transactions::a_transaction_spans_topics_and_partitions,
        transactions::an_aborted_transaction_is_never_seen,
        transactions::a_fenced_transaction_is_never_seen,
        transactions::a_transaction_may_have_no_outputs_or_no_inputs,
        transactions::offsets_are_not_dense,
    ]
}

pub(crate) fn record(partition: Partition, value: impl Into<Bytes>) -> NewRecord {
    NewRecord { partition, version: 1, key: Bytes::from_static(b"key"), value: value.into() }
}

pub(crate) fn numbered(partition: Partition, numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
    numbers.map(|number| record(partition, number.to_string())).collect()
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

async fn append(log: &Arc<dyn Log>, topic: Topic, records: Vec<NewRecord>) -> Vec<Appended> {
    within("an append", log.append(topic, records)).await.expect("the log takes records")
}

async fn read(log: &Arc<dyn Log>, topic: Topic, partition: Partition, from: Offset) -> Chunk {
    within("a read", log.read(topic, partition, from, usize::MAX)).await.expect("the position is in the log")
}

/// Everything a partition holds from `from` to its end.
async fn all(log: &Arc<dyn Log>, topic: Topic, partition: Partition, from: Offset) -> Vec<Record> {
    let end = log.extent(topic, partition).await.expect("the partition is there").end;
    let mut records = Vec::new();
    let mut next = from;
    while next < end {
        let chunk = read(log, topic, partition, next).await;
        assert!(chunk.next > next, "a read before the end gets on");
        records.extend(chunk.records);
        next = chunk.next;
    }
    records
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {DEADLINE:?}"))
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    next_or_error(consumer).await.expect("deliveries go on")
}

async fn next_or_error(consumer: &mut Box<dyn Consumer>) -> Result<Delivery, ReadError> {
    within("a delivery", consumer.next()).await
}

async fn join(log: &Arc<dyn Log>, group: &str, topic: Topic) -> Box<dyn Consumer> {
    within("joining", log.subscribe(group, topic)).await.expect("the group takes members")
}

/// Joins a group alone and waits until every partition is assigned; starts each at `from`.
async fn join_alone(log: &Arc<dyn Log>, group: &str, topic: Topic, from: Offset) -> Box<dyn Consumer> {
    let mut consumer = join(log, group, topic).await;
    for _ in 0..log.partitions(topic) {
        match next(&mut consumer).await {
            Delivery::Assigned { partition, .. } => consumer.start(partition, from),
            other => panic!("before its partitions are assigned a member hears nothing else: {other:?}"),
        }
    }
    consumer
}

/// Delivers until every partition of `partitions` has said its end; gives what came of each.
async fn drain(consumer: &mut Box<dyn Consumer>, partitions: u32) -> Vec<Vec<Record>> {
    let mut delivered = vec![Vec::new(); partitions as usize];
    let mut ended = vec![false; partitions as usize];
    while !ended.iter().all(|ended| *ended) {
        match next(consumer).await {
            Delivery::Records { partition, records, .. } => delivered[partition as usize].extend(records),
            Delivery::End { partition, .. } => ended[partition as usize] = true,
            other => panic!("only records and ends are due: {other:?}"),
        }
    }
    delivered
}

fn at(next: Offset, metadata: &str) -> Committed {
    Committed { next, metadata: metadata.to_owned() }
}
