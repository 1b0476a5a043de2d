//! What an append promises.

use bytes::Bytes;

use super::{Rig, all, append, numbered, read, record, texts, within};
use crate::{AppendError, NewRecord};

pub(super) async fn records_come_back_in_order_with_all_they_had(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let sent: Vec<_> = (0..50u32)
        .map(|n| NewRecord {
            partition: 0,
            version: 1 + n % 3,
            key: Bytes::from(vec![n as u8; n as usize % 5]),
            value: Bytes::from(vec![n as u8; n as usize * 17]),
        })
        .collect();
    let appended = append(&log, topic, sent.clone()).await;
    let got = all(&log, topic, 0, 0).await;
    assert_eq!(got.len(), sent.len());
    for ((sent, got), appended) in sent.iter().zip(&got).zip(&appended) {
        assert_eq!((sent.version, &sent.key, &sent.value), (got.version, &got.key, &got.value));
        assert_eq!((appended.offset, appended.append_time_ms), (got.offset, got.append_time_ms));
    }
    assert!(got.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise");
}

pub(super) async fn an_append_over_several_partitions_answers_in_the_order_given(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let order = [2, 0, 3, 0, 2, 1, 0];
    let sent = order.iter().enumerate().map(|(n, partition)| record(*partition, n.to_string())).collect();
    let appended = append(&log, topic, sent).await;
    assert_eq!(appended.iter().map(|appended| appended.partition).collect::<Vec<_>>(), order);
    for (n, appended) in appended.iter().enumerate() {
        let chunk = read(&log, topic, appended.partition, appended.offset).await;
        assert_eq!(texts(&chunk.records)[0], n.to_string(), "the position answered is the record's");
    }
    assert_eq!(texts(&all(&log, topic, 0, 0).await), ["1", "3", "6"], "order holds within a partition");
}

pub(super) async fn the_append_times_answered_are_those_read(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let mut answered = Vec::new();
    for round in 0..5 {
        let sent = (0..4).flat_map(|partition| numbered(partition, round * 10..round * 10 + 10)).collect();
        answered.extend(append(&log, topic, sent).await);
    }
    for partition in 0..4 {
        let of_partition = answered.iter().filter(|appended| appended.partition == partition);
        let answered: Vec<_> = of_partition.map(|appended| (appended.offset, appended.append_time_ms)).collect();
        let read = all(&log, topic, partition, 0).await;
        let read: Vec<_> = read.iter().map(|record| (record.offset, record.append_time_ms)).collect();
        assert_eq!(answered, read);
    }
}

pub(super) async fn acknowledged_records_are_there_after_reopening(mut rig: Box<dyn Rig>) {
    let topic = rig.topics().input;
    let (id, mut expected) = (rig.log().id().to_owned(), Vec::new());
    for round in 0..3usize {
        let log = rig.log();
        for partition in 0..4 {
            append(&log, topic, numbered(partition, round * 10..round * 10 + 10)).await;
        }
        expected.extend((round * 10..round * 10 + 10).map(|n| n.to_string()));
        let ends: Vec<_> = extents(&*rig).await;
        drop(log);
        rig.reopen().await;
        assert_eq!(extents(&*rig).await, ends, "positions stay where they were");
        for partition in 0..4 {
            assert_eq!(texts(&all(&rig.log(), topic, partition, 0).await), expected);
        }
    }
    assert_eq!(rig.log().id(), id, "it is the same log");
}

async fn extents(rig: &dyn Rig) -> Vec<crate::Extent> {
    let mut extents = Vec::new();
    for partition in 0..4 {
        extents.push(rig.log().extent(rig.topics().input, partition).await.expect("the partition is there"));
    }
    extents
}

pub(super) async fn concurrent_appends_lose_and_reorder_nothing(rig: Box<dyn Rig>) {
    const SENDERS: usize = 16;
    const EACH: usize = 25;
    let (log, topic) = (rig.log(), rig.topics().single);
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let log = log.clone();
        senders.spawn(async move {
            for n in 0..EACH {
                append(&log, topic, vec![record(0, format!("{sender} {n}"))]).await;
            }
        });
    }
    within("all senders", senders.join_all()).await;
    let got = texts(&all(&log, topic, 0, 0).await);
    assert_eq!(got.len(), SENDERS * EACH, "nothing is lost, nothing is twice");
    for sender in 0..SENDERS {
        let prefix = format!("{sender} ");
        let own: Vec<_> = got.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        let expected: Vec<_> = (0..EACH).map(|n| n.to_string()).collect();
        assert_eq!(own, expected, "whoever waits for each answer finds its records in its order");
    }
}

pub(super) async fn a_record_that_is_too_large_takes_its_whole_append_with_it(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    let huge = record(0, vec![7; 64 << 20]);
    let refused = within("an append", log.append(topic, vec![record(0, "small"), huge, record(0, "small")])).await;
    match refused {
        Err(AppendError::TooLarge { bytes, bound }) => assert!(bytes > bound),
        other => panic!("64 MiB are too large: {:?}", other.map(|appended| appended.len())),
    }
    append(&log, topic, vec![record(0, "after")]).await;
    assert_eq!(texts(&all(&log, topic, 0, 0).await), ["after"]);
}

pub(super) async fn an_empty_append_does_nothing(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    assert!(append(&log, topic, Vec::new()).await.is_empty());
    assert!(all(&log, topic, 0, 0).await.is_empty());
}
