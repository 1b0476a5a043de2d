//! Look-ups: when an unknown credential is refused, and when it is not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use millrace_clock::Clock;
use millrace_directory::{AuthError, Command, ExposeSecret, Kind, Node, Presented, Profile, limits};
use millrace_eventlog::{Log, NewRecord};
use millrace_schemas::access::Fact;
use millrace_schemas::codec::Versioned;
use support::memory_log::{ACCESS, Late};
use support::*;

fn unknown_key() -> AuthError {
    AuthError::Unknown { kind: Some(Kind::ApiKey) }
}

#[tokio::test]
async fn a_key_made_on_another_node_works_at_once() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    execute(&first, create_account("1")).await.unwrap();
    for _ in 0..20 {
        let key = execute(&first, create_key("1", Profile::Platform)).await.unwrap();
        assert!(second.authenticate(&presented(&key)).await.is_ok());
    }
}

#[tokio::test]
async fn a_revocation_reaches_every_node_within_a_second() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    execute(&first, create_account("1")).await.unwrap();
    let key = execute(&first, create_key("1", Profile::Platform)).await.unwrap();
    assert!(second.authenticate(&presented(&key)).await.is_ok());
    execute(&first, Command::RevokeKey { key_id: key.id.clone() }).await.unwrap();
    let refused = async {
        while second.authenticate(&presented(&key)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), refused).await.expect("within a second");
}

#[tokio::test]
async fn what_has_no_form_of_ours_is_refused_without_a_look() {
    let world = World::new();
    let node = world.node().await;
    world.log.set_unreadable(true);
    for text in ["", "2:short", "sk-live-", "sk-test-00000000000000000000000000000000", "Bearer x"] {
        let outcome = node.authenticate(&Presented::parse(text)).await;
        assert_eq!(outcome, Err(AuthError::Unknown { kind: None }), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_unavailable_while_the_logs_end_cannot_be_reached() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    world.log.set_unreadable(true);
    assert!(matches!(node.authenticate(&guess(1)).await, Err(AuthError::Unavailable(_))));
    assert!(node.authenticate(&presented(&key)).await.is_ok(), "a known one needs no log");
    world.log.set_unreadable(false);
    assert_eq!(node.authenticate(&guess(1)).await, Err(unknown_key()));
}

/// Sees that there is more, and cannot read it.
struct Stuck(Arc<support::memory_log::MemoryLog>);

#[async_trait::async_trait]
impl Log for Stuck {
    fn id(&self) -> &str {
        self.0.id()
    }
    fn partitions(&self, topic: millrace_eventlog::Topic) -> u32 {
        self.0.partitions(topic)
    }
    async fn append(
        &self,
        topic: millrace_eventlog::Topic,
        records: Vec<NewRecord>,
    ) -> Result<Vec<millrace_eventlog::Appended>, millrace_eventlog::AppendError> {
        self.0.append(topic, records).await
    }
    async fn read(
        &self,
        topic: millrace_eventlog::Topic,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<millrace_eventlog::Chunk, millrace_eventlog::ReadError> {
        if self.0.extent(topic, partition).await?.end > from {
            std::future::pending::<()>().await;
        }
        self.0.read(topic, partition, from, max_bytes).await
    }
    async fn extent(
        &self,
        topic: millrace_eventlog::Topic,
        partition: u32,
    ) -> Result<millrace_eventlog::Extent, millrace_eventlog::ReadError> {
        self.0.extent(topic, partition).await
    }
    async fn position_at(
        &self,
        topic: millrace_eventlog::Topic,
        partition: u32,
        time_ms: i64,
    ) -> Result<Option<u64>, millrace_eventlog::ReadError> {
        self.0.position_at(topic, partition, time_ms).await
    }
    async fn grown(&self, topic: millrace_eventlog::Topic, partition: u32, end: u64, at_most: Duration) {
        self.0.grown(topic, partition, end, at_most).await;
    }
    async fn subscribe(
        &self,
        group: &str,
        topic: millrace_eventlog::Topic,
    ) -> Result<Box<dyn millrace_eventlog::Consumer>, millrace_eventlog::ReadError> {
        self.0.subscribe(group, topic).await
    }
}

#[tokio::test]
async fn an_unknown_key_waits_half_a_second_for_the_logs_end_and_no_longer() {
    let world = World::new();
    let writer = world.node().await;
    let node = world.node_on(Arc::new(Stuck(world.log.clone()))).await;
    execute(&writer, create_account("1")).await.unwrap();
    let asking = tokio::spawn({
        let node = node.clone();
        async move { node.authenticate(&guess(1)).await }
    });
    tokio::task::yield_now().await;
    world.clock.advance(limits::UNKNOWN_WAIT - Duration::from_millis(1));
    tokio::time::timeout(Duration::from_millis(50), async {
        while !asking.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect_err("it waits for the end");
    world.clock.advance(Duration::from_millis(1));
    let outcome = tokio::time::timeout(DEADLINE, asking).await.expect("it gives up").unwrap();
    assert!(matches!(outcome, Err(AuthError::Unavailable(_))));
}

#[tokio::test]
async fn asking_again_for_an_unknown_key_does_not_ask_the_log() {
    let world = World::new();
    let node = world.node().await;
    assert_eq!(node.authenticate(&guess(1)).await, Err(unknown_key()));
    // With the log gone only what is remembered can answer.
    world.log.set_unreadable(true);
    assert_eq!(node.authenticate(&guess(1)).await, Err(unknown_key()));
    world.clock.advance(limits::UNKNOWN_REMEMBERED);
    assert!(matches!(node.authenticate(&guess(1)).await, Err(AuthError::Unavailable(_))), "for ten seconds only");
}

/// A node whose secrets are those of every other such node: what one makes first, the other makes first too.
async fn foretelling(world: &World) -> Arc<Node> {
    let (log, clock, stop) = (world.log.clone(), world.shared_clock(), world.stop.clone());
    Node::start_with(log, clock, Counted::from(7), stop).await.unwrap()
}

#[tokio::test]
async fn a_key_that_was_remembered_as_unknown_works_as_soon_as_it_is_made() {
    let (world, oracle_world) = (World::new(), World::new());
    let (oracle, node, other) = (foretelling(&oracle_world).await, foretelling(&world).await, world.node().await);
    execute(&oracle, create_account("1")).await.unwrap();
    let foretold = execute(&oracle, create_key("1", Profile::Platform)).await.unwrap();
    execute(&node, create_account("1")).await.unwrap();

    for asked in [&node, &other] {
        asked.caught_up().await.unwrap();
        assert_eq!(asked.authenticate(&presented(&foretold)).await, Err(unknown_key()));
    }
    let made = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let secret = |done: &millrace_directory::Done| done.secret.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!(secret(&made), secret(&foretold));
    assert!(node.authenticate(&presented(&made)).await.is_ok(), "no time has passed since it was unknown");
    other.caught_up().await.unwrap();
    assert!(other.authenticate(&presented(&made)).await.is_ok());
}

#[tokio::test]
async fn many_guesses_at_once_ask_the_log_a_few_times() {
    let world = World::new();
    let node = world.node().await;
    let before = world.log.extents_asked();
    let guesses = (0..500).map(|number| {
        let node = node.clone();
        async move { node.authenticate(&guess(number)).await }
    });
    for outcome in futures::future::join_all(guesses).await {
        assert_eq!(outcome, Err(unknown_key()));
    }
    let asked = world.log.extents_asked() - before;
    assert!(asked < 50, "500 guesses asked {asked} times");
}

#[tokio::test]
async fn a_question_nobody_waits_for_any_more_is_still_the_one_under_way() {
    let world = World::new();
    let node = world.node().await;
    world.log.fall_silent();
    let before = world.log.extents_asked();
    for number in 0..20 {
        let guessed = guess(number);
        let guessing = node.authenticate(&guessed);
        tokio::pin!(guessing);
        let given_up = async {
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut guessing => return outcome,
                    () = tokio::task::yield_now() => world.clock.advance(limits::UNKNOWN_WAIT / 4),
                }
            }
        };
        let outcome = tokio::time::timeout(DEADLINE, given_up).await.expect("it gives up");
        assert!(matches!(outcome, Err(AuthError::Unavailable(_))), "{outcome:?}");
    }
    let asked = world.log.extents_asked() - before;
    assert!(asked < 5, "20 guesses, each given up, asked {asked} times");
}

#[tokio::test]
async fn a_node_that_does_not_reach_the_end_is_stale_after_thirty_seconds() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    assert_eq!(node.fresh(), Ok(()));
    world.log.set_unreadable(true);
    world.clock.advance(limits::STALE_AFTER);
    assert_eq!(node.fresh(), Ok(()));
    world.clock.advance(Duration::from_millis(1));
    assert!(node.fresh().unwrap_err().contains("30 s"));
    world.clock.advance(Duration::from_secs(600));
    assert!(node.authenticate(&presented(&key)).await.is_ok(), "whoever is known is served for as long as it takes");
    world.log.set_unreadable(false);
    eventually("the node is fresh again", || {
        world.clock.advance(limits::READ_RETRY_PAUSE);
        node.fresh().is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_node_at_the_end_stays_fresh_while_nothing_happens() {
    let world = World::new();
    let node = world.node().await;
    for _ in 0..10 {
        world.clock.advance(limits::STALE_AFTER);
        eventually("the node has looked", || node.fresh().is_ok()).await;
    }
}

#[tokio::test]
async fn a_newer_fact_stops_the_fold_and_nothing_is_let_in() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let newer = NewRecord { partition: 0, version: Fact::VERSION + 1, key: "x".into(), value: "x".into() };
    world.log.append(ACCESS, vec![newer]).await.unwrap();
    eventually("the node says so", || node.fresh().is_err()).await;
    let said = node.fresh().unwrap_err();
    assert!(said.contains("version 2") && said.contains("upgrade"), "{said}");
    assert_eq!(node.halted().await, said, "who runs the node hears of it");
    for credential in [presented(&key), guess(1)] {
        assert!(matches!(node.authenticate(&credential).await, Err(AuthError::Unavailable(_))));
    }
    assert!(node.caught_up().await.is_err());
    let refused = execute(&node, create_account("2")).await.unwrap_err();
    assert!(matches!(refused, millrace_directory::CommandError::Unavailable { .. }));
    // A node that starts now does not start at all.
    let stop = world.stop.clone();
    let error = Node::start(world.log.clone(), world.shared_clock(), stop).await.err().expect("it must not start");
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn a_fact_that_does_not_decode_is_void_and_the_fold_goes_on() {
    let world = World::new();
    let node = world.node().await;
    for (version, value) in [(1, "\u{1}garbage"), (0, "unversioned"), (1, "")] {
        let record = NewRecord { partition: 0, version, key: "x".into(), value: value.into() };
        world.log.append(ACCESS, vec![record]).await.unwrap();
    }
    execute(&node, create_account("1")).await.unwrap();
    assert_eq!(node.directory().account_count(), 1);
    assert_eq!(node.fresh(), Ok(()));
}

#[tokio::test]
async fn a_late_node_folds_to_the_end_when_asked() {
    let world = World::new();
    let first = world.node().await;
    let late = Late::new(&world.log);
    let second = world.node_on(late.clone()).await;
    for number in 0..10 {
        execute(&first, create_account(&number.to_string())).await.unwrap();
    }
    assert_eq!(second.directory().account_count(), 0);
    late.look();
    // The log gives a few records at a time: the first of them are not the end.
    assert_eq!(second.caught_up().await.unwrap().account_count(), 10);
    assert_eq!(world.clock.elapsed(), Duration::ZERO, "no clock was needed for it");
}

#[tokio::test]
async fn what_was_unknown_before_something_was_folded_is_looked_for_again() {
    let (world, oracle_world) = (World::new(), World::new());
    let (oracle, first) = (foretelling(&oracle_world).await, foretelling(&world).await);
    for node in [&oracle, &first] {
        execute(node, create_account("1")).await.unwrap();
        execute(node, create_account("2")).await.unwrap();
    }
    let foretold = execute(&oracle, create_key("1", Profile::Platform)).await.unwrap();
    let late = Late::new(&world.log);
    let second = world.node_on(late.clone()).await;
    assert_eq!(second.authenticate(&presented(&foretold)).await, Err(unknown_key()));

    // The second node folds one fact more, and then does not come to fold the one that makes the key.
    let other = world.node().await;
    execute(&other, create_account("3")).await.unwrap();
    late.look();
    second.caught_up().await.unwrap();
    execute(&first, create_key("1", Profile::Platform)).await.unwrap();
    late.look();
    assert!(second.authenticate(&presented(&foretold)).await.is_ok());
}
