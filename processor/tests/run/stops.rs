//! Every reason to stop is reachable, names what is wrong, and costs no row.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use millrace_clock::Clock;
use millrace_eventlog::{Committed, Log, NewRecord, ReadError, Transaction};
use millrace_processor::{Contradiction, Error, GROUP, Witness};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Watermark, enriched_record};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::recovery::{commit, visitor, watermark};
use crate::rig::*;
use crate::support::*;

/// What each is called in the table. A new one has no name before there is a case for it.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Contradiction(contradiction) => match contradiction {
            Contradiction::StateOfOtherLog { .. } => "state of another log",
            Contradiction::SnapshotOfOtherLog { .. } => "snapshot of another log",
            Contradiction::Unrecorded { witness, .. } => match witness {
                Witness::Group => "the group knows more than the topic",
                Witness::LocalState => "the local state knows more than the topic",
                Witness::Snapshot(_) => "a snapshot knows more than the topic",
            },
            Contradiction::ForeignOutcomes { .. } => "foreign outcomes",
            Contradiction::OutcomesGone { .. } => "outcomes gone",
            Contradiction::RawGone { .. } => "raw gone",
            Contradiction::OutcomesAnew { .. } => "outcomes made anew",
            Contradiction::RawEnds { .. } => "raw ends",
            Contradiction::OtherRecords { .. } => "other records",
            Contradiction::NoSettings { .. } => "no settings",
            Contradiction::Unreadable { .. } => "an outcome of a later release",
        },
        Error::Log(ReadError::Truncated { .. }) => "raw truncated below us",
        Error::Log(ReadError::Regressed { .. } | ReadError::Damaged { .. } | ReadError::Unavailable(_)) => {
            "the log's own"
        }
    }
}

type Case = fn() -> Pin<Box<dyn Future<Output = Stopped>>>;

/// What a case ends with: where, and why it stopped.
struct Stopped {
    rig: Rig,
    error: Error,
    /// What the message must hold.
    names: Vec<String>,
}

const CASES: &[(&str, Case)] = &[
    ("state of another log", || Box::pin(state_of_another_log())),
    ("snapshot of another log", || Box::pin(snapshot_of_another_log())),
    ("the group knows more than the topic", || Box::pin(the_group_knows_more())),
    ("the local state knows more than the topic", || Box::pin(the_local_state_knows_more())),
    ("a snapshot knows more than the topic", || Box::pin(a_snapshot_knows_more())),
    ("foreign outcomes", || Box::pin(foreign_outcomes())),
    ("outcomes gone", || Box::pin(outcomes_gone())),
    ("outcomes made anew", || Box::pin(outcomes_made_anew())),
    ("raw gone", || Box::pin(raw_gone())),
    ("raw ends", || Box::pin(raw_ends(false))),
    ("raw ends", || Box::pin(raw_ends(true))),
    ("other records", || Box::pin(other_records())),
    ("other records", || Box::pin(raw_made_anew_and_grown_since())),
    ("no settings", || Box::pin(no_settings(false))),
    ("no settings", || Box::pin(no_settings(true))),
    ("an outcome of a later release", || Box::pin(an_outcome_of_a_later_release())),
    ("raw truncated below us", || Box::pin(raw_truncated_below_us())),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_to_stop_is_reachable_and_names_what_is_wrong() {
    let cases = CASES.iter().map(|(expected, case)| async move {
        let Stopped { rig, error, names } = case().await;
        assert_eq!(name(&error), *expected, "{error}");
        let message = error.to_string();
        for part in names {
            assert!(message.contains(&part), "{expected}: {message:?} does not name {part:?}");
        }
        for partition in 0..PARTITIONS {
            // Whatever stands there, it was not we who put it there after having seen that something is wrong.
            let (outcomes, _) = rig.enriched(partition).await;
            assert!(
                outcomes.iter().all(|outcome| outcome.what.is_none()),
                "{expected}: a row in partition {partition}"
            );
        }
    });
    futures::future::join_all(cases).await;
    let covered: BTreeSet<_> = CASES.iter().map(|(name, _)| *name).collect();
    assert_eq!(covered.len(), 14, "a reason of `name` has no case");
}

/// A processor that has folded some ticks of every partition, and has a snapshot of each.
async fn folded() -> Rig {
    let rig = Rig::new().await;
    let running = rig.start();
    rig.settle(&running).await;
    rig.snapshots_are_there().await;
    running.stop().await.unwrap();
    rig
}

async fn last_mark(rig: &Rig) -> Watermark {
    rig.enriched(0).await.1.pop().unwrap()
}

async fn state_of_another_log() -> Stopped {
    let (before, rig) = (folded().await, Rig::new().await);
    let error = rig.start_in(before.state_dir()).failed().await;
    let names = vec![before.log.id().to_owned(), rig.log.id().to_owned()];
    Stopped { rig, error, names }
}

async fn snapshot_of_another_log() -> Stopped {
    let (before, rig) = (folded().await, Rig::new().await);
    let key = before.snapshot_keys(0).await.remove(0);
    let copied = key.replace(before.log.id(), rig.log.id());
    let bytes = before.bucket.get(&Path::parse(&key).unwrap()).await.unwrap().bytes().await.unwrap();
    rig.bucket.put(&Path::parse(&copied).unwrap(), bytes.into()).await.unwrap();
    commit(&rig, last_mark(&before).await).await;
    let error = rig.start().failed().await;
    let names = vec![copied, format!("log {}", before.log.id())];
    Stopped { rig, error, names }
}

async fn the_group_knows_more() -> Stopped {
    let rig = Rig::new().await;
    let mut consumer = rig.log.subscribe(GROUP, RAW).await.unwrap();
    while !matches!(consumer.next().await.unwrap(), millrace_eventlog::Delivery::Assigned { partition: 0, .. }) {}
    let inputs = vec![(0, Committed { next: 77, metadata: String::new() })];
    consumer.commit(Transaction { outputs: Vec::new(), inputs }).await.unwrap();
    drop(consumer);
    let error = rig.start().failed().await;
    let names = vec!["millrace.raw/0 to offset 77".into(), "holds no watermark record".into(), rig.log.id().into()];
    Stopped { rig, error, names }
}

async fn the_local_state_knows_more() -> Stopped {
    let before = folded().await;
    let rig = before.made_anew().settled().await;
    commit(&rig, Watermark { folded: 1, released: 1, ..last_mark(&before).await }).await;
    let error = rig.start_in(before.state_dir()).failed().await;
    let folded = last_mark(&before).await.folded;
    let names = vec![format!("the local state has folded millrace.raw/0 to offset {folded}"), "says 1".into()];
    Stopped { rig, error, names }
}

async fn a_snapshot_knows_more() -> Stopped {
    let before = folded().await;
    let rig = before.made_anew().settled().await;
    for partition in 0..PARTITIONS {
        // A position that was committed and is unrelated: nobody needs to wait for a commit that is on its way.
        mark_position(&rig, partition).await;
    }
    let error = rig.start().failed().await;
    let names = vec!["snapshot _millrace/snapshots/".into(), "holds no watermark record".into(), rig.log.id().into()];
    Stopped { rig, error, names }
}

async fn mark_position(rig: &Rig, partition: u32) {
    let mut consumer = rig.log.subscribe(GROUP, RAW).await.unwrap();
    let is_it = |delivery| matches!(delivery, millrace_eventlog::Delivery::Assigned { partition: given, .. } if given == partition);
    while !is_it(consumer.next().await.unwrap()) {}
    let inputs = vec![(partition, Committed { next: 0, metadata: String::new() })];
    consumer.commit(Transaction { outputs: Vec::new(), inputs }).await.unwrap();
}

async fn foreign_outcomes() -> Stopped {
    let rig = Rig::new().await;
    let foreign = EnrichedRecord { body: Some(enriched_record::Body::Outcome(Default::default())) }.to_bytes();
    let record = NewRecord { partition: 0, version: EnrichedRecord::VERSION, key: Bytes::new(), value: foreign };
    rig.log.append(ENRICHED, vec![record]).await.unwrap();
    let error = rig.start().failed().await;
    Stopped { error, names: vec!["millrace.enriched/0".into(), rig.log.id().into()], rig }
}

async fn outcomes_gone() -> Stopped {
    let rig = Rig::new().await;
    commit(&rig, Watermark { folded: 1, released: 1, ..Watermark::default() }).await;
    let end = rig.log.extent(ENRICHED, 0).await.unwrap().end;
    rig.log.trim(ENRICHED, 0, end).await.unwrap();
    rig.faults.group_forgets(true);
    let error = rig.start().failed().await;
    Stopped { error, names: vec![format!("millrace.enriched/0 of log {} begins at offset {end}", rig.log.id())], rig }
}

async fn raw_gone() -> Stopped {
    let mut rig = folded().await;
    rig.log.trim(RAW, 0, last_mark(&rig).await.folded).await.unwrap();
    std::fs::remove_dir_all(rig.state_dir()).unwrap();
    rig.bucket = Default::default();
    let error = rig.start().failed().await;
    Stopped { error, names: vec![format!("millrace.raw/0 of log {} begins at offset", rig.log.id())], rig }
}

/// With the local state, and without any.
async fn raw_ends(with_state: bool) -> Stopped {
    let before = folded().await;
    let mut rig = before.made_anew().settled().await;
    let mark = last_mark(&before).await;
    commit(&rig, mark).await;
    rig.bucket = Default::default();
    let state_dir = if with_state { before.state_dir() } else { rig.state_dir() };
    let error = rig.start_in(state_dir).failed().await;
    let names =
        vec![format!("millrace.raw/0 of log {} ends at offset", rig.log.id()), format!("to {} once", mark.folded)];
    Stopped { rig, error, names }
}

async fn other_records() -> Stopped {
    let rig = Rig::new().await;
    let offset = rig.append(vec![tick()]).await[0].offset;
    let folded = offset + 1;
    commit(&rig, Watermark { log_time_ms: T0 + 77, folded, released: folded, ..Watermark::default() }).await;
    let error = rig.start().failed().await;
    let names = vec![format!("folded to offset {folded}"), format!("log time {T0}"), format!("{} once", T0 + 77)];
    Stopped { rig, error, names }
}

async fn raw_made_anew_and_grown_since() -> Stopped {
    let before = folded().await;
    before.clock.advance(Duration::from_secs(60));
    let rig = before.made_anew().settled().await;
    let mark = last_mark(&before).await;
    while rig.log.extent(RAW, 0).await.unwrap().end < mark.folded + 5 {
        rig.append(vec![tick()]).await;
    }
    commit(&rig, mark).await;
    let error = rig.start_in(before.state_dir()).failed().await;
    let here = rig.clock.now_ms();
    let names = vec![format!("offset {} gives log time {here}", mark.folded), format!("{} once", mark.log_time_ms)];
    Stopped { rig, error, names }
}

/// While it runs, and while it recovers.
async fn no_settings(recovering: bool) -> Stopped {
    let rig = Rig::without_settings();
    rig.events(vec![converts(&visitor(), "1", T0)]).await;
    if recovering {
        commit(&rig, Watermark { log_time_ms: T0, folded: 1, released: 1, ..Watermark::default() }).await;
    }
    let error = rig.start().failed().await;
    let names = vec![format!("millrace.raw/0 of log {} holds no settings record before offset 0", rig.log.id())];
    Stopped { rig, error, names }
}

async fn an_outcome_of_a_later_release() -> Stopped {
    let rig = Rig::new().await;
    let mut later = watermark(Watermark::default());
    later.version += 1;
    let offset = rig.log.append(ENRICHED, vec![later]).await.unwrap()[0].offset;
    let error = rig.start().failed().await;
    // Not readable by the test either.
    let names = vec![format!("millrace.enriched/0 of log {}, offset {offset}", rig.log.id()), "upgrade".into()];
    Stopped { rig: Rig::new().await, error, names }
}

async fn outcomes_made_anew() -> Stopped {
    let rig = Rig::new().await;
    let running = rig.start();
    rig.settle(&running).await;
    running.faults.begins_again(true);
    rig.append(vec![tick()]).await;
    let error = running.failed().await;
    Stopped { rig, error, names: vec!["millrace.enriched/".into(), "at offset 0".into(), "made anew".into()] }
}

async fn raw_truncated_below_us() -> Stopped {
    let rig = Rig::new().await;
    let mut running = rig.start();
    running.recovered().await;
    running.hang(Hang::BeforeCommit);
    rig.append(vec![tick()]).await;
    running.hung().await;
    let last = rig.append((0..40).map(|_| tick()).collect()).await.pop().unwrap();
    rig.log.trim(RAW, 0, last.offset).await.unwrap();
    running.hang(Hang::Never);
    let error = running.failed().await;
    Stopped { rig, error, names: vec!["millrace.raw/0: offset".into(), format!("begins at {}", last.offset)] }
}

#[tokio::test(flavor = "multi_thread")]
async fn group_positions_that_expired_change_nothing() {
    let (rig, dice) = (Rig::new().await, Dice::new(11));
    rig.faults.group_forgets(true);
    for _ in 0..4 {
        let running = rig.start();
        running.recovered().await;
        let at = rig.clock.now_ms();
        let events = (0..20).map(|_| {
            let (visitor, uuid) = (format!("v{}", dice.roll(20)), format!("u{}", dice.roll(500)));
            converts(&visitor, &uuid, at)
        });
        rig.events(events.collect()).await;
        rig.settle(&running).await;
        running.stop().await.unwrap();
    }
    rig.check_outcomes().await;
}
