//! What a transaction promises.

use super::{Rig, all, append, at, join, join_alone, next, numbered, record, texts, within};
use crate::{CommitError, Consumer, Delivery, Offset, Transaction};

async fn committed(rig: &dyn Rig, group: &str) -> Vec<Option<(Offset, String)>> {
    let (log, topic) = (rig.log(), rig.topics().input);
    let mut consumer = join(&log, group, topic).await;
    let mut positions = vec![None; 4];
    for _ in 0..4 {
        match next(&mut consumer).await {
            Delivery::Assigned { partition, committed } => {
                positions[partition as usize] = committed.map(|committed| (committed.next, committed.metadata));
            }
            other => panic!("the partitions are free: {other:?}"),
        }
    }
    positions
}

pub(super) async fn outputs_and_positions_are_committed_together(rig: Box<dyn Rig>) {
    let (log, topics) = (rig.log(), rig.topics());
    append(&log, topics.input, numbered(2, 0..10)).await;
    let mut consumer = join_alone(&log, "group", topics.input, 0).await;
    let outputs: Vec<_> = numbered(2, 0..10).into_iter().map(|record| (topics.output, record)).collect();
    let inputs = vec![(2, at(10, "folded 10, released 7"))];
    let appended = within("the commit", consumer.commit(Transaction { outputs, inputs })).await.expect("it is alone");
    let records = all(&log, topics.output, 2, 0).await;
    assert_eq!(texts(&records), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    let places: Vec<_> = records.iter().map(|record| record.offset).collect();
    assert_eq!(appended.iter().map(|appended| appended.offset).collect::<Vec<_>>(), places);
    drop(consumer);
    let expected = vec![None, None, Some((10, "folded 10, released 7".into())), None];
    assert_eq!(committed(&*rig, "group").await, expected);
}

pub(super) async fn a_committed_position_survives_reopening(mut rig: Box<dyn Rig>) {
    let topics = rig.topics();
    for round in 1..=3u64 {
        let log = rig.log();
        append(&log, topics.input, numbered(0, 0..10)).await;
        let mut consumer = join_alone(&log, "group", topics.input, 0).await;
        let inputs = (0..4).map(|partition| (partition, at(round, &format!("round {round}")))).collect();
        let outputs = vec![(topics.output, record(3, round.to_string()))];
        within("the commit", consumer.commit(Transaction { outputs, inputs })).await.expect("it is alone");
        drop(consumer);
        drop(log);
        rig.reopen().await;
        assert_eq!(committed(&*rig, "group").await, vec![Some((round, format!("round {round}"))); 4]);
        assert_eq!(all(&rig.log(), topics.output, 3, 0).await.len() as u64, round);
    }
}

pub(super) async fn a_transaction_spans_topics_and_partitions(mut rig: Box<dyn Rig>) {
    let topics = rig.topics();
    let log = rig.log();
    let mut consumer = join_alone(&log, "group", topics.input, 0).await;
    for n in 0..5 {
        let mut outputs = vec![(topics.single, record(0, n.to_string()))];
        outputs.extend((0..4).map(|partition| (topics.output, record(partition, n.to_string()))));
        within("the commit", consumer.commit(Transaction { outputs, inputs: Vec::new() }))
            .await
            .expect("nothing fences");
    }
    drop((consumer, log));
    for reopened in [false, true] {
        if reopened {
            rig.reopen().await;
        }
        let expected = ["0", "1", "2", "3", "4"];
        assert_eq!(texts(&all(&rig.log(), topics.single, 0, 0).await), expected);
        for partition in 0..4 {
            assert_eq!(texts(&all(&rig.log(), topics.output, partition, 0).await), expected);
        }
    }
}

pub(super) async fn an_aborted_transaction_is_never_seen(mut rig: Box<dyn Rig>) {
    let topics = rig.topics();
    let log = rig.log();
    append(&log, topics.output, vec![record(0, "before"), record(1, "before")]).await;
    let aborted =
        |n: usize| vec![(topics.output, record(0, format!("aborted {n}"))), (topics.single, record(0, "aborted"))];
    for n in 0..3 {
        rig.abort(aborted(n)).await;
    }
    append(&log, topics.output, vec![record(0, "after"), record(1, "after")]).await;
    drop(log);
    for reopened in [false, true] {
        if reopened {
            rig.reopen().await;
        }
        let log = rig.log();
        assert_eq!(texts(&all(&log, topics.output, 0, 0).await), ["before", "after"]);
        assert_eq!(texts(&all(&log, topics.output, 1, 0).await), ["before", "after"]);
        assert!(all(&log, topics.single, 0, 0).await.is_empty());
        let mut consumer = join_alone(&log, "reader", topics.output, 0).await;
        assert_eq!(super::drain(&mut consumer, 4).await.concat().len(), 4, "nor does a consumer see it");
    }
}

pub(super) async fn a_fenced_transaction_is_never_seen(rig: Box<dyn Rig>) {
    let (log, topics) = (rig.log(), rig.topics());
    append(&log, topics.input, numbered(0, 0..5)).await;
    let mut zombie = join_alone(&log, "group", topics.input, 0).await;
    super::drain(&mut zombie, 4).await;
    // Another takes over whatever the first does not hold on to, while that one hears nothing of it.
    rig.lose("group", topics.input, 0).await;
    let mut owner = take(&*rig, "group").await;
    let late = Transaction { outputs: vec![(topics.output, record(0, "zombie"))], inputs: vec![(0, at(5, "zombie"))] };
    match within("the commit", zombie.commit(late)).await {
        Err(CommitError::Fenced { partitions, .. }) => assert_eq!(partitions, [0]),
        other => panic!("its assignment is over: {other:?}"),
    }
    drop(zombie);
    within("the group's settling", async {
        let mut assigned = 0;
        while assigned < 4 {
            if let Delivery::Assigned { partition, committed } = next(&mut owner).await {
                assert_eq!(committed, None, "nobody has committed {partition}");
                assigned += 1;
            }
        }
    })
    .await;
    let good = Transaction { outputs: vec![(topics.output, record(0, "owner"))], inputs: vec![(0, at(5, "owner"))] };
    within("the commit", owner.commit(good)).await.expect("the owner may");
    assert_eq!(texts(&all(&log, topics.output, 0, 0).await), ["owner"]);
}

async fn take(rig: &dyn Rig, group: &str) -> Box<dyn Consumer> {
    join(&rig.log(), group, rig.topics().input).await
}

pub(super) async fn a_transaction_may_have_no_outputs_or_no_inputs(rig: Box<dyn Rig>) {
    let (log, topics) = (rig.log(), rig.topics());
    let mut consumer = join_alone(&log, "group", topics.input, 0).await;
    let nothing = within("the commit", consumer.commit(Transaction::default())).await;
    assert!(nothing.expect("nothing can go wrong").is_empty());
    let position = Transaction { outputs: Vec::new(), inputs: vec![(3, at(0, "only a position"))] };
    assert!(within("the commit", consumer.commit(position)).await.expect("its own").is_empty());
    let output = Transaction { outputs: vec![(topics.output, record(0, "only an output"))], inputs: Vec::new() };
    assert_eq!(within("the commit", consumer.commit(output)).await.expect("nothing fences").len(), 1);
    drop(consumer);
    assert_eq!(committed(&*rig, "group").await[3], Some((0, "only a position".into())));
}

pub(super) async fn offsets_are_not_dense(rig: Box<dyn Rig>) {
    let (log, topics) = (rig.log(), rig.topics());
    let mut consumer = join_alone(&log, "group", topics.input, 0).await;
    for n in 0..5 {
        let outputs = vec![(topics.output, record(1, n.to_string()))];
        within("the commit", consumer.commit(Transaction { outputs, inputs: Vec::new() }))
            .await
            .expect("nothing fences");
    }
    let records = all(&log, topics.output, 1, 0).await;
    let end = log.extent(topics.output, 1).await.expect("the partition is there").end;
    assert_eq!(records.len(), 5);
    assert!(records.windows(2).all(|pair| pair[1].offset > pair[0].offset + 1), "each transaction skips an offset");
    assert!(end > records[4].offset + 1, "the last record is not just before the end");
}
