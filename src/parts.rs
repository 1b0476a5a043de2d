//! The parts of the process: watched while they run, stopped in order, within a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use millrace_clock::SharedClock;
use millrace_telemetry::{Readiness, Recorder};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, StartError};
use crate::limits::STOP_PERCENT;

/// When a part is stopped. Data goes from the first stage to the last, so each stage finishes what the one before it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Takes requests.
    Doors,
    /// Folds what was taken, and commits.
    Processor,
    /// Seals and publishes what was committed.
    Exporter,
    /// What all others use.
    Ground,
}

const STAGES: [Stage; 4] = [Stage::Doors, Stage::Processor, Stage::Exporter, Stage::Ground];

struct Part {
    name: &'static str,
    stage: Stage,
    task: JoinHandle<Result<(), String>>,
}

/// The parts that run.
pub(crate) struct Parts {
    parts: Vec<Part>,
    stops: [CancellationToken; STAGES.len()],
    readiness: Readiness,
}

impl Parts {
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self { parts: Vec::new(), stops: STAGES.map(|_| CancellationToken::new()), readiness }
    }

    /// Where parts say how they are.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The signal on which the parts of a stage stop.
    pub(crate) fn stop_of(&self, stage: Stage) -> CancellationToken {
        self.stops[stage as usize].clone()
    }

    /// Keeps the process's metrics for as long as it runs.
    ///
    /// # Errors
    /// Another recorder is installed.
    pub(crate) fn keep_metrics(&mut self, clock: &SharedClock) -> Result<Recorder, StartError> {
        let recorder = Recorder::installed().map_err(|error| StartError::Other(error.to_string()))?;
        let upkeep = recorder.clone().keep_up(Arc::clone(clock), self.stop_of(Stage::Ground));
        self.spawn("metrics", Stage::Ground, upkeep.map(Ok));
        Ok(recorder)
    }

    /// Runs a part. It must end only once its stage's signal has come; ending before is a failure of the process.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        stage: Stage,
        part: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        self.parts.push(Part { name, stage, task: tokio::spawn(part) });
    }

    /// Returns once `stop` has come, or a part has ended by itself, and all parts have been stopped.
    ///
    /// # Errors
    /// The part that failed first, or those that did not stop in time; they are aborted.
    pub(crate) async fn run(mut self, stop: CancellationToken, deadline: Duration) -> Result<(), Failure> {
        let failed = if self.parts.is_empty() {
            stop.cancelled().await;
            None
        } else {
            tokio::select! {
                () = stop.cancelled() => None,
                (ended, index, _) = select_all(self.parts.iter_mut().map(|part| &mut part.task)) => {
                    let name = self.parts.remove(index).name;
                    let reason = outcome(ended).err().unwrap_or_else(|| "it ended by itself".to_owned());
                    tracing::error!(part = name, reason, "a part failed: stopping");
                    self.readiness.report(name, Err(reason.clone()));
                    Some(Failure::Part { part: name, reason })
                }
            }
        };
        self.readiness.report("process", Err("stopping".to_owned()));
        let stopped = self.stop(deadline).await;
        failed.map_or(stopped, Err)
    }

    /// Stops what has been started of a process that will not start, and tells nobody how that went.
    pub(crate) async fn abandon(self, deadline: Duration) {
        let _ = self.stop(deadline).await;
    }

    async fn stop(self, deadline: Duration) -> Result<(), Failure> {
        let now = Instant::now();
        let (mut late, mut failed) = (Vec::new(), None);
        let mut parts = self.parts;
        for stage in STAGES {
            self.stops[stage as usize].cancel();
            let until = now + deadline * STOP_PERCENT[stage as usize] / 100;
            let (mut of_stage, rest): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.stage == stage);
            parts = rest;
            for part in &mut of_stage {
                match timeout_at(until, &mut part.task).await {
                    Ok(ended) => {
                        tracing::debug!(part = part.name, "stopped");
                        if let Err(reason) = outcome(ended) {
                            tracing::error!(part = part.name, reason, "a part did not stop well");
                            failed.get_or_insert(Failure::Part { part: part.name, reason });
                        }
                    }
                    Err(_) => {
                        part.task.abort();
                        tracing::warn!(part = part.name, "did not stop in time: cut off");
                        // Requests that outlast their share were never acknowledged: cutting them off loses nothing.
                        if stage != Stage::Doors {
                            late.push(part.name);
                        }
                    }
                }
            }
        }
        match failed {
            Some(failed) => Err(failed),
            None if late.is_empty() => Ok(()),
            None => Err(Failure::Late(late)),
        }
    }
}

fn outcome(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|error| Err(format!("it broke: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn obedient(parts: &mut Parts, name: &'static str, stage: Stage, stopped: &Arc<Mutex<Vec<&'static str>>>) {
        let (stop, stopped) = (parts.stop_of(stage), Arc::clone(stopped));
        parts.spawn(name, stage, async move {
            stop.cancelled().await;
            stopped.lock().unwrap().push(name);
            Ok(())
        });
    }

    #[tokio::test]
    async fn parts_stop_in_the_order_of_the_data() {
        let stopped = Arc::default();
        let mut parts = Parts::new(Readiness::new());
        let readiness = parts.readiness();
        for (name, stage) in [
            ("log", Stage::Ground),
            ("exporter", Stage::Exporter),
            ("api", Stage::Doors),
            ("processor", Stage::Processor),
        ] {
            obedient(&mut parts, name, stage, &stopped);
        }
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(parts.run(stop, SOON).await, Ok(()));
        assert_eq!(*stopped.lock().unwrap(), ["api", "processor", "exporter", "log"]);
        assert!(readiness.check().is_err(), "a process that stops is not ready");
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_stops_the_others_and_is_named() {
        for (outcome, said) in
            [(Err("offset 7 is gone".to_owned()), "offset 7 is gone"), (Ok(()), "it ended by itself")]
        {
            let stopped = Arc::default();
            let mut parts = Parts::new(Readiness::new());
            let readiness = parts.readiness();
            obedient(&mut parts, "api", Stage::Doors, &stopped);
            parts.spawn("processor", Stage::Processor, async { outcome });
            let failure = parts.run(CancellationToken::new(), SOON).await;
            assert_eq!(failure, Err(Failure::Part { part: "processor", reason: said.to_owned() }));
            assert_eq!(*stopped.lock().unwrap(), ["api"]);
            let wrong = readiness.check().unwrap_err();
            assert!(wrong.contains(&("processor", said.to_owned())), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_part_that_panics_is_a_failure_too() {
        let mut parts = Parts::new(Readiness::new());
        parts.spawn("exporter", Stage::Exporter, async { panic!("a test's panic") });
        let failure = parts.run(CancellationToken::new(), SOON).await.unwrap_err();
        assert!(matches!(failure, Failure::Part { part: "exporter", .. }), "{failure:?}");
    }

    #[tokio::test]
    async fn what_does_not_stop_in_time_is_cut_off_and_named_unless_it_only_serves() {
        let stopped = Arc::default();
        let mut parts = Parts::new(Readiness::new());
        parts.spawn("api", Stage::Doors, std::future::pending());
        parts.spawn("exporter", Stage::Exporter, std::future::pending());
        obedient(&mut parts, "log", Stage::Ground, &stopped);
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = tokio::time::timeout(SOON, parts.run(stop, Duration::from_secs(1))).await;
        assert_eq!(ended.expect("within its deadline"), Err(Failure::Late(vec!["exporter"])));
        assert_eq!(*stopped.lock().unwrap(), ["log"], "the others still stop");
    }
}
