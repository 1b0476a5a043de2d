//! The log on one real broker: the suite every log passes, and what only Kafka can do to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millrace_eventlog::conformance;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[path = "conformance.rs"]
mod suite;
#[path = "../support/mod.rs"]
mod support;

mod door;
mod members;
mod topics;
mod transactions;

/// Logs under test at once: most checks wait for the broker most of the time.
const AT_ONCE: usize = 4;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($bootstrap:ident: $($module:ident :: $name:ident),* $(,)?) => {
        vec![$((stringify!($name), Box::pin($module::$name($bootstrap.clone())) as Running)),*]
    };
}

fn cases(bootstrap: &str) -> Vec<(&'static str, Running)> {
    let bootstrap = bootstrap.to_owned();
    let mut cases = cases![bootstrap:
        topics::two_who_make_it_at_once_make_one_log,
        topics::a_creation_that_was_interrupted_is_finished,
        topics::a_deleted_topic_is_not_made_again,
        topics::a_topic_made_again_with_another_count_is_refused,
        topics::a_log_that_lost_its_identity_is_not_made_again,
        topics::each_wrong_setting_is_named_with_its_remedy,
        topics::a_topic_the_log_was_made_without_is_refused,
        topics::a_cluster_that_does_not_answer_is_unreachable,
        members::a_topic_deleted_under_a_member_is_an_error_that_names_it,
        members::a_topic_made_again_under_a_member_is_a_regressed_log,
        members::two_with_one_name_are_said_to_have_one,
        members::what_a_member_that_died_halfway_left_to_nobody_is_given_to_somebody,
        members::a_slow_owner_bounds_what_is_fetched_and_misses_nothing,
        transactions::what_a_zombie_left_open_is_never_seen,
        transactions::a_transaction_nobody_ends_is_over_in_the_end,
        transactions::what_may_be_open_in_a_partition_is_ended_before_the_first_commit_there,
        transactions::an_undecided_transaction_keeps_nobody_else_waiting,
        transactions::a_member_that_joins_ends_what_its_name_left_open,
        transactions::a_producer_that_was_fenced_is_made_anew,
        transactions::a_commit_that_was_made_and_not_answered_is_told_as_committed,
        transactions::a_commit_that_never_arrived_is_told_as_fenced_and_its_outputs_are_never_read,
        transactions::a_commit_past_its_timeout_is_told_as_fenced_and_its_outputs_are_never_read,
        transactions::a_record_too_large_for_a_transaction_aborts_it,
    ];
    for check in conformance::checks() {
        let bootstrap = bootstrap.clone();
        let name = check.name;
        cases.push((name, Box::pin(async move { suite::run(&check, support::options(&bootstrap, 1)).await })));
    }
    cases
}

/// One test, because one broker serves all of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_a_broker_keeps_its_word() {
    let Some(broker) = support::brokers(1).await else { return };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (name, case) in cases(&broker.cluster.bootstrap()) {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _room = room.acquire().await.unwrap();
            // A task of its own, so that one that fails does not hide the others.
            (name, tokio::spawn(case).await)
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        let (name, outcome) = ended.unwrap();
        println!("{name}: {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        if outcome.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
