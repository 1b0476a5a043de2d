//! Follows the access topic: reads it, folds it, publishes the directory.
//!
//! Order of publication, on which all else rests: first the directory, then the position, then the verdicts. Who has
//! been told a position or a verdict finds a directory that holds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use millrace_clock::SharedClock;
use millrace_eventlog::{Log, Offset, ReadError, Topic};
use millrace_schemas::topics;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::Directory;
use crate::end::LogEnd;
use crate::fold::{Fold, Newer, Verdict};
use crate::limits::{FOLLOW_WAIT, READ_BYTES, READ_RETRY_PAUSE, STALE_AFTER};
use crate::metrics::POSITION;

/// The access topic; it has one partition.
pub(crate) const ACCESS: Topic = Topic(topics::ACCESS);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access topic cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A later release wrote to it: upgrade this process.
    #[error("{topic}: {reason}", topic = ACCESS)]
    Newer {
        /// Which record, and the versions.
        reason: String,
    },
}

/// How far the fold has come.
#[derive(Debug, Clone)]
struct Progress {
    /// Everything before this position is folded.
    reached: Offset,
    /// When the log's end was last reached, as the clock's elapsed time.
    at_end: Duration,
    /// Why the fold stopped for good.
    stopped: Option<Arc<str>>,
}

/// The state that the following task and its users share.
pub(crate) struct Follower {
    log: Arc<dyn Log>,
    clock: SharedClock,
    directory: ArcSwap<Directory>,
    progress: watch::Sender<Progress>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Verdict>>>,
    end: Arc<LogEnd>,
    /// Somebody knows of records that are not folded yet.
    behind: Notify,
}

/// When a step publishes what it has folded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Publish {
    /// Nobody looks yet: spare the copies between.
    AtTheEnd,
    Always,
}

/// What ended one step of following.
enum Halt {
    /// It may work later.
    Retry(String),
    /// It never will.
    Stop(StartError),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(reason) => Self::Retry(reason),
            ReadError::Truncated { .. } | ReadError::Regressed { .. } | ReadError::Damaged { .. } => {
                Self::Stop(error.into())
            }
        }
    }
}

impl From<Newer> for Halt {
    fn from(newer: Newer) -> Self {
        Self::Stop(StartError::Newer { reason: newer.to_string() })
    }
}

impl Follower {
    /// Folds the topic from its beginning to its present end; then [`Follower::follow`] must go on with the fold.
    pub(crate) async fn start(log: Arc<dyn Log>, clock: SharedClock) -> Result<(Arc<Self>, Fold), StartError> {
        let progress = Progress { reached: 0, at_end: clock.elapsed(), stopped: None };
        let follower = Arc::new(Self {
            log,
            clock,
            directory: ArcSwap::default(),
            progress: watch::Sender::new(progress),
            waiting: Mutex::default(),
            end: Arc::default(),
            behind: Notify::new(),
        });
        let mut fold = Fold::default();
        loop {
            match follower.step(&mut fold, Publish::AtTheEnd).await {
                Ok(true) => return Ok((follower, fold)),
                Ok(false) => {}
                Err(Halt::Retry(reason)) => return Err(ReadError::Unavailable(reason).into()),
                Err(Halt::Stop(error)) => return Err(error),
            }
        }
    }

    /// Follows until `stop`, or until the fold must stop for good.
    pub(crate) async fn follow(&self, mut fold: Fold, stop: CancellationToken) {
        loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                step = self.step(&mut fold, Publish::Always) => step,
            };
            let pause = async {
                match &step {
                    Ok(false) => {}
                    Ok(true) => self.until_growth().await,
                    Err(_) => self.clock.sleep(READ_RETRY_PAUSE).await,
                }
            };
            match &step {
                Err(Halt::Stop(error)) => return self.halt(&error.to_string()),
                Err(Halt::Retry(reason)) => tracing::warn!(%reason, "the access topic cannot be read, trying again"),
                Ok(_) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = pause => {}
            }
        }
    }

    async fn until_growth(&self) {
        let reached = self.progress.borrow().reached;
        tokio::select! {
            () = self.log.grown(ACCESS, 0, reached, FOLLOW_WAIT) => {}
            () = self.behind.notified() => {}
            // Only where the clock runs ahead of real time: being at the end must not look like being stale.
            () = self.clock.sleep(STALE_AFTER / 3) => {}
        }
    }

    /// Reads and folds once. True if that was the end.
    async fn step(&self, fold: &mut Fold, when: Publish) -> Result<bool, Halt> {
        let end = self.log.extent(ACCESS, 0).await?.end;
        let chunk = self.log.read(ACCESS, 0, fold.directory.position, READ_BYTES).await?;
        let mut verdicts = Vec::with_capacity(chunk.records.len());
        let nothing_more = chunk.records.is_empty();
        let mut newer = None;
        for record in chunk.records {
            match fold.record(record) {
                Ok(folded) => verdicts.push(folded),
                Err(error) => {
                    newer = Some(error);
                    break;
                }
            }
        }
        if newer.is_none() {
            fold.directory.position = chunk.next;
        }
        // The end was asked for before reading: if nothing was there, nothing committed lies between the two.
        let reached = if nothing_more { fold.directory.position.max(end) } else { fold.directory.position };
        let at_end = newer.is_none() && reached >= end;
        if at_end || when == Publish::Always {
            self.publish(fold, reached, at_end);
            self.tell(verdicts);
        }
        match newer {
            Some(newer) => Err(newer.into()),
            None => Ok(at_end),
        }
    }

    fn publish(&self, fold: &Fold, reached: Offset, at_end: bool) {
        if self.directory.load().position != fold.directory.position {
            self.directory.store(Arc::new(fold.directory.clone()));
        }
        let now = self.clock.elapsed();
        self.progress.send_modify(|progress| {
            progress.reached = progress.reached.max(reached);
            if at_end {
                progress.at_end = now;
            }
        });
        // A metric is a float.
        metrics::gauge!(POSITION).set(reached as f64);
    }

    fn tell(&self, verdicts: Vec<crate::fold::Folded>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for folded in verdicts {
            if let Some(waiter) = folded.fact_id.and_then(|id| waiting.remove(&id)) {
                // Who no longer listens has gone away.
                let _ = waiter.send(folded.verdict);
            }
        }
    }

    fn halt(&self, reason: &str) {
        tracing::error!(reason, "the access topic is no longer followed; credentials are refused from now on");
        self.progress.send_modify(|progress| progress.stopped = Some(reason.into()));
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The present fold.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// The fold, with everything the log held at the call.
    ///
    /// # Errors
    /// The log's end cannot be learnt, or the fold has stopped.
    pub(crate) async fn caught_up(&self) -> Result<Arc<Directory>, ReadError> {
        let end = self.end.after_now(&self.log).await?;
        let mut progress = self.progress.subscribe();
        if progress.borrow().reached < end {
            self.behind.notify_one();
        }
        // The sender lives as long as `self`, so waiting cannot fail.
        let stopped = match progress.wait_for(|progress| progress.reached >= end || progress.stopped.is_some()).await {
            Ok(progress) => progress.stopped.clone(),
            Err(_) => None,
        };
        match stopped {
            Some(reason) => Err(ReadError::Unavailable(reason.to_string())),
            None => Ok(self.directory()),
        }
    }

    /// Why the fold stopped for good, if it did.
    pub(crate) fn stopped(&self) -> Option<Arc<str>> {
        self.progress.borrow().stopped.clone()
    }

    /// Why the fold stopped for good, once it has.
    pub(crate) async fn halted(&self) -> String {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let reason = progress.wait_for(|progress| progress.stopped.is_some()).await.ok();
        match reason.and_then(|progress| progress.stopped.clone()) {
            Some(reason) => reason.to_string(),
            None => std::future::pending().await,
        }
    }

    /// Whether the log's end was reached within [`STALE_AFTER`].
    pub(crate) fn fresh(&self) -> Result<(), String> {
        let progress = self.progress.borrow();
        if let Some(reason) = &progress.stopped {
            return Err(reason.to_string());
        }
        let since = self.clock.elapsed().saturating_sub(progress.at_end);
        if since > STALE_AFTER {
            return Err(format!("the end of {ACCESS} was not reached for {} s", since.as_secs()));
        }
        Ok(())
    }

    /// Asks to be told what becomes of a fact that is about to be appended.
    pub(crate) fn await_verdict(&self, fact_id: &str) -> Waiting<'_> {
        let (sender, verdict) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(fact_id.to_owned(), sender);
        Waiting { follower: self, fact_id: fact_id.to_owned(), verdict }
    }

    /// Says that there is something to read.
    pub(crate) fn hurry(&self) {
        self.behind.notify_one();
    }
}

/// A place in the queue of those who wait for a verdict; given up when dropped.
pub(crate) struct Waiting<'a> {
    follower: &'a Follower,
    fact_id: String,
    verdict: oneshot::Receiver<Verdict>,
}

impl Waiting<'_> {
    /// The verdict; `None` if the fold stopped for good.
    pub(crate) async fn verdict(&mut self) -> Option<Verdict> {
        (&mut self.verdict).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.follower.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.fact_id);
    }
}
