use std::sync::Arc;
use std::time::Duration;

use millrace_clock::ManualClock;
use millrace_eventlog::embedded::{BootClock, EmbeddedLog, Options};
use millrace_eventlog::{AppendError, Log};

use super::{INPUT, TOPICS, record};

const T: i64 = 1_750_000_000_000;
const HOUR: i64 = 3_600_000;

fn booted(id: &str, hours_ago: u64) -> Options {
    let boot = BootClock::new(id, move || Duration::from_secs(hours_ago * 3600));
    Options { boot, ..Options::default() }
}

#[tokio::test]
async fn appends_are_refused_while_the_clock_is_too_far_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(T);
    let log = EmbeddedLog::open(folder.path(), &TOPICS, clock.clone(), booted("boot", 1)).unwrap();
    log.append(INPUT, vec![record(0, "right")]).await.unwrap();
    clock.set_wall(T + HOUR + 60_000);
    for _ in 0..2 {
        let refused = log.append(INPUT, vec![record(0, "wrong")]).await;
        assert!(matches!(&refused, Err(AppendError::Refused { reason }) if reason.contains("clock")), "{refused:?}");
        assert!(log.trouble().is_some_and(|trouble| trouble.contains("clock")));
    }
    clock.advance(Duration::from_secs(120));
    clock.set_wall(T + HOUR + 60_000);
    log.append(INPUT, vec![record(0, "explained by two minutes")]).await.expect("within the hour again");
    assert_eq!(log.trouble(), None);
    clock.set_wall(T + 10 * HOUR);
    log.append(INPUT, vec![record(0, "wrong")]).await.unwrap_err();
    log.confirm_clock();
    let appended = log.append(INPUT, vec![record(0, "confirmed")]).await.unwrap();
    assert_eq!(appended[0].append_time_ms, T + 10 * HOUR);
    assert_eq!(log.extent(INPUT, 0).await.unwrap().end, 3, "nothing that was refused is in");
}

#[tokio::test]
async fn a_restart_asks_for_confirmation_only_where_nothing_explains_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let open = |at: i64, options: Options| -> Arc<EmbeddedLog> {
        EmbeddedLog::open(folder.path(), &TOPICS, ManualClock::at(at), options).unwrap()
    };
    let log = open(T, booted("first", 1));
    log.append(INPUT, vec![record(0, "a")]).await.unwrap();
    log.close();

    let log = open(T + 5 * HOUR, booted("first", 6));
    log.append(INPUT, vec![record(0, "b")]).await.expect("the same boot, five hours later");
    log.close();

    let log = open(T + 10 * HOUR, booted("second", 1));
    log.append(INPUT, vec![record(0, "c")]).await.expect_err("another boot: five hours are not explained");
    log.close();

    let log = open(T + 5 * HOUR + 60_000, booted("second", 1));
    log.append(INPUT, vec![record(0, "d")]).await.expect("a quick reboot is within the hour");
    log.close();

    let log = open(T + 20 * HOUR, Options { confirm_clock: true, ..booted("third", 1) });
    log.append(INPUT, vec![record(0, "e")]).await.expect("confirmed at the start");
    log.close();
}
