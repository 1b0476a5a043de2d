use millrace_clock::SystemClock;
use millrace_eventlog::embedded::{EmbeddedLog, OpenError, Options};
use millrace_eventlog::limits::{DELIVERY_BYTES, PARTITIONS_MAX, RECORD_BYTES_MAX};
use millrace_eventlog::{AppendError, Delivery, Log, TopicSpec};

use super::{INPUT, PARTITIONS, all, open, record};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_share_commits() {
    const SENDERS: usize = 64;
    const EACH: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let log = log.clone();
        senders.spawn(async move {
            for _ in 0..EACH {
                log.append(INPUT, vec![record(sender as u32 % PARTITIONS, vec![7; 700])]).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    let commits = log.facts().commits;
    assert!(commits >= EACH as u64, "whoever waits for its answer is in another commit next time");
    assert!(commits < (SENDERS * EACH) as u64 / 2, "{commits} commits for {} appends", SENDERS * EACH);
}

#[tokio::test]
async fn the_largest_record_is_taken_and_one_byte_more_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let largest = RECORD_BYTES_MAX - "key".len();
    log.append(INPUT, vec![record(0, vec![1; largest])]).await.unwrap();
    let refused = log.append(INPUT, vec![record(0, vec![1; largest + 1])]).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes, bound }) if bytes == bound + 1), "{refused:?}");
    log.close();
    let log = open(folder.path()).unwrap();
    assert_eq!(all(&log, INPUT, 0, 0).await[0].value.len(), largest);
}

#[tokio::test]
async fn a_delivery_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    log.append(INPUT, (0..5000).map(|_| record(0, vec![1; 1000])).collect()).await.unwrap();
    let mut consumer = log.subscribe("group", INPUT).await.unwrap();
    let mut count = 0;
    while count < 5000 {
        match consumer.next().await.unwrap() {
            Delivery::Assigned { partition, .. } => consumer.start(partition, 0),
            Delivery::Records { records, .. } => {
                assert!(records.len() * 1000 <= DELIVERY_BYTES);
                count += records.len();
            }
            _ => {}
        }
    }
}

#[test]
fn more_partitions_than_the_mark_has_room_for_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let topics = [TopicSpec { topic: INPUT, partitions: PARTITIONS_MAX as u32 + 1 }];
    let opened = EmbeddedLog::open(folder.path(), &topics, SystemClock::shared(), Options::default());
    assert!(matches!(opened, Err(OpenError::Incompatible { .. })));
}
