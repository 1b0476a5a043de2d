//! What a member of a group can rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Rig, all, append, at, drain, join, join_alone, next, next_or_error, numbered, texts, within};
use crate::{CommitError, Consumer, Delivery, Partition, ReadError, Transaction};

pub(super) async fn a_lone_member_gets_every_partition(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    for partition in 0..4 {
        append(&log, topic, numbered(partition, 0..(partition as usize + 1) * 10)).await;
    }
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    let delivered = drain(&mut consumer, 4).await;
    for partition in 0..4 {
        assert_eq!(delivered[partition as usize], all(&log, topic, partition, 0).await, "as a read gives them");
    }
}

pub(super) async fn an_end_is_said_once_each_time_it_is_reached(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    assert!(matches!(next(&mut consumer).await, Delivery::End { partition: 0, .. }), "an empty partition has an end");
    for round in 0..3 {
        let quiet = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await;
        assert!(quiet.is_err(), "nothing more to say: {quiet:?}");
        append(&log, topic, numbered(0, round..round + 1)).await;
        match next(&mut consumer).await {
            Delivery::Records { records, .. } => assert_eq!(texts(&records), [round.to_string()]),
            other => panic!("a record was appended: {other:?}"),
        }
        let end = log.extent(topic, 0).await.expect("the partition is there").end;
        match next(&mut consumer).await {
            Delivery::End { next, .. } => assert!(next <= end, "the end reached is the log's"),
            other => panic!("that was the last record: {other:?}"),
        }
    }
}

pub(super) async fn a_start_goes_back_and_forth(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let appended = append(&log, topic, numbered(0, 0..30)).await;
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    for first in [0, 20, 5, 5, 29] {
        consumer.start(0, appended[first].offset);
        let delivered = drain(&mut consumer, 1).await.remove(0);
        assert_eq!(texts(&delivered), (first..30).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

pub(super) async fn a_start_outside_the_log_is_an_error_of_next(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let appended = append(&log, topic, numbered(0, 0..30)).await;
    let kept = appended[10].offset;
    rig.trim(topic, 0, kept).await;
    let beyond = appended[29].offset + 1000;
    let mut consumer = join_alone(&log, "group", topic, beyond).await;
    match next_or_error(&mut consumer).await {
        Err(ReadError::Regressed { partition: 0, from, .. }) => assert_eq!(from, beyond),
        other => panic!("there is nothing at {beyond}: {other:?}"),
    }
    consumer.start(0, 0);
    assert!(matches!(next_or_error(&mut consumer).await, Err(ReadError::Truncated { partition: 0, from: 0, .. })));
    consumer.start(0, kept);
    let delivered = drain(&mut consumer, 1).await.remove(0);
    assert_eq!(texts(&delivered), (10..30).map(|n| n.to_string()).collect::<Vec<_>>(), "a good position goes on");
}

pub(super) async fn a_paused_partition_is_silent_and_then_goes_on(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    drain(&mut consumer, 4).await;
    consumer.pause(1, true);
    for partition in 0..4 {
        append(&log, topic, numbered(partition, 0..10)).await;
    }
    let mut got = [0; 4];
    while got[0] + got[2] + got[3] < 30 {
        if let Delivery::Records { partition, records, .. } = next(&mut consumer).await {
            got[partition as usize] += records.len();
        }
    }
    while let Ok(delivery) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
        assert!(matches!(delivery, Ok(Delivery::End { partition, .. }) if partition != 1), "{delivery:?}");
    }
    assert_eq!(got, [10, 0, 10, 10]);
    consumer.pause(1, false);
    match next(&mut consumer).await {
        Delivery::Records { partition: 1, records, .. } => assert_eq!(texts(&records)[0], "0"),
        other => panic!("the partition goes on where it was: {other:?}"),
    }
}

pub(super) async fn a_delivery_that_was_not_waited_for_is_not_lost(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    let appending = {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                append(&log, topic, numbered(0, n..n + 1)).await;
            }
        })
    };
    let mut got = Vec::new();
    let mut wait = 0;
    while got.len() < 50 {
        // Waits of all lengths, most of them too short; longer ones in time, for logs and machines that are slow.
        wait += 1;
        let patience = Duration::from_micros(wait % 7 * (100 + wait));
        match tokio::time::timeout(patience, consumer.next()).await {
            Ok(Ok(Delivery::Records { records, .. })) => got.extend(texts(&records)),
            Ok(Ok(Delivery::End { .. })) | Err(_) => tokio::task::yield_now().await,
            Ok(other) => panic!("only records and ends are due: {other:?}"),
        }
    }
    within("appending", appending).await.expect("the appender does not panic");
    assert_eq!(got, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// What two members own, learnt by polling both; `true` from `done` ends it.
async fn settle(
    members: &mut [Box<dyn Consumer>],
    owned: &mut [BTreeMap<Partition, bool>],
    mut done: impl FnMut(&[BTreeMap<Partition, bool>]) -> bool,
) {
    let settling = async {
        while !done(owned) {
            for (member, owned) in members.iter_mut().zip(owned.iter_mut()) {
                let Ok(delivery) = tokio::time::timeout(Duration::from_millis(20), member.next()).await else {
                    continue;
                };
                match delivery.expect("deliveries go on") {
                    Delivery::Assigned { partition, .. } => {
                        assert!(owned.insert(partition, true).is_none(), "assigned twice");
                        member.start(partition, 0);
                    }
                    Delivery::Revoked { partition } | Delivery::Lost { partition } => {
                        assert!(owned.remove(&partition).is_some(), "revoked without being assigned");
                    }
                    Delivery::Records { partition, .. } | Delivery::End { partition, .. } => {
                        assert!(owned.contains_key(&partition), "delivered without being assigned");
                    }
                }
            }
        }
    };
    within("the group's settling", settling).await;
}

pub(super) async fn a_second_member_gets_its_share_after_the_first_let_go(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let first = join_alone(&log, "group", topic, 0).await;
    let second = join(&log, "group", topic).await;
    let mut members = [first, second];
    let mut owned = [(0..4).map(|partition| (partition, true)).collect(), BTreeMap::new()];
    settle(&mut members, &mut owned, |owned| {
        assert!(!owned[0].keys().any(|partition| owned[1].contains_key(partition)), "owned by two: {owned:?}");
        owned[0].len() == 2 && owned[1].len() == 2
    })
    .await;
}

pub(super) async fn what_a_member_leaves_goes_to_those_who_stay(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let mut members = [join(&log, "group", topic).await, join(&log, "group", topic).await];
    let mut owned = [BTreeMap::new(), BTreeMap::new()];
    settle(&mut members, &mut owned, |owned| owned[0].len() == 2 && owned[1].len() == 2).await;
    let [gone, stays] = members;
    drop(gone);
    let [_, owned] = owned;
    settle(&mut [stays], &mut [owned], |owned| owned[0].len() == 4).await;
}

pub(super) async fn a_revoked_partition_may_still_be_committed(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    append(&log, topic, numbered(0, 0..5)).await;
    let mut consumer = join_alone(&log, "group", topic, 0).await;
    let Delivery::Records { next: consumed, .. } = next(&mut consumer).await else { panic!("records are due") };
    rig.revoke("group", topic, 0).await;
    loop {
        match next(&mut consumer).await {
            Delivery::Revoked { partition: 0 } => break,
            Delivery::End { .. } => {}
            other => panic!("the partition was revoked: {other:?}"),
        }
    }
    let inputs = vec![(0, at(consumed, "the last word"))];
    let committing = consumer.commit(Transaction { outputs: Vec::new(), inputs });
    within("the commit", committing).await.expect("in good order means that it can still be committed");
    match next(&mut consumer).await {
        Delivery::Assigned { partition: 0, committed } => assert_eq!(committed, Some(at(consumed, "the last word"))),
        other => panic!("nobody else is there to take it: {other:?}"),
    }
}

pub(super) async fn a_lost_partition_is_fenced_at_commit(rig: Box<dyn Rig>) {
    let (log, topics) = (rig.log(), rig.topics());
    append(&log, topics.input, numbered(1, 0..5)).await;
    let mut zombie = join_alone(&log, "group", topics.input, 0).await;
    drain(&mut zombie, 4).await;
    rig.lose("group", topics.input, 1).await;
    let outputs = numbered(1, 0..5).into_iter().map(|record| (topics.output, record)).collect();
    let inputs = vec![(0, at(0, "")), (1, at(5, "mine"))];
    match within("the commit", zombie.commit(Transaction { outputs, inputs })).await {
        // A log may fence the member as a whole; then it loses, and gets anew, all it had.
        Err(CommitError::Fenced { partitions, .. }) => assert!(partitions.contains(&1), "{partitions:?}"),
        other => panic!("the partition is not its own any more: {other:?}"),
    }
    assert!(all(&log, topics.output, 1, 0).await.is_empty(), "nothing of a fenced transaction is there");
    let mut lost = BTreeSet::new();
    loop {
        match next(&mut zombie).await {
            Delivery::Lost { partition } => assert!(lost.insert(partition), "lost twice"),
            Delivery::Assigned { partition, committed } => {
                assert!(lost.remove(&partition), "assigned without being lost");
                assert_eq!(committed, None, "nothing was committed");
                if partition == 1 {
                    break;
                }
            }
            other => panic!("it is the only member, and gets again what it lost: {other:?}"),
        }
    }
    let again = Transaction { outputs: Vec::new(), inputs: vec![(1, at(5, "mine again"))] };
    within("the commit", zombie.commit(again)).await.expect("assigned anew, it may commit anew");
}

pub(super) async fn groups_do_not_disturb_each_other(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    append(&log, topic, numbered(0, 0..5)).await;
    for group in ["one", "two"] {
        let mut consumer = join_alone(&log, group, topic, 0).await;
        assert_eq!(drain(&mut consumer, 1).await[0].len(), 5);
        let inputs = vec![(0, at(3, group))];
        within("the commit", consumer.commit(Transaction { outputs: Vec::new(), inputs })).await.expect("its own");
    }
    for group in ["one", "two"] {
        let mut consumer = join(&log, group, topic).await;
        match next(&mut consumer).await {
            Delivery::Assigned { committed, .. } => assert_eq!(committed, Some(at(3, group))),
            other => panic!("the partition is free: {other:?}"),
        }
    }
}
