//! The writer: one thread that turns gathered requests into commits.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_clock::{SharedClock, SystemClock};
use tokio::sync::mpsc;

use super::chunk::Chunk;
use super::clock_rule::ClockRule;
use super::draft::Draft;
use super::head::{Anchor, Commit, Span};
use super::journal::{self, Scan};
use super::mark::Mark;
use super::marker::{self, Answer, Synced};
use super::opening::{self, Opened};
use super::options::Options;
use super::request::Request;
use super::shared::{Parts, Shared};
use super::store::Batch;
use super::tables;
use crate::limits::{
    COMMIT_BYTES_MAX, COMMIT_REQUESTS_MAX, COMMITS_UNMARKED_MAX, FREE_BYTES_MIN, REOPEN_PAUSE, TABLES_LISTED_EVERY,
};
use crate::{AppendError, Appended, metrics as names};

/// Starts the writer and the marker.
pub(super) fn start(
    folder: PathBuf,
    opened: Opened,
    clock: SharedClock,
    options: Options,
    clock_confirmed: Arc<AtomicBool>,
) -> io::Result<(Arc<Shared>, JoinHandle<()>, JoinHandle<()>)> {
    let Opened { id, topics, mark, store, commit, .. } = opened;
    let positions = store.positions().map_err(|error| io::Error::other(error.to_string()))?;
    let (queue, requests) = mpsc::unbounded_channel();
    let spans = commit.spans.clone();
    let tables_listed = store.table_count();
    let tail_bytes = options.tail_bytes;
    let parts = Parts { folder, id, topics, store, spans: spans.clone(), tail_bytes, positions, queue };
    let shared = Arc::new(Shared::new(parts));
    let (synced, marks) = sync_channel(COMMITS_UNMARKED_MAX);
    let marking = Arc::clone(&shared);
    let marker =
        std::thread::Builder::new().name("log-marker".into()).spawn(move || marker::run(&marking, mark, &marks))?;
    let rule = ClockRule::new(options.boot, commit.anchor.as_ref(), clock.elapsed());
    let writer = Writer {
        shared: Arc::clone(&shared),
        requests,
        synced,
        clock,
        real: SystemClock::shared(),
        rule,
        clock_confirmed,
        spans,
        number: commit.number,
        failed: None,
        reopen_at: Duration::ZERO,
        tables_listed,
        list_tables_at: Duration::ZERO,
    };
    let writer = std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run())?;
    Ok((shared, writer, marker))
}

struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedReceiver<Request>,
    synced: SyncSender<Synced>,
    clock: SharedClock,
    /// For pauses that concern the disk, not the log's time.
    real: SharedClock,
    rule: ClockRule,
    clock_confirmed: Arc<AtomicBool>,
    /// After the last commit that reached the store.
    spans: Vec<Span>,
    number: u64,
    /// Why the store is not open, if it is not.
    failed: Option<String>,
    reopen_at: Duration,
    tables_listed: usize,
    list_tables_at: Duration,
}

impl Writer {
    fn run(mut self) {
        let mut gathered = Vec::new();
        while let Some(first) = self.requests.blocking_recv() {
            let mut bytes = first.bytes;
            gathered.push(first);
            while bytes < COMMIT_BYTES_MAX
                && gathered.len() < COMMIT_REQUESTS_MAX
                && let Ok(next) = self.requests.try_recv()
            {
                bytes += next.bytes;
                gathered.push(next);
            }
            self.commit(&mut gathered);
        }
        let _ = self.shared.with_store(|store| tables::write(&self.shared.folder, store, &self.shared.topics));
    }

    fn commit(&mut self, gathered: &mut Vec<Request>) {
        let anchor = match self.admit() {
            Ok(anchor) => anchor,
            Err((why, reason)) => {
                metrics::counter!(names::REFUSED, "reason" => why).increment(gathered.len() as u64);
                self.shared.set_trouble(Some(reason.clone()));
                return refuse(gathered.drain(..).map(|request| request.answer), &reason);
            }
        };
        let began = self.clock.elapsed();
        let requests = gathered.len();
        let mut draft = Draft::new(self.spans.clone(), anchor.time_ms);
        for request in gathered.drain(..) {
            draft.add(&self.shared, request);
        }
        draft.close_all();
        let commit = Commit { number: self.number + 1, spans: draft.spans.clone(), anchor: Some(anchor.stored) };
        match self.write(&draft, &commit) {
            Ok(()) => {
                metrics::counter!(names::COMMITS).increment(1);
                metrics::histogram!(names::COMMIT_REQUESTS).record(requests as f64);
                metrics::histogram!(names::COMMIT_SECONDS).record((self.clock.elapsed() - began).as_secs_f64());
                self.pass_on(draft, commit.number);
            }
            Err(error) => {
                metrics::counter!(names::REFUSED, "reason" => "store").increment(requests as u64);
                self.fail(draft, &error);
            }
        }
    }

    /// May a commit be made now? The error is the metric's reason and the caller's.
    fn admit(&mut self) -> Result<Admitted, (&'static str, String)> {
        let free = rustix::fs::statvfs(&self.shared.folder).map(|fs| fs.f_bavail * fs.f_frsize);
        if let Ok(free) = free
            && free < FREE_BYTES_MIN
        {
            return Err(("space", format!("the disk is full: {free} bytes are free, {FREE_BYTES_MIN} are needed")));
        }
        self.recover().map_err(|reason| ("store", reason))?;
        if self.clock_confirmed.swap(false, Ordering::SeqCst) {
            self.rule.confirm();
        }
        let time_ms = self.clock.now_ms();
        let stored = self.rule.admit(time_ms, self.clock.elapsed()).map_err(|reason| ("clock", reason))?;
        Ok(Admitted { time_ms, stored })
    }

    fn write(&mut self, draft: &Draft, commit: &Commit) -> Result<(), String> {
        let batch = Batch { chunks: &draft.chunks, positions: &draft.positions, commit };
        let written = self.shared.with_store(|store| {
            store.wait_for_flushes(draft.chunks.iter().map(|(index, _)| *index))?;
            store.write(&batch)?;
            Ok::<_, fjall::Error>(store.table_count())
        });
        let table_count = written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.list_tables(table_count);
        Ok(())
    }

    fn list_tables(&mut self, count: usize) {
        let now = self.real.elapsed();
        if count != self.tables_listed && now >= self.list_tables_at {
            self.tables_listed = count;
            self.list_tables_at = now + TABLES_LISTED_EVERY;
            // Without a store there is nothing to list.
            let _ = self.shared.with_store(|store| tables::write(&self.shared.folder, store, &self.shared.topics));
        }
    }

    fn pass_on(&mut self, draft: Draft, number: u64) {
        let Draft { spans, chunks, positions, answers, .. } = draft;
        self.count(&spans, &chunks);
        self.spans.clone_from(&spans);
        self.number = number;
        self.shared.set_trouble(None);
        // Without a marker nobody is answered; their waiting ends with `Unknown` as the answers are dropped.
        let _ = self.synced.send(Synced::Commit(marker::Commit { number, spans, chunks, positions, answers }));
    }

    fn count(&self, spans: &[Span], chunks: &[(usize, Chunk)]) {
        for (index, chunk) in chunks {
            let (topic, _) = self.shared.topics.at(*index);
            metrics::counter!(names::BYTES, "topic" => topic.0).increment(chunk.stored().len() as u64);
        }
        for (index, (before, now)) in self.spans.iter().zip(spans).enumerate() {
            if now.records > before.records {
                let (topic, _) = self.shared.topics.at(index);
                metrics::counter!(names::RECORDS, "topic" => topic.0).increment(now.records - before.records);
            }
        }
    }

    /// A commit failed: take it back, tell its callers, open the store again.
    fn fail(&mut self, draft: Draft, error: &str) {
        tracing::error!(error, commit = self.number + 1, "a commit failed; the store is opened again");
        let reason = format!("the store failed: {error}");
        self.shared.set_trouble(Some(reason.clone()));
        self.wait_for_marks();
        self.shared.close_store();
        let taken_back = self.take_back();
        for Answer { to, in_flight, .. } in draft.answers {
            drop(in_flight);
            let reason = reason.clone();
            let answer = if taken_back { AppendError::Refused { reason } } else { AppendError::Unknown { reason } };
            // A caller that went away has asked for nothing more.
            let _ = to.send(Err(answer));
        }
        self.failed = Some(reason);
        // Whether it works shows at the next append.
        let _ = self.recover();
    }

    /// Cuts the failed commit off the journal, so that it is surely not in the log. `false`: it may be.
    fn take_back(&self) -> bool {
        let folder = opening::store_folder(&self.shared.folder);
        loop {
            let error = match journal::scan(&folder, Some(self.number)) {
                Ok(Scan { fault: Some(fault), .. }) if !fault.active => {
                    tracing::error!(file = %fault.file.display(), at = fault.at, what = fault.what, "a journal is damaged");
                    return false;
                }
                Ok(Scan { active: None, .. }) => return true,
                Ok(Scan { active: Some(active), whole_to, .. }) => match journal::cut(&active, whole_to) {
                    Ok(()) => return true,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            tracing::error!(%error, "a failed commit could not be cut off the journal yet");
            if self.shared.is_closed() {
                return false;
            }
            std::thread::park_timeout(REOPEN_PAUSE);
        }
    }

    fn wait_for_marks(&self) {
        let (reached, wait) = sync_channel(1);
        if self.synced.send(Synced::Barrier(reached)).is_ok() {
            let _: Result<(), _> = Receiver::recv(&wait);
        }
    }

    /// Opens the store again if it has failed, at most once in a while.
    fn recover(&mut self) -> Result<(), String> {
        let Some(reason) = &self.failed else { return Ok(()) };
        let now = self.real.elapsed();
        if now < self.reopen_at {
            return Err(reason.clone());
        }
        self.reopen_at = now + REOPEN_PAUSE;
        let reopened = self.reopen();
        self.failed = reopened.as_ref().err().cloned();
        if let Err(reason) = &reopened {
            tracing::error!(reason, "the store could not be opened again yet");
        }
        reopened
    }

    fn reopen(&self) -> Result<(), String> {
        let extents = self.spans.iter().map(|span| span.extents()).collect();
        let mark = Mark { turn: 0, commit: self.number, extents };
        let opened = opening::open_store(&self.shared.folder, &self.shared.topics, &mark);
        let (store, commit) = opened.map_err(|error| error.to_string())?;
        if commit.number != self.number {
            return Err(format!("the store came back with commit {} instead of {}", commit.number, self.number));
        }
        metrics::counter!(names::REOPENED).increment(1);
        tracing::info!(commit = self.number, "the store is open again");
        self.shared.put_store(store);
        Ok(())
    }
}

struct Admitted {
    time_ms: i64,
    stored: Anchor,
}

fn refuse(
    answers: impl Iterator<Item = tokio::sync::oneshot::Sender<Result<Vec<Appended>, AppendError>>>,
    reason: &str,
) {
    for answer in answers {
        // A caller that went away has asked for nothing more.
        let _ = answer.send(Err(AppendError::Refused { reason: reason.to_owned() }));
    }
}
