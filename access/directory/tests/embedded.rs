//! The same on the real embedded log: what is made survives a restart.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use millrace_clock::SystemClock;
use millrace_directory::{AuthError, Command, Node, Profile, Role};
use millrace_eventlog::TopicSpec;
use millrace_eventlog::embedded::{EmbeddedLog, Options};
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
