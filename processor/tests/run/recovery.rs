//! Where a partition goes on, and when it must not.

use std::time::Duration;

use bytes::Bytes;
use millrace_eventlog::{Committed, Log, NewRecord, Transaction};
use millrace_processor::limits::WATERMARK_SEARCH_STEP;
use millrace_processor::{Error, GROUP, SettingsError, change_settings, create_settings, settings_in_force};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Watermark, enriched_record};
use millrace_schemas::raw::{Raw, raw};

use crate::rig::*;
use crate::support::*;

pub fn watermark(watermark: Watermark) -> NewRecord {
    let value = EnrichedRecord { body: Some(enriched_record::Body::Watermark(watermark)) }.to_bytes();
    NewRecord { partition: 0, version: EnrichedRecord::VERSION, key: Bytes::new(), value }
}

/// A visitor of partition 0.
pub fn visitor() -> String {
    let of = |visitor: &String| millrace_schemas::partition::of_visitor(ACCOUNT, visitor, PARTITIONS) == 0;
    (0..).map(|n| format!("v{n}")).find(of).unwrap()
}

/// Commits by hand what another release would have.
pub async fn commit(rig: &Rig, mark: Watermark) {
    let mut consumer = rig.log.subscribe(GROUP, RAW).await.unwrap();
    while !matches!(consumer.next().await.unwrap(), millrace_eventlog::Delivery::Assigned { partition: 0, .. }) {}
    let inputs = vec![(0, Committed { next: mark.folded, metadata: String::new() })];
    consumer.commit(Transaction { outputs: vec![(ENRICHED, watermark(mark))], inputs }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_believes_the_record_and_not_its_own_idea_of_what_was_due() {
    let rig = Rig::new().await;
    let visitor = visitor();
    let mut offsets = Vec::new();
    for n in 0..6 {
        offsets.push(rig.events(vec![converts(&visitor, &n.to_string(), T0)]).await[0].offset);
        rig.clock.advance(Duration::from_secs(2));
    }
    // With a grace of 5 s the first three are due by the sixth's arrival. The record says two of them went out, or four.
    let folded = offsets[5] + 1;
    let mark = |released| Watermark {
        log_time_ms: T0 + 10_000,
        watermark_ms: T0,
        folded,
        released: offsets[released],
        settings_version: 1,
        settings: None,
    };
    commit(&rig, mark(2)).await;
    commit(&rig, mark(4)).await;
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    let emitted: Vec<u64> = rig.enriched(0).await.0.iter().map(|outcome| outcome.raw_offset).collect();
    assert_eq!(emitted, offsets[4..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_emits_what_the_record_does_not_call_released() {
    let rig = Rig::new().await;
    let visitor = visitor();
    let mut offsets = Vec::new();
    for n in 0..6 {
        offsets.push(rig.events(vec![converts(&visitor, &n.to_string(), T0)]).await[0].offset);
        rig.clock.advance(Duration::from_secs(2));
    }
    let (folded, released) = (offsets[5] + 1, offsets[1]);
    let mark = Watermark { log_time_ms: T0 + 10_000, folded, released, settings_version: 1, ..Watermark::default() };
    commit(&rig, mark).await;
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    let emitted: Vec<u64> = rig.enriched(0).await.0.iter().map(|outcome| outcome.raw_offset).collect();
    assert_eq!(emitted, offsets[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_log_is_a_hard_stop() {
    let (rig, other) = (Rig::new().await, Rig::new().await);
    let running = rig.start();
    running.recovered().await;
    running.stop().await.unwrap();
    let failed = other.start_in(rig.state_dir()).failed().await;
    assert!(failed.to_string().contains("belongs to log"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_ahead_of_the_last_record_is_a_hard_stop() {
    let rig = Rig::new().await;
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    let last = rig.enriched(0).await.1.pop().unwrap();
    assert!(last.folded > 1);
    commit(&rig, Watermark { folded: 1, released: 1, ..last }).await;
    let failed = rig.start().failed().await;
    assert!(matches!(failed, Error::Contradiction(_)), "{failed}");
    assert!(failed.to_string().contains("lost records"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_gives_another_log_time_is_a_hard_stop() {
    let rig = Rig::new().await;
    rig.events(vec![converts(&visitor(), "1", T0)]).await;
    commit(&rig, Watermark { log_time_ms: T0 + 77, folded: 1, released: 1, ..Watermark::default() }).await;
    let failed = rig.start().failed().await;
    assert!(failed.to_string().contains("another log"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_without_a_store_is_a_hard_stop_and_with_one_it_is_not() {
    let rig = Rig::new().await;
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    let folded = rig.enriched(0).await.1.pop().unwrap().folded;
    rig.log.trim(RAW, 0, folded).await.unwrap();
    let running = rig.start();
    rig.settle(&running).await;
    running.stop().await.unwrap();
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    let failed = rig.start().failed().await;
    assert!(failed.to_string().contains("begins at offset"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_without_any_record_of_ours_are_a_hard_stop() {
    let rig = Rig::new().await;
    let foreign = EnrichedRecord { body: Some(enriched_record::Body::Outcome(Default::default())) }.to_bytes();
    let record = NewRecord { partition: 0, version: EnrichedRecord::VERSION, key: Bytes::new(), value: foreign };
    rig.log.append(ENRICHED, vec![record]).await.unwrap();
    let failed = rig.start().failed().await;
    assert!(failed.to_string().contains("no watermark record"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_of_ours_is_found_however_much_lies_behind_it() {
    let rig = Rig::new().await;
    let offset = rig.events(vec![converts(&visitor(), "1", T0)]).await[0].offset;
    let mark = Watermark { log_time_ms: T0, folded: offset + 1, released: offset + 1, ..Watermark::default() };
    commit(&rig, Watermark { folded: 1, released: 1, ..mark }).await;
    commit(&rig, mark).await;
    let behind = EnrichedRecord { body: Some(enriched_record::Body::Outcome(Default::default())) }.to_bytes();
    let record = NewRecord { partition: 0, version: EnrichedRecord::VERSION, key: Bytes::new(), value: behind };
    let many = usize::try_from(WATERMARK_SEARCH_STEP * 9).unwrap();
    rig.log.append(ENRICHED, vec![record; many]).await.unwrap();
    let running = rig.start();
    running.recovered().await;
    assert_eq!(running.progress.partition(0).unwrap().folded, offset + 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_position_without_its_record_is_waited_for_and_then_a_hard_stop() {
    let rig = Rig::new().await;
    let mut consumer = rig.log.subscribe(GROUP, RAW).await.unwrap();
    while !matches!(consumer.next().await.unwrap(), millrace_eventlog::Delivery::Assigned { partition: 0, .. }) {}
    let inputs = vec![(0, Committed { next: 1, metadata: String::new() })];
    consumer.commit(Transaction { outputs: Vec::new(), inputs }).await.unwrap();
    drop(consumer);
    let running = rig.start();
    until("the others are recovered", || running.progress.partitions().len() == PARTITIONS as usize - 1).await;
    assert!(running.readiness.check().is_err(), "it waits for the record");
    let failed = running.failed().await;
    assert!(failed.to_string().contains("the group has committed"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_later_release_stops_its_partition_and_no_other() {
    let rig = Rig::new().await;
    let running = rig.start();
    running.recovered().await;
    let newer = NewRecord { partition: 0, version: Raw::VERSION + 1, key: Bytes::new(), value: Bytes::new() };
    let offset = rig.log.append(RAW, vec![newer]).await.unwrap()[0].offset;
    until("it says so", || running.readiness.check().is_err()).await;
    let reason = format!("{:?}", running.readiness.check());
    assert!(
        reason.contains("raw/0") && reason.contains(&format!("offset {offset}")) && reason.contains("upgrade"),
        "{reason}"
    );
    let due = T0 + 20_000;
    until("the others go on", || {
        rig.clock.advance(Duration::from_millis(500));
        (1..PARTITIONS).all(|partition| running.progress.partition(partition).is_some_and(|at| at.log_time_ms >= due))
    })
    .await;
    assert!(running.readiness.check().is_err(), "it still says so");
    assert!(running.progress.partition(0).unwrap().folded <= offset);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_the_first_record_of_every_partition_and_are_made_once() {
    let rig = Rig::without_settings();
    assert!(matches!(settings_in_force(&*rig.log).await, Err(SettingsError::Missing)));
    for _ in 0..2 {
        create_settings(&*rig.log, &*rig.clock, &five_seconds()).await.unwrap();
    }
    for partition in 0..PARTITIONS {
        let records = rig.records(RAW, partition).await;
        assert_eq!(records.len(), 1);
        let body = Raw::from_versioned(records[0].version, records[0].value.clone()).unwrap().body;
        assert_eq!(body, Some(raw::Body::Settings(five_seconds())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_only_where_they_differ_and_within_their_bounds() {
    let rig = Rig::new().await;
    assert_eq!(change_settings(&*rig.log, &*rig.clock, |_| {}).await.unwrap(), None);
    assert_eq!(rig.records(RAW, 0).await.len(), 1);
    let wrong = change_settings(&*rig.log, &*rig.clock, |settings| settings.attribution_grace_ms = -1).await;
    assert!(matches!(wrong, Err(SettingsError::OutOfRange(_))));
    // An interrupted change reached one partition only: the next one completes it.
    let half = millrace_schemas::raw::Settings { version: 2, attribution_grace_ms: 7_000, ..five_seconds() };
    rig.append(vec![raw::Body::Settings(half)]).await;
    assert_eq!(change_settings(&*rig.log, &*rig.clock, |_| {}).await.unwrap(), None);
    for partition in 0..PARTITIONS {
        assert_eq!(rig.records(RAW, partition).await.len(), 2, "partition {partition}");
    }
    assert_eq!(settings_in_force(&*rig.log).await.unwrap(), half);
}
