//! The audit trail: one entry per change, counted validations, never a secret.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::IpAddr;

use millrace_directory::audit::Auditor;
use millrace_directory::{Actor, AuthError, Command, CommandError, ExposeSecret, Presented, Profile, Role, limits};
use millrace_schemas::access::Audit;
use millrace_schemas::partition;
use support::memory_log::{ACCESS, AUDIT, Fault};
use support::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn validations(audit: &[Audit]) -> Vec<&Audit> {
    audit.iter().filter(|entry| entry.action == "credential.validate").collect()
}

/// Moves the clock by a window, again and again: the counting task may not have begun to wait.
async fn turn_window(world: &World, wished: impl Fn(&[Audit]) -> bool) -> Vec<Audit> {
    let turned = |audit: &[Audit]| {
        world.clock.advance(limits::VALIDATIONS_WINDOW);
        wished(audit)
    };
    world.audit_until(turned).await
}

#[tokio::test]
async fn every_change_is_one_entry_with_who_what_and_the_outcome() {
    let world = World::new();
    let node = world.node().await;
    let mut actor = Actor::new("user", "u-1");
    actor.source_ip = Some(HERE);
    actor.user_agent = "curl/8".into();
    actor.request_id = "r-1".into();
    node.execute(&actor, create_account("1")).await.unwrap();
    let user = node.execute(&actor, create_user("1", "ada", Role::Admin)).await.unwrap();
    let key = node.execute(&actor, create_key("1", Profile::Platform)).await.unwrap();
    let token = node.execute(&actor, create_token(&user.id)).await.unwrap();
    node.execute(&actor, change_user(&user.id, None, Some(false))).await.unwrap_err();
    node.execute(&actor, Command::RevokeKey { key_id: key.id.clone() }).await.unwrap();
    node.execute(&actor, Command::RevokeToken { token_id: token.id.clone() }).await.unwrap();
    node.execute(&actor, Command::CloseAccount { account_id: account_id("1") }).await.unwrap();

    let audit = world.audit();
    let told: Vec<[&str; 4]> =
        audit.iter().map(|entry| [&*entry.action, &*entry.target_kind, &*entry.target_id, &*entry.outcome]).collect();
    assert_eq!(
        told,
        [
            ["account.create", "account", "1", "ok"],
            ["user.create", "user", &user.id, "ok"],
            ["key.create", "key", &key.id, "ok"],
            ["token.create", "token", &token.id, "ok"],
            ["user.change", "user", &user.id, "conflict"],
            ["key.revoke", "key", &key.id, "ok"],
            ["token.revoke", "token", &token.id, "ok"],
            ["account.close", "account", "1", "ok"],
        ]
    );
    for entry in &audit {
        assert_eq!((&*entry.account_id, entry.timestamp_ms, entry.count), ("1", START_MS, 1));
        assert_eq!((&*entry.actor_kind, &*entry.actor_id, &*entry.source_ip), ("user", "u-1", "192.0.2.1"));
        assert_eq!((&*entry.user_agent, &*entry.request_id), ("curl/8", "r-1"));
    }
    assert_eq!(audit[2].detail, "profile=platform scopes=write");
    assert!(world.facts().iter().all(|fact| fact.actor == "user:u-1"));
}

#[tokio::test]
async fn entries_stand_in_their_accounts_partition_under_its_key() {
    let world = World::new();
    let node = world.node().await;
    for account in ["1", "2", "shop", "a-b_c"] {
        execute(&node, create_account(account)).await.unwrap();
    }
    use millrace_eventlog::Log;
    for number in 0..world.log.partitions(AUDIT) {
        for record in world.log.read(AUDIT, number, 0, usize::MAX).await.unwrap().records {
            let account = std::str::from_utf8(&record.key).unwrap();
            assert_eq!(partition::of_account(account, world.log.partitions(AUDIT)), number);
        }
    }
    assert_eq!(world.audit().len(), 4);
}

#[tokio::test]
async fn a_change_whose_entry_cannot_be_written_is_reported_as_unaudited() {
    let world = World::new();
    let node = world.node().await;
    world.log.fail_next(AUDIT, [Fault::Refused; limits::AUDIT_TRIES]);
    let trying = tokio::spawn({
        let node = node.clone();
        async move { execute(&node, create_account("1")).await }
    });
    eventually("all tries are made", || {
        world.clock.advance(limits::AUDIT_RETRY_PAUSE);
        trying.is_finished()
    })
    .await;
    let error = trying.await.unwrap().unwrap_err();
    assert!(matches!(&error, CommandError::Unaudited { id, .. } if id == "1"), "{error}");
    assert_eq!(node.directory().account_count(), 1, "the change itself stands");
}

#[tokio::test]
async fn an_entry_is_tried_again() {
    let world = World::new();
    let node = world.node().await;
    world.log.fail_next(AUDIT, [Fault::Refused, Fault::UnknownAndOut]);
    let trying = tokio::spawn({
        let node = node.clone();
        async move { execute(&node, create_account("1")).await }
    });
    eventually("the command ends", || {
        world.clock.advance(limits::AUDIT_RETRY_PAUSE);
        trying.is_finished()
    })
    .await;
    trying.await.unwrap().unwrap();
    assert_eq!(world.audit().len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_change_without_its_entry() {
    let world = World::new();
    let node = world.node().await;
    let actor = Actor::local();
    {
        let mut command = Box::pin(node.execute(&actor, create_account("1")));
        // Started, then dropped.
        let started = futures::poll!(&mut command);
        assert!(started.is_pending());
    }
    let audit = world.audit_until(|audit| !audit.is_empty()).await;
    assert_eq!((audit[0].action.as_str(), audit[0].outcome.as_str()), ("account.create", "ok"));
    assert_eq!(world.log.all(ACCESS).len(), 1);
}

#[tokio::test]
async fn successes_are_counted_per_credential_and_window() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let other = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    for _ in 0..5 {
        node.authenticate_from(&presented(&key), HERE).await.unwrap();
    }
    node.authenticate_from(&presented(&other), HERE).await.unwrap();
    assert!(validations(&world.audit()).is_empty(), "nothing before the window ends");
    let audit = turn_window(&world, |audit| validations(audit).len() == 2).await;
    for (id, count) in [(&key.id, 5), (&other.id, 1)] {
        let entry = validations(&audit).into_iter().find(|entry| entry.actor_id == *id).unwrap();
        assert_eq!((entry.count, &*entry.outcome, &*entry.account_id, &*entry.actor_kind), (count, "ok", "1", "key"));
    }
}

#[tokio::test]
async fn the_first_failure_is_written_at_once_and_the_rest_counted() {
    let world = World::new();
    let node = world.node().await;
    for number in 0..7 {
        node.authenticate_from(&guess(number), HERE).await.unwrap_err();
    }
    let audit = world.audit_until(|audit| !audit.is_empty()).await;
    let first = validations(&audit)[0];
    assert_eq!(
        (first.count, &*first.outcome, &*first.source_ip, &*first.actor_kind),
        (1, "refused", "192.0.2.1", "key")
    );
    let audit = turn_window(&world, |audit| audit.len() == 2).await;
    assert_eq!(audit.iter().map(|entry| entry.count).sum::<i64>(), 7, "each failure is counted once");
    node.authenticate_from(&guess(8), HERE).await.unwrap_err();
    world.audit_until(|audit| audit.len() == 3).await;
}

#[tokio::test]
async fn a_failure_of_a_revoked_key_stands_in_its_accounts_trail() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    execute(&node, Command::RevokeKey { key_id: key.id.clone() }).await.unwrap();
    let outcome = node.authenticate_from(&presented(&key), HERE).await;
    assert!(matches!(outcome, Err(AuthError::Inactive { .. })));
    let audit = world.audit_until(|audit| !validations(audit).is_empty()).await;
    assert_eq!(validations(&audit)[0].account_id, "1");
}

#[tokio::test]
async fn a_flood_from_many_addresses_makes_a_bounded_number_of_entries_and_loses_no_count() {
    let world = World::new();
    let node = world.node().await;
    let flood = limits::VALIDATIONS_FAILURES_MAX as u32 + 500;
    for number in 0..flood {
        let source = IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        node.authenticate_from(&Presented::parse("nonsense"), source).await.unwrap_err();
    }
    let total = |audit: &[Audit]| audit.iter().map(|entry| entry.count).sum::<i64>();
    let audit = turn_window(&world, |audit| total(audit) == i64::from(flood)).await;
    assert!(audit.len() <= 2 * limits::VALIDATIONS_FAILURES_MAX + 1, "{} entries", audit.len());
    assert!(audit.iter().any(|entry| entry.actor_id == "*" && entry.count == 500));
}

#[tokio::test]
async fn counts_that_could_not_be_written_are_written_later() {
    let world = World::new();
    let node = world.node().await;
    world.log.fail_next(AUDIT, [Fault::Refused]);
    node.authenticate_from(&guess(1), HERE).await.unwrap_err();
    tokio::task::yield_now().await;
    let audit = turn_window(&world, |audit| !audit.is_empty()).await;
    assert_eq!(audit.iter().map(|entry| entry.count).sum::<i64>(), 1);
}

#[tokio::test]
async fn stopping_writes_the_counts_of_the_unfinished_window() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    node.authenticate_from(&presented(&key), HERE).await.unwrap();
    world.stop.cancel();
    tokio::time::timeout(DEADLINE, node.finished()).await.expect("a node ends");
    assert_eq!(validations(&world.audit())[0].count, 1);
}

#[tokio::test]
async fn a_log_that_hangs_does_not_hold_up_the_stop_for_long() {
    let world = World::new();
    let node = world.node().await;
    node.authenticate_from(&guess(1), HERE).await.unwrap_err();
    world.audit_until(|audit| audit.len() == 1).await;
    node.authenticate_from(&guess(2), HERE).await.unwrap_err();
    world.log.fail_next(AUDIT, [Fault::Hangs]);
    world.stop.cancel();
    let finished = tokio::spawn(async move { node.finished().await });
    eventually("the node ends", || {
        world.clock.advance(limits::STOP_WAIT);
        finished.is_finished()
    })
    .await;
}

#[tokio::test]
async fn long_texts_are_cut_and_time_and_count_are_set() {
    let world = World::new();
    let auditor = Auditor::new(world.log.clone(), world.shared_clock());
    let mut actor = Actor::new("user", "u");
    actor.user_agent = "é".repeat(limits::AUDIT_TEXT_BYTES_MAX);
    auditor.append(Audit { count: 0, ..actor.entry("export.mint", "account", "1", "ok") }).await.unwrap();
    let entry = &world.audit()[0];
    assert_eq!((entry.timestamp_ms, entry.count), (START_MS, 1));
    assert_eq!(entry.user_agent.len(), limits::AUDIT_TEXT_BYTES_MAX);
    world.log.fail_next(AUDIT, [Fault::Refused]);
    auditor.append(actor.entry("export.mint", "account", "1", "ok")).await.expect_err("a failed append is told");
}

#[tokio::test]
async fn no_credential_stands_in_the_trail() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    node.authenticate_from(&presented(&key), HERE).await.unwrap();
    node.authenticate_from(&guess(1), HERE).await.unwrap_err();
    turn_window(&world, |audit| validations(audit).len() == 2).await;
    let secret = key.secret.unwrap();
    for record in world.log.all(AUDIT) {
        let text = String::from_utf8_lossy(&record.value).into_owned();
        assert!(!text.contains(&secret.expose_secret()[12..]) && !text.contains(&format!("{:032}", 1)));
    }
}
