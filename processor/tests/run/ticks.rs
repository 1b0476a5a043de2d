//! Time passes in the log also where nothing comes.

use std::time::Duration;

use millrace_processor::limits::TICK_INTERVAL_MIN;
use millrace_schemas::raw::raw;

use crate::rig::*;
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_partition_gets_older_by_ticks_alone_across_midnights() {
    let rig = Rig::new().await;
    let running = rig.start();
    running.recovered().await;
    let three_days = T0 + 3 * DAY;
    until("all watermarks are three days on", || {
        rig.clock.advance(Duration::from_secs(1800));
        running.progress.partitions().values().all(|at| at.watermark_ms >= three_days)
    })
    .await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_stands_nothing_is_ticked() {
    let rig = Rig::new().await;
    let running = rig.start();
    running.recovered().await;
    rig.clock.advance(Duration::from_millis(999));
    rig.events(vec![decides("v", "u", T0, "e", "a")]).await;
    until("the event is folded", || running.progress.partitions().values().any(|at| at.log_time_ms == T0 + 999)).await;
    for partition in 0..PARTITIONS {
        let ticks = count_ticks(&rig, partition).await;
        assert_eq!(ticks, 0, "partition {partition}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_carries_the_clock_as_its_witness() {
    let rig = Rig::new().await;
    let running = rig.start();
    running.recovered().await;
    rig.clock.advance(Duration::from_secs(2));
    until("a tick is folded", || running.progress.partitions().values().all(|at| at.log_time_ms == T0 + 2_000)).await;
    running.stop().await.unwrap();
    assert!(count_ticks(&rig, 1).await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_partition_is_ticked_more_often_than_the_bound_allows() {
    let rig = Rig::new().await;
    let running = rig.start_ticking(rig.state_dir(), Duration::ZERO);
    running.recovered().await;
    // Ten bounds pass in small steps: at most ten rounds, and some do come.
    for _ in 0..100 {
        rig.clock.advance(TICK_INTERVAL_MIN / 10);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until("ticks came", || running.progress.partitions().values().all(|at| at.log_time_ms > T0)).await;
    running.stop().await.unwrap();
    for partition in 0..PARTITIONS {
        // Rounds gather what is due within a quarter of the interval.
        let ticks = count_ticks(&rig, partition).await;
        assert!((1..=14).contains(&ticks), "{ticks} ticks in partition {partition}");
    }
}

async fn count_ticks(rig: &Rig, partition: u32) -> usize {
    use millrace_schemas::codec::Versioned;
    let is_tick = |record: &millrace_eventlog::Record| {
        let raw = millrace_schemas::raw::Raw::from_versioned(record.version, record.value.clone()).unwrap();
        matches!(raw.body, Some(raw::Body::Tick(_)))
    };
    rig.records(RAW, partition).await.iter().filter(|record| is_tick(record)).count()
}
