//! Which parts work, and what is wrong with those that do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::READY;

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A registry of the process's parts. Clones share it. `/readyz` is 200 while every part is ready.
///
/// A part either reports when its state changes ([`Readiness::report`]) or is asked each time ([`Readiness::probe`]).
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, Part>>>,
}

enum Part {
    Reported(Result<(), String>),
    Probed(Probe),
}

impl Readiness {
    /// A registry without parts: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a part is: `Ok`, or what is wrong, as a text for operators. Holds until the part's next report; a change is
    /// logged once.
    pub fn report(&self, part: &'static str, state: Result<(), String>) {
        let mut parts = self.lock();
        let unchanged = matches!(parts.get(part), Some(Part::Reported(before)) if *before == state);
        if unchanged {
            return;
        }
        match &state {
            Ok(()) => tracing::info!(part, "ready"),
            Err(reason) => tracing::warn!(part, reason, "not ready"),
        }
        parts.insert(part, Part::Reported(state));
    }

    /// Adds a part that is asked at every check. The probe must not block, nor use this registry.
    pub fn probe(&self, part: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.lock().insert(part, Part::Probed(Box::new(probe)));
    }

    /// How all parts are.
    ///
    /// # Errors
    /// The parts that are not ready, by name, each with what is wrong.
    pub fn check(&self) -> Result<(), Vec<(&'static str, String)>> {
        let wrong: Vec<_> = self.parts().into_iter().filter_map(|(part, state)| Some((part, state.err()?))).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Every part by name, with its state.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, Result<(), String>)> {
        let state = |part: &Part| match part {
            Part::Reported(state) => state.clone(),
            Part::Probed(probe) => probe(),
        };
        self.lock().iter().map(|(name, part)| (*name, state(part))).collect()
    }

    /// Sets the gauge of every part: a part that is asked each time changes without a word.
    pub(crate) fn measure(&self) {
        for (part, state) in self.parts() {
            metrics::gauge!(READY, "part" => part).set(if state.is_ok() { 1.0 } else { 0.0 });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        // A panic elsewhere leaves the map whole: every change to it is one insert.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_only_while_every_part_is() {
        let readiness = Readiness::new();
        assert_eq!(readiness.check(), Ok(()));
        readiness.report("log", Ok(()));
        readiness.clone().report("exporter", Err("the store is full".into()));
        assert_eq!(readiness.check(), Err(vec![("exporter", "the store is full".to_owned())]));
        readiness.report("exporter", Ok(()));
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn a_probed_part_is_asked_each_time() {
        let readiness = Readiness::new();
        let state = Arc::new(Mutex::new(Err("behind".to_owned())));
        let asked = Arc::clone(&state);
        readiness.probe("directory", move || asked.lock().unwrap().clone());
        assert_eq!(readiness.check(), Err(vec![("directory", "behind".to_owned())]));
        *state.lock().unwrap() = Ok(());
        assert_eq!(readiness.check(), Ok(()));
    }
}
