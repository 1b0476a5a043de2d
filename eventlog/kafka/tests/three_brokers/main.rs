//! The log on three real brokers, two of which die.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{AppendError, CommitError, Committed, Delivery, Log, NewRecord, Topic, Transaction};

use millrace_eventlog_kafka::limits::CLOSE_TIMEOUT;

#[path = "../support/mod.rs"]
mod support;

use support::{INPUT, OUTPUT, SINGLE};

fn record(partition: u32, text: impl Into<String>) -> NewRecord {
    NewRecord { partition, version: 1, key: "k".into(), value: text.into().into() }
}

async fn all(log: &dyn Log, topic: Topic, partition: u32) -> Vec<String> {
    let end = log.extent(topic, partition).await.unwrap().end;
    let (mut from, mut texts) = (0, Vec::new());
    while from < end {
        let chunk = log.read(topic, partition, from, usize::MAX).await.unwrap();
        texts.extend(chunk.records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()));
        from = chunk.next;
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_lives_through_the_loss_of_its_brokers() {
    let Some(mut brokers) = support::brokers(3).await else { return };
    let (options, log) = support::make(&brokers.cluster.bootstrap(), 3).await;
    assert!(!options.dev, "nothing less than what production must have");
    let mut member = log.subscribe("group", INPUT).await.unwrap();
    for _ in 0..4 {
        let Delivery::Assigned { partition, .. } = support::within(member.next()).await.unwrap() else {
            panic!("it is alone");
        };
        member.start(partition, 0);
    }
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        log.append(INPUT, vec![record(n % 4, n.to_string())]).await.unwrap();
        acknowledged.push(n.to_string());
    }

    brokers.cluster.kill(2);
    brokers.cluster.kill(3);
    for n in 0..3 {
        let took = tokio::time::timeout(options.append_timeout * 2, log.append(SINGLE, vec![record(0, n.to_string())]));
        match took.await.expect("an append is answered in time") {
            Err(AppendError::Unknown { .. } | AppendError::Refused { .. }) => {}
            other => panic!("one replica is not enough: {other:?}"),
        }
    }
    let trouble = log.trouble().expect("readiness says what is wrong");
    assert!(trouble.contains("appending"), "{trouble}");
    let inputs = vec![(0, Committed { next: 1, metadata: "one".into() })];
    let transaction = Transaction { outputs: vec![(OUTPUT, record(0, "output"))], inputs };
    let mut committing = Box::pin(member.commit(transaction));
    let early = tokio::time::timeout(Duration::from_secs(2), &mut committing).await;

    brokers.cluster.start_again(2).await;
    brokers.cluster.start_again(3).await;
    let committed = match early {
        Ok(outcome) => outcome,
        Err(_) => tokio::time::timeout(Duration::from_secs(90), &mut committing).await.expect("a commit is decided"),
    };
    drop(committing);
    let there = support::until("the outputs to be readable", || async { log.extent(OUTPUT, 0).await.ok() }).await;
    let outputs = if there.end == 0 { Vec::new() } else { all(&*log, OUTPUT, 0).await };
    match committed {
        Ok(_) => assert_eq!(outputs, ["output"]),
        Err(CommitError::Aborted(_) | CommitError::Fenced { .. }) => assert!(outputs.is_empty(), "{outputs:?}"),
    }

    // The same log, and the same member, go on.
    support::until("appends to be taken again", || async { log.append(INPUT, vec![record(1, "after")]).await.ok() })
        .await;
    acknowledged.push("after".into());
    support::until("the trouble to be over", || async { log.trouble().is_none().then_some(()) }).await;
    let mut got = Vec::new();
    while !got.contains(&"after".to_owned()) {
        match support::within(member.next()).await.unwrap() {
            Delivery::Records { records, .. } => {
                got.extend(records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()));
            }
            Delivery::Assigned { partition, .. } => member.start(partition, 0),
            _ => {}
        }
    }
    let mut there = Vec::new();
    for partition in 0..4 {
        there.extend(all(&*log, INPUT, partition).await);
    }
    for text in &acknowledged {
        assert_eq!(there.iter().filter(|there| *there == text).count().min(1), 1, "{text} was acknowledged");
    }

    // Nobody answers any more, and something is on its way.
    for number in 1..=brokers.cluster.size() {
        brokers.cluster.kill(number);
    }
    let late = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(INPUT, vec![record(0, "late")]).await })
    };
    let closing = tokio::time::timeout(CLOSE_TIMEOUT + Duration::from_secs(1), log.close());
    closing.await.expect("closing waits so long only");
    late.await.unwrap().expect_err("nobody took it");
}
