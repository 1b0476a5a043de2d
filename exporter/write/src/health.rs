//! What the exporter waits for: the pauses between tries, and the word to readiness once a wait has lasted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_clock::SharedClock;
use millrace_eventlog::ReadError;
use millrace_telemetry::Readiness;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::limits;

/// The exporter's name in [`Readiness`].
pub const PART: &str = "exporter";

/// What all waits of one exporter share.
#[derive(Clone)]
pub(crate) struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    /// None: nobody is told.
    readiness: Option<Readiness>,
    clock: SharedClock,
    stop: CancellationToken,
    lasting: Mutex<Lasting>,
}

#[derive(Default)]
struct Lasting {
    count: u64,
    reasons: BTreeMap<u64, String>,
}

impl Health {
    pub(crate) fn new(readiness: Option<Readiness>, clock: SharedClock, stop: CancellationToken) -> Self {
        Self { shared: Arc::new(Shared { readiness, clock, stop, lasting: Mutex::default() }) }
    }

    /// The pauses of one thing that is going to be tried again and again.
    pub(crate) fn wait(&self) -> Wait {
        Wait { health: self.clone(), next: limits::RETRY_PAUSE_MIN, since: None, told: None }
    }

    /// Not ready for this reason until the answer is dropped.
    pub(crate) fn hold(&self, reason: &str) -> Told {
        let number = self.change(|lasting| {
            lasting.count += 1;
            lasting.reasons.insert(lasting.count, reason.to_owned());
            lasting.count
        });
        Told { health: self.clone(), number }
    }

    /// Asks the log until it answers or the exporter is stopped. What does not pass by itself is `hard`'s to name.
    pub(crate) async fn ask_log<T, F>(
        &self,
        attempt: impl Fn() -> F,
        hard: impl Fn(ReadError) -> Error,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        let mut wait = self.wait();
        loop {
            match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(ReadError::Unavailable(reason)) => wait.again(&log_is_away(&reason)).await?,
                Err(error) => return Err(hard(error)),
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Lasting) -> T) -> T {
        let mut lasting = self.shared.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = change(&mut lasting);
        if let Some(readiness) = &self.shared.readiness {
            let reasons: std::collections::BTreeSet<&str> = lasting.reasons.values().map(String::as_str).collect();
            let text = reasons.into_iter().collect::<Vec<_>>().join("; ");
            readiness.report(PART, if text.is_empty() { Ok(()) } else { Err(text) });
        }
        answer
    }
}

pub(crate) fn log_is_away(reason: &str) -> String {
    format!("the log cannot be read now: {reason}")
}

/// One thing that is tried again. Dropped, it is over, however it ended.
pub(crate) struct Wait {
    health: Health,
    next: Duration,
    since: Option<Duration>,
    told: Option<Told>,
}

impl Wait {
    /// Notes a failure; the answer is how long to pause before the next try.
    pub(crate) fn failed(&mut self, reason: &str) -> Duration {
        let now = self.health.shared.clock.elapsed();
        let since = *self.since.get_or_insert(now);
        if self.told.is_none() && now.saturating_sub(since) >= limits::UNREADY_AFTER {
            self.told = Some(self.health.hold(reason));
        }
        let pause = self.next;
        self.next = (pause * 2).min(limits::RETRY_PAUSE_MAX);
        pause
    }

    /// Notes a failure and pauses.
    pub(crate) async fn again(&mut self, reason: &str) -> Result<(), Error> {
        let pause = self.failed(reason);
        tokio::select! {
            () = self.health.shared.stop.cancelled() => Err(Error::Stopped),
            () = self.health.shared.clock.sleep(pause) => Ok(()),
        }
    }

    /// How long it has been failing.
    pub(crate) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| self.health.shared.clock.elapsed().saturating_sub(since))
    }

    /// How long the next pause will be.
    pub(crate) fn next_pause(&self) -> Duration {
        self.next
    }
}

/// A reason that readiness was told.
pub(crate) struct Told {
    health: Health,
    number: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.health.change(|lasting| lasting.reasons.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use millrace_clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn a_short_failure_is_nobodys_concern_and_a_lasting_one_is_told_until_it_is_over() {
        let (readiness, clock) = (Readiness::new(), ManualClock::at(0));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let health = Health::new(Some(readiness.clone()), shared, CancellationToken::new());
        let mut wait = health.wait();
        assert_eq!(wait.failed("no answer"), limits::RETRY_PAUSE_MIN);
        assert_eq!(readiness.check(), Ok(()));
        clock.advance(limits::UNREADY_AFTER);
        assert_eq!(wait.failed("no answer"), limits::RETRY_PAUSE_MIN * 2);
        assert_eq!(readiness.check(), Err(vec![(PART, "no answer".to_owned())]));
        let also = health.hold("the log is away");
        drop(wait);
        assert_eq!(readiness.check(), Err(vec![(PART, "the log is away".to_owned())]));
        drop(also);
        assert_eq!(readiness.check(), Ok(()));
    }
}
