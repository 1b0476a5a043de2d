//! Whether a process is ready, part by part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What each part last said of itself. Clones share one registry.
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>,
}

impl Readiness {
    /// A part says that it is ready, or what is wrong with it.
    pub fn report(&self, part: &'static str, state: Result<(), String>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.get(part) != Some(&state) {
            match &state {
                Ok(()) => tracing::info!(part, "ready"),
                Err(wrong) => tracing::warn!(part, wrong, "not ready"),
            }
        }
        parts.insert(part, state);
    }

    /// Ready, if every part that ever reported is.
    ///
    /// # Errors
    /// The parts that are not, each with what is wrong.
    pub fn check(&self) -> Result<(), Vec<(&'static str, String)>> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong: Vec<_> =
            parts.iter().filter_map(|(part, state)| state.as_ref().err().map(|why| (*part, why.clone()))).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn it_is_ready_once_every_part_is_and_says_which_is_not() {
        let readiness = Readiness::default();
        readiness.report("log", Ok(()));
        readiness.report("store", Err("the disk is full".into()));
        assert_eq!(readiness.check(), Err(vec![("store", "the disk is full".to_owned())]));
        readiness.clone().report("store", Ok(()));
        assert_eq!(readiness.check(), Ok(()));
    }
}
