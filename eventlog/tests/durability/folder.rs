use millrace_clock::SystemClock;
use millrace_eventlog::embedded::{EmbeddedLog, OpenError, Options};
use millrace_eventlog::{AppendError, Log, Topic, TopicSpec};

use super::{INPUT, OUTPUT, TOPICS, all, open, record};

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_holders_pid() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let error = open(folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    log.append(INPUT, vec![record(0, "still works")]).await.unwrap();
    log.close();
    open(folder.path()).expect("a closed log lets go of its folder");
}

#[tokio::test]
async fn only_the_first_opening_makes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(first.made_now());
    let id = first.id().to_owned();
    assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{id}");
    first.close();
    let second = open(folder.path()).unwrap();
    assert!(!second.made_now());
    assert_eq!(second.id(), id);
}

#[tokio::test]
async fn a_closed_log_refuses_and_a_waiting_member_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let mut consumer = log.subscribe("group", OUTPUT).await.unwrap();
    let waiting = tokio::spawn(async move { while consumer.next().await.is_ok() {} });
    log.append(INPUT, vec![record(0, "last")]).await.unwrap();
    log.close();
    log.close();
    tokio::time::timeout(super::DEADLINE, waiting).await.expect("the member hears of it").unwrap();
    assert!(matches!(log.append(INPUT, vec![record(0, "late")]).await, Err(AppendError::Refused { .. })));
}

#[tokio::test]
async fn a_later_release_may_add_a_topic_but_not_change_a_count() {
    const NEW: Topic = Topic("added");
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    log.append(OUTPUT, vec![record(3, "kept")]).await.unwrap();
    log.close();
    let reopen =
        |topics: &[TopicSpec]| EmbeddedLog::open(folder.path(), topics, SystemClock::shared(), Options::default());
    let changed = [TopicSpec { topic: INPUT, partitions: 8 }, TOPICS[1]];
    assert!(matches!(reopen(&changed), Err(OpenError::Incompatible { .. })), "a count never changes");
    assert!(matches!(reopen(&TOPICS[..1]), Err(OpenError::Incompatible { .. })), "a topic does not go");
    let more = [TopicSpec { topic: NEW, partitions: 2 }, TOPICS[0], TOPICS[1]];
    for round in 1..=2 {
        let log = reopen(&more).unwrap();
        log.append(NEW, vec![record(1, "new")]).await.unwrap();
        assert_eq!(all(&log, NEW, 1, 0).await.len(), round);
        assert_eq!(all(&log, OUTPUT, 3, 0).await[0].value, "kept");
        log.close();
    }
}

#[tokio::test]
async fn a_making_that_was_interrupted_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().close();
    // As if the process had died just before the last step of making the log.
    std::fs::remove_file(folder.path().join("log")).unwrap();
    let log = open(folder.path()).unwrap();
    assert!(log.made_now());
    log.append(INPUT, vec![record(0, "works")]).await.unwrap();
}

#[tokio::test]
async fn facts_say_what_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let appended = log.append(INPUT, vec![record(2, "a"), record(2, "b"), record(3, "c")]).await.unwrap();
    for reopened in [false, true] {
        let facts = log.facts();
        assert_eq!(facts.partitions.len(), 8);
        let of = |partition: usize| &facts.partitions[partition];
        assert_eq!((of(2).topic, of(2).partition, of(2).records, of(3).records, of(0).records), (INPUT, 2, 2, 1, 0));
        assert_eq!(of(2).last_append_ms, Some(appended[1].append_time_ms), "reopened: {reopened}");
        assert_eq!(of(0).last_append_ms, None);
        assert!(of(2).end > appended[1].offset && facts.free_bytes > 0 && facts.journal_bytes > 0);
        log.verify().unwrap();
    }
}
