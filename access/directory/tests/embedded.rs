//! The same on the real embedded log: what is made survives a restart.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use millrace_clock::SystemClock;
use millrace_directory::{AuthError, Beginning, Command, Node, Profile, Role, begin, beginning};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Log, NewRecord, TopicSpec};
use support::memory_log::{ACCESS, AUDIT};
use support::*;
use tokio_util::sync::CancellationToken;

fn open(folder: &std::path::Path) -> Arc<EmbeddedLog> {
    let topics = [TopicSpec { topic: ACCESS, partitions: 1 }, TopicSpec { topic: AUDIT, partitions: 4 }];
    EmbeddedLog::open(folder, &topics, SystemClock::shared(), Options::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (before, kept, revoked) = {
        let log = open(folder.path());
        let stop = CancellationToken::new();
        let node = Node::start(log.clone(), SystemClock::shared(), stop.clone()).await.unwrap();
        let other = Node::start(log.clone(), SystemClock::shared(), stop.clone()).await.unwrap();
        execute(&node, create_account("1")).await.unwrap();
        let user = execute(&node, create_user("1", "ada", Role::Admin)).await.unwrap();
        let kept = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
        let revoked = execute(&other, create_token(&user.id)).await.unwrap();
        assert!(other.authenticate(&presented(&kept)).await.is_ok());
        execute(&other, Command::RevokeToken { token_id: revoked.id.clone() }).await.unwrap();
        let before = node.caught_up().await.unwrap();
        stop.cancel();
        node.finished().await;
        other.finished().await;
        log.close();
        (before, kept, revoked)
    };
    let log = open(folder.path());
    let stop = CancellationToken::new();
    let node = Node::start(log.clone(), SystemClock::shared(), stop.clone()).await.unwrap();
    assert!(*before == *node.directory());
    assert!(node.authenticate(&presented(&kept)).await.is_ok());
    assert!(matches!(node.authenticate(&presented(&revoked)).await, Err(AuthError::Inactive { .. })));
    assert_eq!(node.authenticate(&guess(1)).await, Err(AuthError::Unknown { kind: presented(&kept).kind() }));
    execute(&node, create_account("2")).await.unwrap();
    stop.cancel();
    node.finished().await;
    log.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_topic_says_by_its_first_fact_which_log_it_belongs_to() {
    let folder = tempfile::tempdir().unwrap();
    let (log, clock) = (open(folder.path()), SystemClock::shared());
    assert_eq!(beginning(&*log).await.unwrap(), Beginning::Nothing);
    for _ in 0..2 {
        begin(&*log, &*clock).await.unwrap();
        assert_eq!(beginning(&*log).await.unwrap(), Beginning::ThisLog, "a second time changes nothing");
    }
    let node = Node::start(log.clone(), clock, CancellationToken::new()).await.unwrap();
    execute(&node, create_account("1")).await.unwrap();
    assert_eq!(node.directory().account_count(), 1, "facts come after it as before");
    let first = log.read(ACCESS, 0, 0, 1).await.unwrap().records.remove(0);
    log.close();

    // As if the topic had been filled from another log's, or made anew and written to.
    for (value, words) in [(Some(first.value), "belongs to log"), (None, "names no log")] {
        let folder = tempfile::tempdir().unwrap();
        let other = open(folder.path());
        match value {
            Some(value) => {
                let copied = NewRecord { partition: 0, version: first.version, key: first.key.clone(), value };
                other.append(ACCESS, vec![copied]).await.unwrap();
            }
            None => {
                let node = Node::start(other.clone(), SystemClock::shared(), CancellationToken::new()).await.unwrap();
                execute(&node, create_account("1")).await.unwrap();
            }
        }
        let said = beginning(&*other).await.unwrap();
        assert!(matches!(&said, Beginning::Other(reason) if reason.contains(words)), "{said:?}");
        other.close();
    }
}
