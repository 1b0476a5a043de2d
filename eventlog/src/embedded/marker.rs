//! The marker: makes synced commits acknowledged.
//!
//! It takes every commit that has been synced since it last looked, writes one end mark for all of them, and when that is on the
//! disk shows them to readers and answers their callers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use tokio::sync::oneshot;

use super::chunk::Chunk;
use super::group::InFlight;
use super::head::Span;
use super::mark::MarkFile;
use super::shared::Shared;
use crate::{AppendError, Appended, Committed};

/// How often a mark that could not be written is tried again, and for how long after the log was closed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const RETRIES_AFTER_CLOSE: u32 = 20;

/// What the writer passes on.
pub(super) enum Synced {
    Commit(Commit),
    /// Answered once everything before it is marked.
    Barrier(SyncSender<()>),
}

/// A commit that is in the store's journal, on the disk.
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) spans: Vec<Span>,
    pub(super) chunks: Vec<(usize, Chunk)>,
    pub(super) positions: Vec<(Vec<u8>, Committed)>,
    pub(super) answers: Vec<Answer>,
}

/// Somebody who waits, and what to tell them.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
    pub(super) appended: Vec<Appended>,
    pub(super) in_flight: Option<InFlight>,
}

/// Runs until the writer is gone.
pub(super) fn run(shared: &Arc<Shared>, mut mark: MarkFile, synced: &Receiver<Synced>) {
    let mut commits = Vec::new();
    while let Ok(first) = synced.recv() {
        let mut barriers = Vec::new();
        for next in std::iter::once(first).chain(std::iter::from_fn(|| synced.try_recv().ok())) {
            match next {
                Synced::Commit(commit) => commits.push(commit),
                Synced::Barrier(reached) => barriers.push(reached),
            }
        }
        acknowledge(shared, &mut mark, &mut commits);
        for reached in barriers {
            // The writer may have gone; then nobody needs to know.
            let _ = reached.send(());
        }
    }
}

fn acknowledge(shared: &Arc<Shared>, mark: &mut MarkFile, commits: &mut Vec<Commit>) {
    let Some(last) = commits.last() else { return };
    let marked = write(shared, mark, last);
    for commit in commits.drain(..) {
        if marked {
            shared.publish(commit.chunks.into_iter(), commit.spans);
            shared.groups().committed(commit.positions);
        }
        for Answer { to, appended, in_flight } in commit.answers {
            drop(in_flight);
            let reason = || "the end mark could not be written".to_owned();
            let answer = if marked { Ok(appended) } else { Err(AppendError::Unknown { reason: reason() }) };
            // A caller that went away has asked for nothing more.
            let _ = to.send(answer);
        }
    }
}

// Tries until it works: the commits are on the disk and cannot be taken back. Gives up only when the log is being closed.
fn write(shared: &Shared, mark: &mut MarkFile, last: &Commit) -> bool {
    let extents: Vec<_> = last.spans.iter().map(|span| span.extents()).collect();
    let mut tries_left = RETRIES_AFTER_CLOSE;
    while tries_left > 0 {
        match mark.write(last.number, &extents) {
            Ok(()) => return true,
            Err(error) => {
                tracing::error!(file = %mark.path().display(), %error, "the end mark could not be written");
                shared.set_trouble(Some(format!("the end mark could not be written: {error}")));
            }
        }
        std::thread::park_timeout(RETRY_PAUSE);
        if shared.is_closed() {
            tries_left -= 1;
        }
    }
    false
}
