//! An enriched topic that is not the one its segments were made from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::ops::Range;
use std::sync::Arc;

use millrace_clock::ManualClock;
use millrace_eventlog::{Log, Topic};
use millrace_exporter_write::{Config, Error};
use millrace_schemas::topics;
use support::log::MemoryLog;
use support::script::{Doing, Script};
use support::{DAY_1, Exporter, Folder, account, published, until};

const HOUR: i64 = 3_600_000;

/// A transaction an hour, in one partition: so many rows, then the watermark record of the next hour.
fn hourly(hours: Range<i64>, rows: usize) -> Script {
    let mut script = Script::new(1);
    for hour in hours {
        let process_ms = DAY_1 + hour * HOUR;
        for _ in 0..rows {
            let doing = Doing { account: "acme", visitor: "ann", uuid: "u", timestamp_ms: process_ms, process_ms };
            script.converted(doing, Some("purchase"));
        }
        script.watermark(0, process_ms + HOUR);
    }
    script
}

fn start(folder: &Folder, log: &Arc<MemoryLog>) -> (Exporter, Arc<ManualClock>) {
    let clock = ManualClock::at(0);
    let exporter = Exporter::start(log, folder.store(), &[account("acme", DAY_1)], &clock, Config::default(), 1);
    (exporter, clock)
}

/// Seals all that the log holds; the answer is where that ends.
async fn sealed(folder: &Folder, log: &Arc<MemoryLog>) -> u64 {
    let end = log.extent(Topic(topics::ENRICHED), 0).await.unwrap().end;
    let (exporter, clock) = start(folder, log);
    let position = || exporter.progress.snapshot().partitions.get(&0).map(|sealed| sealed.position);
    until("everything is sealed", &clock, async || position() == Some(end)).await;
    exporter.stop().await.unwrap();
    end
}

async fn goes_on(folder: &Folder, log: &Arc<MemoryLog>, through_ms: i64) {
    let (exporter, clock) = start(folder, log);
    published(&exporter, &clock, through_ms).await;
    exporter.stop().await.unwrap();
}

/// The keys of all segments. (What they hold may still be published meanwhile.)
async fn segments(folder: &Folder) -> Vec<String> {
    folder.everything().await.into_keys().filter(|key| key.contains("/segments/")).collect()
}

#[tokio::test]
async fn a_topic_made_anew_that_has_grown_past_the_last_segments_end_is_a_hard_stop_and_nothing_is_sealed() {
    // Its transactions are as the old ones were, or the first is not over where the segment ends.
    for (rows, found) in [(1, Some((3, DAY_1 + 4 * HOUR))), (9, None)] {
        let folder = Folder::new();
        let end = sealed(&folder, &hourly(0..2, 1).log(100)).await;
        let before = segments(&folder).await;
        let error = start(&folder, &hourly(2..6, rows).log(100)).0.ended().await;
        assert_eq!(segments(&folder).await, before, "something was sealed");
        match &error {
            Error::OtherRecords { partition: 0, end: at, watermark_ms, found: here, .. } => {
                assert_eq!((*at, *watermark_ms, *here), (end, DAY_1 + 2 * HOUR, found));
            }
            other => panic!("{other}"),
        }
        for part in ["test-log", "millrace.enriched/0", "ends at offset 4", "export.succeeds = \"test-log\""] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn where_retention_has_taken_what_could_be_compared_it_goes_on() {
    let folder = Folder::new();
    let end = sealed(&folder, &hourly(0..2, 1).log(100)).await;
    let anew = hourly(2..6, 1).log(100);
    anew.truncate(0, end);
    goes_on(&folder, &anew, DAY_1 + 6 * HOUR).await;
}

#[tokio::test]
async fn a_segment_that_ends_inside_a_transaction_is_gone_on_with_however_far_back_the_last_watermark_is() {
    for rows in [3, 200] {
        // With the last watermark, and with what retention left behind it.
        for is_trimmed in [false, true] {
            let (folder, script) = (Folder::new(), hourly(0..4, rows));
            let log = MemoryLog::new("test-log", 1, 100);
            let inside = rows + 1 + rows.div_ceil(2);
            script.write(&log, 0..inside);
            let end = sealed(&folder, &log).await;
            script.write(&log, inside..script.len());
            if is_trimmed {
                log.truncate(0, end - 1);
            }
            goes_on(&folder, &log, DAY_1 + 4 * HOUR).await;
        }
    }
}
