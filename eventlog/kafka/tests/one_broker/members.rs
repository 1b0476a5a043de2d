//! What a member of a group notices by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_eventlog::{Consumer, Delivery, Log, NewRecord, Partition, ReadError, Topic};
use millrace_eventlog_kafka::{KafkaLog, Options};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::support::{self, INPUT, SINGLE, admin, named};

pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
    let record = |n: usize| NewRecord { partition: 0, version: 1, key: "k".into(), value: n.to_string().into() };
    numbers.map(record).collect()
}

/// Joins a group, alone, for a topic of one partition, and reads from its beginning to its end.
async fn join_and_read(log: &Arc<KafkaLog>, topic: Topic) -> Box<dyn Consumer> {
    let mut member = log.subscribe("group", topic).await.unwrap();
    loop {
        match support::within(member.next()).await.unwrap() {
            Delivery::Assigned { partition, .. } => member.start(partition, 0),
            Delivery::End { .. } => return member,
            _ => {}
        }
    }
}

/// The error the member comes to, whatever it is told before.
async fn error_of(member: &mut Box<dyn Consumer>) -> ReadError {
    loop {
        match support::within(member.next()).await {
            // Its own record says 20: it does not trust the group.
            Ok(Delivery::Assigned { partition, .. }) => member.start(partition, 20),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

pub(crate) async fn a_topic_deleted_under_a_member_is_an_error_that_names_it(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    log.append(SINGLE, numbered(0..20)).await.unwrap();
    let mut member = join_and_read(&log, SINGLE).await;
    support::delete(&options, &named(&options, SINGLE)).await;
    match error_of(&mut member).await {
        ReadError::Regressed { topic, end, .. } => assert_eq!((topic, end), (SINGLE, 0)),
        other => panic!("the topic is gone: {other:?}"),
    }
    match support::within(log.read(SINGLE, 0, 0, 1)).await {
        Err(ReadError::Regressed { topic, .. }) => assert_eq!(topic, SINGLE),
        other => panic!("the topic is gone: {other:?}"),
    }
}

pub(crate) async fn a_topic_made_again_under_a_member_is_a_regressed_log(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    log.append(SINGLE, numbered(0..20)).await.unwrap();
    let mut member = join_and_read(&log, SINGLE).await;
    let name = named(&options, SINGLE);
    support::delete(&options, &name).await;
    let again = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    for made in admin(&options).create_topics(&[again], &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
    match error_of(&mut member).await {
        ReadError::Regressed { topic, from, end, .. } => assert!(topic == SINGLE && from == 20 && end < 20),
        other => panic!("20 records are gone: {other:?}"),
    }
}

pub(crate) async fn two_with_one_name_are_said_to_have_one(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let _member = join_and_read(&log, SINGLE).await;
    support::take_the_name(&options, "group", SINGLE, 0).await;
    let trouble = support::until("the member to notice", || async { log.trouble() }).await;
    assert!(trouble.contains("another process has the name tester-0"), "{trouble}");
    support::until("the member to be well again", || async { log.trouble().is_none().then_some(()) }).await;
}

pub(crate) async fn a_slow_owner_bounds_what_is_fetched_and_misses_nothing(bootstrap: String) {
    const RECORDS: usize = 60;
    let (_options, log) = support::make(&bootstrap, 1).await;
    // More than a member holds for its owner, or fetches ahead.
    for n in 0..RECORDS {
        let mut record = numbered(n..n + 1).remove(0);
        let mut value = n.to_string().into_bytes();
        value.resize(1 << 20, b' ');
        record.value = value.into();
        log.append(SINGLE, vec![record]).await.unwrap();
    }
    let mut member = log.subscribe("group", SINGLE).await.unwrap();
    let Delivery::Assigned { partition, .. } = support::within(member.next()).await.unwrap() else {
        panic!("it is alone")
    };
    member.start(partition, 0);
    // So long that the member stops its client, and must let it go on later.
    tokio::time::sleep(millrace_eventlog_kafka::limits::HELD_AFTER * 2).await;
    let mut got = 0;
    while got < RECORDS {
        match support::within(member.next()).await.unwrap() {
            Delivery::Records { records, .. } => {
                for record in records {
                    let text = String::from_utf8_lossy(&record.value).trim_end().to_owned();
                    assert_eq!(text, got.to_string(), "each comes once, in order");
                    got += 1;
                }
            }
            Delivery::End { .. } => {}
            other => panic!("only records are due: {other:?}"),
        }
    }
}

/// Told of nothing but assignments, what the member has is what it was told.
async fn hear(member: &mut Box<dyn Consumer>, held: &mut BTreeSet<Partition>) {
    match member.next().await.unwrap() {
        Delivery::Assigned { partition, .. } => {
            member.start(partition, 0);
            held.insert(partition);
        }
        Delivery::Revoked { partition } | Delivery::Lost { partition } => {
            held.remove(&partition);
        }
        Delivery::Records { .. } | Delivery::End { .. } => {}
    }
}

pub(crate) async fn what_a_member_that_died_halfway_left_to_nobody_is_given_to_somebody(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let dying = support::named_member(&options, "group", INPUT, 0).await;
    let others = support::open(&Options { instance: "other".into(), ..options.clone() }).await;
    let mut other = others.subscribe("group", INPUT).await.unwrap();
    // It is told to let go of some of its partitions, so that the other one can have them, and dies before it has said that it did.
    support::members_at_rest(&options, "group", 2).await;
    tokio::task::spawn_blocking(move || drop(dying)).await.unwrap();
    let mut successor = log.subscribe("group", INPUT).await.unwrap();
    let (mut of_other, mut of_successor) = (BTreeSet::new(), BTreeSet::new());
    let all_are_somebodys = async {
        while of_other.len() + of_successor.len() < 4 {
            tokio::select! {
                () = hear(&mut other, &mut of_other) => {}
                () = hear(&mut successor, &mut of_successor) => {}
            }
        }
    };
    support::within(all_are_somebodys).await;
}
