//! What reading promises.

use std::time::Duration;

use super::{DEADLINE, Rig, all, append, numbered, read, record, texts, within};
use crate::ReadError;

pub(super) async fn a_read_is_bounded_but_never_empty_before_the_end(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    for _ in 0..10 {
        append(&log, topic, (0..10).map(|n| record(0, vec![n; 100])).collect()).await;
    }
    let end = log.extent(topic, 0).await.expect("the partition is there").end;
    for bound in [1, 99, 100, 101, 250, 1000, 5000] {
        let (mut from, mut count) = (0, 0);
        while from < end {
            let chunk = within("a read", log.read(topic, 0, from, bound)).await.expect("the position is in the log");
            let bytes: usize = chunk.records.iter().map(|record| record.value.len()).sum();
            assert!(bytes <= bound.max(100), "{bytes} bytes with a bound of {bound}");
            assert!(chunk.records.iter().all(|record| record.offset >= from && record.offset < chunk.next));
            assert!(chunk.next > from, "there are records left, so one comes");
            count += chunk.records.len();
            from = chunk.next;
        }
        assert_eq!(count, 100, "with a bound of {bound} every record comes once");
    }
}

pub(super) async fn reading_at_the_end_gives_nothing(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    for _ in 0..2 {
        let end = log.extent(topic, 0).await.expect("the partition is there").end;
        let chunk = read(&log, topic, 0, end).await;
        assert!(chunk.records.is_empty() && chunk.next >= end);
        append(&log, topic, numbered(0, 0..3)).await;
    }
}

pub(super) async fn a_position_beyond_the_end_is_a_regressed_log(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    append(&log, topic, numbered(0, 0..3)).await;
    let beyond = log.extent(topic, 0).await.expect("the partition is there").end + 1000;
    match within("a read", log.read(topic, 0, beyond, 1)).await {
        Err(ReadError::Regressed { from, end, .. }) => assert!(from == beyond && end < beyond),
        other => panic!("there is nothing at {beyond}: {other:?}"),
    }
}

pub(super) async fn a_position_before_the_start_is_a_truncated_log(mut rig: Box<dyn Rig>) {
    let topic = rig.topics().single;
    let log = rig.log();
    let appended = append(&log, topic, numbered(0, 0..10)).await;
    append(&log, topic, numbered(0, 10..20)).await;
    let kept = appended[5].offset;
    rig.trim(topic, 0, kept).await;
    drop(log);
    for reopened in [false, true] {
        if reopened {
            rig.reopen().await;
        }
        let log = rig.log();
        let extent = log.extent(topic, 0).await.expect("the partition is there");
        assert!(extent.start > 0 && extent.start <= kept, "what was to be kept is kept");
        assert!(matches!(log.read(topic, 0, 0, 1).await, Err(ReadError::Truncated { from: 0, .. })));
        let texts = texts(&all(&log, topic, 0, kept).await);
        assert_eq!(texts, (5..20).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

pub(super) async fn a_position_inside_a_gap_reads_on_behind_it(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    append(&log, topic, numbered(0, 0..2)).await;
    rig.abort((2..5).map(|n| (topic, record(0, n.to_string()))).collect()).await;
    append(&log, topic, numbered(0, 5..7)).await;
    let end = log.extent(topic, 0).await.expect("the partition is there").end;
    let mut last = usize::MAX;
    for from in 0..end {
        let records = all(&log, topic, 0, from).await;
        assert!(records.iter().all(|record| record.offset >= from));
        assert!(records.len() <= last, "starting later gives no more");
        last = records.len();
    }
    assert_eq!(texts(&all(&log, topic, 0, 0).await), ["0", "1", "5", "6"]);
}

pub(super) async fn a_follower_wakes_when_its_partition_grows(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().input);
    let end = log.extent(topic, 2).await.expect("the partition is there").end;
    let short = Duration::from_millis(50);
    within("waiting in vain", log.grown(topic, 2, end, short)).await;
    let follower = {
        let log = log.clone();
        tokio::spawn(async move {
            log.grown(topic, 2, end, DEADLINE * 10).await;
            read(&log, topic, 2, end).await
        })
    };
    append(&log, topic, numbered(1, 0..1)).await;
    append(&log, topic, numbered(2, 0..1)).await;
    let chunk = within("the follower", follower).await.expect("the follower does not panic");
    assert_eq!(texts(&chunk.records), ["0"], "it woke for its own partition and finds the record");
}

pub(super) async fn a_time_finds_the_first_record_at_or_after_it(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    assert_eq!(
        log.position_at(topic, 0, 0).await.expect("it can be searched"),
        None,
        "an empty partition has no times"
    );
    for round in 0..20 {
        append(&log, topic, numbered(0, round * 3..round * 3 + 3)).await;
        // Where the clock cannot be set, several rounds may share a time; the search is the same.
        rig.shift_clock(60_000);
    }
    let records = all(&log, topic, 0, 0).await;
    let (first, last) = (records[0].append_time_ms, records[records.len() - 1].append_time_ms);
    let mut times: Vec<_> =
        records.iter().flat_map(|r| [r.append_time_ms - 1, r.append_time_ms, r.append_time_ms + 1]).collect();
    times.extend([i64::MIN, first - 86_400_000, last + 86_400_000]);
    for time_ms in times {
        let expected = records.iter().find(|record| record.append_time_ms >= time_ms);
        let found = within("a search", log.position_at(topic, 0, time_ms)).await.expect("it can be searched");
        assert_eq!(found, expected.map(|record| record.offset), "first record at or after {time_ms}");
    }
}

pub(super) async fn append_times_may_go_back(rig: Box<dyn Rig>) {
    let (log, topic) = (rig.log(), rig.topics().single);
    append(&log, topic, numbered(0, 0..2)).await;
    if !rig.shift_clock(-7_200_000) {
        return;
    }
    append(&log, topic, numbered(0, 2..4)).await;
    rig.shift_clock(7_205_000);
    append(&log, topic, numbered(0, 4..6)).await;
    let records = all(&log, topic, 0, 0).await;
    assert_eq!(texts(&records), ["0", "1", "2", "3", "4", "5"], "the order is the order of arrival");
    let times: Vec<_> = records.iter().map(|record| record.append_time_ms).collect();
    assert!(times[2] < times[1] && times[4] > times[1], "a log does not make its times rise: {times:?}");
    for time_ms in [times[2], times[1], times[1] + 1, times[4]] {
        let expected = records.iter().find(|record| record.append_time_ms >= time_ms);
        let found = log.position_at(topic, 0, time_ms).await.expect("it can be searched");
        assert_eq!(found, expected.map(|record| record.offset), "the first in the order of offsets");
    }
}
