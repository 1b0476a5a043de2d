//! The process's Prometheus recorder.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use millrace_clock::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::limits::METRICS_UPKEEP;

/// Upper bounds of the buckets of durations, in seconds: from a cache hit to a stall.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Upper bounds of the buckets of sizes, in bytes.
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 1_048_576.0, 16_777_216.0, 268_435_456.0];

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Gathers what the `metrics` macros say. There is one a process, however many apps run in it.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be gathered: {0}")]
pub struct RecorderError(String);

impl Recorder {
    /// The process's recorder; the first call installs it.
    ///
    /// # Errors
    /// Somebody else has installed another.
    pub fn installed() -> Result<Self, RecorderError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self(handle.clone()));
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES))
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| RecorderError(error.to_string()))?;
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// All metrics as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples into buckets every [`METRICS_UPKEEP`] until `stop`: without it they would pile up between scrapes.
    pub async fn keep_up(self, clock: SharedClock, stop: CancellationToken) {
        while stop.run_until_cancelled(clock.sleep(METRICS_UPKEEP)).await.is_some() {
            self.0.run_upkeep();
        }
    }
}
