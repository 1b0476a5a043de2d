//! Ticks: on a silent partition the passing of time is itself put into the log.

use std::sync::Arc;

use bytes::Bytes;
use millrace_clock::SharedClock;
use millrace_eventlog::{AppendError, Log, NewRecord, Partition, Topic};
use millrace_schemas::codec::Versioned;
use millrace_schemas::raw::{Raw, Tick, raw};
use millrace_schemas::topics;
use tokio::task::JoinHandle;

use crate::metrics::TICKS_FAILED;

const RAW: Topic = Topic(topics::RAW);

/// Appends ticks in the background, one round at a time, so that a log that takes no records does not stop the fold.
pub(crate) struct Ticker {
    log: Arc<dyn Log>,
    clock: SharedClock,
    round: Option<JoinHandle<Result<(), AppendError>>>,
}

impl Ticker {
    pub(crate) fn new(log: Arc<dyn Log>, clock: SharedClock) -> Self {
        Self { log, clock, round: None }
    }

    /// No round is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.round.is_none()
    }

    /// Starts a round.
    pub(crate) fn tick(&mut self, partitions: impl IntoIterator<Item = Partition>) {
        let raw = Raw { witness_ms: self.clock.now_ms(), body: Some(raw::Body::Tick(Tick {})) };
        let value = raw.to_bytes();
        let record =
            |partition| NewRecord { partition, version: Raw::VERSION, key: Bytes::new(), value: value.clone() };
        let records: Vec<_> = partitions.into_iter().map(record).collect();
        let log = self.log.clone();
        self.round = Some(tokio::spawn(async move { log.append(RAW, records).await.map(drop) }));
    }

    /// Waits for the round on its way; for ever if there is none. A tick that failed is no loss: the next one follows.
    pub(crate) async fn finished(&mut self) {
        let Some(round) = &mut self.round else { return std::future::pending().await };
        let ended = round.await;
        self.round = None;
        let wrong = match ended {
            Ok(Ok(())) => return,
            Ok(Err(wrong)) => wrong.to_string(),
            Err(broken) => broken.to_string(),
        };
        metrics::counter!(TICKS_FAILED).increment(1);
        tracing::warn!(reason = wrong, "a tick was not appended");
    }
}
