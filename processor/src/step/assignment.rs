//! What state remembers of a visitor's decisions on one experiment.

use std::sync::Arc;

use millrace_schemas::raw::{AttributionRule, Decision};
use smallvec::SmallVec;

/// What a visitor was given: shared by all visitors that were given the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Treatment {
    pub(crate) campaign_id: Option<String>,
    /// None makes a row and attributes nothing.
    pub(crate) experiment_id: Option<String>,
    pub(crate) variation_id: Option<String>,
    pub(crate) is_holdback: Option<bool>,
}

impl Treatment {
    /// What it takes in a record, roughly.
    pub(crate) fn bytes(&self) -> usize {
        const AROUND: usize = 16;
        let ids = [&self.campaign_id, &self.experiment_id, &self.variation_id];
        ids.into_iter().flatten().map(String::len).sum::<usize>() + AROUND
    }
}

impl From<Decision> for Treatment {
    fn from(decision: Decision) -> Self {
        Self {
            campaign_id: decision.campaign_id,
            experiment_id: decision.experiment_id,
            variation_id: decision.variation_id,
            is_holdback: decision.is_holdback,
        }
    }
}

/// A run of decisions for the same treatment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) treatment: Arc<Treatment>,
    /// Timestamp of its earliest decision.
    pub(crate) first_ms: i64,
    /// Timestamp of its latest decision.
    pub(crate) last_ms: i64,
}

/// The decisions of one visitor on one experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Which of the visitor's experiments this was, in the order they were first seen.
    pub(crate) ordinal: u32,
    /// Log time at which a decision on it was last made.
    pub(crate) made_ms: i64,
    /// By timestamp, not overlapping, never empty. Nearly always one.
    pub(crate) runs: SmallVec<[Run; 1]>,
}

impl Assignment {
    pub(crate) fn new(ordinal: u32, treatment: Arc<Treatment>, at_ms: i64, log_time_ms: i64) -> Self {
        let run = Run { treatment, first_ms: at_ms, last_ms: at_ms };
        Self { ordinal, made_ms: log_time_ms, runs: SmallVec::from_buf([run]) }
    }

    pub(crate) fn is_of(&self, treatment: &Treatment) -> bool {
        self.runs.first().is_some_and(|run| run.treatment.experiment_id == treatment.experiment_id)
    }

    /// Remembers another decision on the experiment. Decisions may come out of the order of their timestamps; of two
    /// with the same timestamp the one later in the log counts as the later.
    pub(crate) fn add(&mut self, treatment: Arc<Treatment>, at_ms: i64, log_time_ms: i64, changes_max: usize) {
        self.made_ms = log_time_ms;
        let next = self.runs.partition_point(|run| run.first_ms <= at_ms);
        let new = Run { treatment, first_ms: at_ms, last_ms: at_ms };
        if let Some(run) = next.checked_sub(1).map(|before| &mut self.runs[before]) {
            if run.treatment == new.treatment {
                run.last_ms = run.last_ms.max(at_ms);
                return;
            }
            if at_ms < run.last_ms {
                // In the midst of a run of another treatment: cut that in two.
                let rest = Run { treatment: run.treatment.clone(), first_ms: run.last_ms, last_ms: run.last_ms };
                run.last_ms = run.first_ms;
                self.runs.insert(next, rest);
                self.insert(next, new, changes_max);
                return;
            }
        }
        match self.runs.get_mut(next) {
            Some(run) if run.treatment == new.treatment => run.first_ms = at_ms,
            _ => self.insert(next, new, changes_max),
        }
    }

    fn insert(&mut self, at: usize, run: Run, changes_max: usize) {
        self.runs.insert(at, run);
        while self.runs.len() > changes_max.max(1) {
            self.runs.remove(0);
        }
    }

    /// The treatment that counts for a conversion with this timestamp; `None` if every decision was later.
    pub(crate) fn at(&self, at_ms: i64, rule: AttributionRule) -> Option<&Arc<Treatment>> {
        let upto = self.runs.partition_point(|run| run.first_ms <= at_ms);
        let chosen = match rule {
            AttributionRule::Last => upto.checked_sub(1)?,
            AttributionRule::First => 0,
        };
        self.runs[..upto].get(chosen).map(|run| &run.treatment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(variation: &str) -> Arc<Treatment> {
        Arc::new(Treatment {
            campaign_id: None,
            experiment_id: Some("e".into()),
            variation_id: Some(variation.into()),
            is_holdback: None,
        })
    }

    fn assignment(decisions: &[(&str, i64)]) -> Assignment {
        let (variation, at_ms) = decisions[0];
        let mut assignment = Assignment::new(0, given(variation), at_ms, 0);
        for (variation, at_ms) in &decisions[1..] {
            assignment.add(given(variation), *at_ms, 0, 8);
        }
        assignment
    }

    fn last(assignment: &Assignment, at_ms: i64) -> Option<String> {
        assignment.at(at_ms, AttributionRule::Last).and_then(|treatment| treatment.variation_id.clone())
    }

    fn first(assignment: &Assignment, at_ms: i64) -> Option<String> {
        assignment.at(at_ms, AttributionRule::First).and_then(|treatment| treatment.variation_id.clone())
    }

    #[test]
    fn the_last_and_the_first_variation_at_a_time() {
        let assignment = assignment(&[("a", 10), ("b", 20), ("a", 30)]);
        for (at_ms, last_is, first_is) in [
            (9, None, None),
            (10, Some("a"), Some("a")),
            (20, Some("b"), Some("a")),
            (29, Some("b"), Some("a")),
            (30, Some("a"), Some("a")),
        ] {
            assert_eq!(last(&assignment, at_ms).as_deref(), last_is, "last at {at_ms}");
            assert_eq!(first(&assignment, at_ms).as_deref(), first_is, "first at {at_ms}");
        }
    }

    #[test]
    fn a_late_decision_within_a_run_of_another_variation_counts_at_its_time_only() {
        let assignment = assignment(&[("a", 10), ("a", 50), ("b", 20)]);
        assert_eq!(last(&assignment, 19).as_deref(), Some("a"));
        assert_eq!(last(&assignment, 20).as_deref(), Some("b"));
        assert_eq!(last(&assignment, 50).as_deref(), Some("a"));
    }

    #[test]
    fn an_earlier_decision_that_arrives_late_is_the_first() {
        let assignment = assignment(&[("b", 20), ("a", 10)]);
        assert_eq!(first(&assignment, 25).as_deref(), Some("a"));
        assert_eq!(last(&assignment, 25).as_deref(), Some("b"));
        assert_eq!(last(&assignment, 15).as_deref(), Some("a"));
    }

    #[test]
    fn of_two_decisions_in_one_millisecond_the_later_in_the_log_is_the_last() {
        assert_eq!(last(&assignment(&[("a", 10), ("b", 10)]), 10).as_deref(), Some("b"));
        assert_eq!(last(&assignment(&[("b", 10), ("a", 10)]), 10).as_deref(), Some("a"));
    }

    #[test]
    fn a_repeated_decision_is_no_change() {
        assert_eq!(assignment(&[("a", 10), ("a", 20), ("a", 5), ("a", 15)]).runs.len(), 1);
    }

    #[test]
    fn of_nine_changes_the_oldest_is_dropped() {
        let names: Vec<String> = (0..9).map(|n| n.to_string()).collect();
        let decisions: Vec<(&str, i64)> = names.iter().zip(0..).map(|(name, at)| (name.as_str(), at * 10)).collect();
        let assignment = assignment(&decisions);
        assert_eq!(assignment.runs.len(), 8);
        assert_eq!(last(&assignment, 9), None);
        assert_eq!(first(&assignment, 1000).as_deref(), Some("1"));
        assert_eq!(last(&assignment, 1000).as_deref(), Some("8"));
    }

    #[test]
    fn of_too_many_changes_of_variation_the_oldest_goes() {
        let nine: Vec<(&str, i64)> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().zip(1..).collect();
        let assignment = assignment(&nine);
        assert_eq!((last(&assignment, 1), first(&assignment, 9)), (None, Some("b".into())));
        assert_eq!((last(&assignment, 2), last(&assignment, 9)), (Some("b".into()), Some("i".into())));
    }
}
