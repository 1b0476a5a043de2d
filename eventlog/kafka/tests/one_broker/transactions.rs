//! What others can do to a transaction.

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{CommitError, Committed, Consumer, Delivery, Log, NewRecord, Transaction};
use millrace_eventlog_kafka::limits::REQUEST_TIMEOUT;
use millrace_eventlog_kafka::{KafkaLog, Options};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::support::{self, DEADLINE, INPUT, OUTPUT, begin, blocking, client, named};

fn output(text: &str) -> (millrace_eventlog::Topic, NewRecord) {
    (OUTPUT, NewRecord { partition: 0, version: 1, key: "k".into(), value: text.to_owned().into() })
}

fn transaction(text: &str) -> Transaction {
    Transaction { outputs: vec![output(text)], inputs: vec![(0, Committed { next: 0, metadata: text.into() })] }
}

/// The transactional id of the group's first member in this process.
fn own_id(options: &Options) -> String {
    format!("{}group.{}-0", options.prefix, options.instance)
}

async fn join(log: &Arc<KafkaLog>) -> Box<dyn Consumer> {
    let mut member = log.subscribe("group", INPUT).await.unwrap();
    assigned(&mut member).await;
    member
}

/// Until all four partitions are (again) the member's.
async fn assigned(member: &mut Box<dyn Consumer>) {
    let mut assigned = 0;
    while assigned < 4 {
        if let Delivery::Assigned { .. } = support::within(member.next()).await.unwrap() {
            assigned += 1;
        }
    }
}

async fn texts(log: &Arc<KafkaLog>) -> Vec<String> {
    let end = log.extent(OUTPUT, 0).await.unwrap().end;
    let (mut from, mut texts) = (0, Vec::new());
    while from < end {
        let chunk = log.read(OUTPUT, 0, from, usize::MAX).await.unwrap();
        texts.extend(chunk.records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()));
        from = chunk.next;
    }
    texts
}

pub(crate) async fn what_a_zombie_left_open_is_never_seen(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    // A process of the same name that stopped in the middle of a transaction.
    let id = own_id(&options);
    let zombie = support::transactional(&options, &id).await;
    begin(&options, &zombie, &[output("zombie")]).await;
    let mut member = join(&log).await;
    support::within(member.commit(transaction("owner"))).await.unwrap();
    assert_eq!(texts(&log).await, ["owner"]);
    let late = blocking(&zombie, |zombie| zombie.commit_transaction(Duration::from_secs(10))).await;
    late.expect_err("its time is over");
    assert_eq!(texts(&log).await, ["owner"]);
}

pub(crate) async fn a_transaction_nobody_ends_is_over_in_the_end(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let _dead = outlived(&options, &format!("{}dead", options.prefix)).await;
    log.append(OUTPUT, vec![output("after").1]).await.unwrap();
    let extent = log.extent(OUTPUT, 0).await.unwrap();
    assert_eq!(extent.end, 0, "behind an open transaction nothing is readable");
    assert!(texts(&log).await.is_empty());
    // Woken by the broker's ending it, past its timeout.
    support::within(log.grown(OUTPUT, 0, extent.end, support::DEADLINE * 2)).await;
    assert_eq!(texts(&log).await, ["after"]);
}

/// A process that goes on longer than its transaction may: the broker ends that after a second.
async fn outlived(options: &Options, id: &str) -> FutureProducer {
    let mut config = client(options);
    config.set("transactional.id", id).set("transaction.timeout.ms", "1000").set("message.timeout.ms", "1000");
    let producer: FutureProducer = config.create().unwrap();
    blocking(&producer, |producer| producer.init_transactions(DEADLINE).unwrap()).await;
    begin(options, &producer, &[output("dead")]).await;
    producer
}

/// A process that died in a transaction, with the group's position in `INPUT/0` in it. The broker ends it after all tests.
async fn died(options: &Options, id: &str) -> FutureProducer {
    let mut config = client(options);
    config.set("transactional.id", id).set("transaction.timeout.ms", "120000");
    let dead: FutureProducer = config.create().unwrap();
    blocking(&dead, |dead| dead.init_transactions(DEADLINE).unwrap()).await;
    begin(options, &dead, &[output("dead")]).await;
    let mut config = client(options);
    config.set("group.id", format!("{}group", options.prefix));
    let group: BaseConsumer = config.create().unwrap();
    let metadata = group.group_metadata().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&named(options, INPUT), 0, rdkafka::Offset::Offset(7)).unwrap();
    blocking(&dead, move |dead| dead.send_offsets_to_transaction(&offsets, &metadata, DEADLINE).unwrap()).await;
    dead
}

pub(crate) async fn an_undecided_transaction_keeps_nobody_else_waiting(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let dead = died(&options, &format!("{}dead", options.prefix)).await;
    let mut member = log.subscribe("group", INPUT).await.unwrap();
    let mut assigned = Vec::new();
    while assigned.len() < 3 {
        if let Delivery::Assigned { partition, .. } = support::within(member.next()).await.unwrap() {
            assigned.push(partition);
            member.start(partition, 0);
        }
    }
    assigned.sort_unstable();
    assert_eq!(assigned, [1, 2, 3], "where 0 goes on is not decided");
    let flowing = async {
        for _ in 0..3 {
            let record = NewRecord { partition: 1, ..output("flows").1 };
            log.append(INPUT, vec![record]).await.unwrap();
            while !matches!(member.next().await.unwrap(), Delivery::Records { .. }) {}
        }
    };
    tokio::time::timeout(REQUEST_TIMEOUT * 2, flowing).await.expect("the others flow");
    blocking(&dead, |dead| dead.abort_transaction(DEADLINE).unwrap()).await;
    loop {
        if let Delivery::Assigned { partition, committed } = support::within(member.next()).await.unwrap() {
            assert_eq!((partition, committed), (0, None), "decided: nothing was committed");
            return;
        }
    }
}

pub(crate) async fn a_member_that_joins_ends_what_its_name_left_open(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let _dead = died(&options, &own_id(&options)).await;
    // It has all partitions without a commit of its own.
    join(&log).await;
}

pub(crate) async fn a_producer_that_was_fenced_is_made_anew(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let mut member = join(&log).await;
    support::within(member.commit(transaction("first"))).await.unwrap();
    let id = own_id(&options);
    let _other = support::transactional(&options, &id).await;
    match support::within(member.commit(transaction("fenced"))).await {
        Err(CommitError::Fenced { partitions, .. }) => assert_eq!(partitions, [0]),
        other => panic!("another has its name: {other:?}"),
    }
    assigned(&mut member).await;
    support::within(member.commit(transaction("second"))).await.unwrap();
    assert_eq!(texts(&log).await, ["first", "second"]);
}

pub(crate) async fn what_may_be_open_in_a_partition_is_ended_before_the_first_commit_there(bootstrap: String) {
    let (_options, log) = support::make(&bootstrap, 1).await;
    let mut member = join(&log).await;
    let first = support::within(member.commit(transaction("first"))).await.unwrap();
    let second = support::within(member.commit(transaction("second"))).await.unwrap();
    // A record that is never read and the marker of its abort stand before the first output; after it, its own marker alone.
    assert_eq!((first[0].offset, second[0].offset), (2, 4));
    assert_eq!(texts(&log).await, ["first", "second"]);
}

pub(crate) async fn a_commit_that_was_made_and_not_answered_is_told_as_committed(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    log.append(OUTPUT, vec![output("before").1]).await.unwrap();
    let at = support::end(&options, OUTPUT, 0).await;
    let committed = support::transactional(&options, &own_id(&options)).await;
    begin(&options, &committed, &[output("made")]).await;
    blocking(&committed, |committed| committed.commit_transaction(DEADLINE).unwrap()).await;
    support::within(log.levers().settle(&own_id(&options), OUTPUT, 0, at)).await.unwrap();
    assert_eq!(texts(&log).await, ["before", "made"]);
}

pub(crate) async fn a_commit_that_never_arrived_is_told_as_fenced_and_its_outputs_are_never_read(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let at = support::end(&options, OUTPUT, 0).await;
    let dead = died(&options, &own_id(&options)).await;
    // Nobody else ends it: whoever decides has to.
    let told = support::within(log.levers().settle(&own_id(&options), OUTPUT, 0, at)).await;
    assert!(matches!(told, Err(CommitError::Fenced { .. })), "{told:?}");
    let late = blocking(&dead, |dead| dead.commit_transaction(DEADLINE)).await;
    late.expect_err("it is decided");
    log.append(OUTPUT, vec![output("after").1]).await.unwrap();
    assert_eq!(texts(&log).await, ["after"]);
}

pub(crate) async fn a_commit_past_its_timeout_is_told_as_fenced_and_its_outputs_are_never_read(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let at = support::end(&options, OUTPUT, 0).await;
    let outlived = outlived(&options, &own_id(&options)).await;
    // Right behind it: what a look at its place reads first must not be taken for it.
    log.append(OUTPUT, vec![output("after").1]).await.unwrap();
    // Woken by the broker's ending it.
    support::within(log.grown(OUTPUT, 0, at, DEADLINE * 2)).await;
    let late = blocking(&outlived, |outlived| outlived.commit_transaction(DEADLINE)).await;
    late.expect_err("the broker has ended it");
    let told = support::within(log.levers().settle(&own_id(&options), OUTPUT, 0, at)).await;
    assert!(matches!(told, Err(CommitError::Fenced { .. })), "{told:?}");
    assert_eq!(texts(&log).await, ["after"]);
}

pub(crate) async fn a_record_too_large_for_a_transaction_aborts_it(bootstrap: String) {
    let (_options, log) = support::make(&bootstrap, 1).await;
    let mut member = join(&log).await;
    let mut too_large = transaction("small");
    too_large.outputs.push((OUTPUT, NewRecord { value: vec![7; 64 << 20].into(), ..output("").1 }));
    let error = support::within(member.commit(too_large)).await.unwrap_err();
    assert!(matches!(error, CommitError::Aborted(_)), "{error}");
    support::within(member.commit(transaction("after"))).await.unwrap();
    assert_eq!(texts(&log).await, ["after"]);
}
