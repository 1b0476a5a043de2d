//! What state remembers of one visitor: session, assignments, and how many events this minute.

use std::sync::Arc;

use millrace_schemas::raw::Settings;

use super::assignment::{Assignment, Treatment};
use super::floors::Floors;
use super::session::Session;

const MINUTE_MS: i64 = 60_000;

/// One visitor of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) session: Option<Session>,
    /// Least recently made first.
    pub(crate) assignments: Vec<Assignment>,
    /// The ordinal of the next experiment.
    pub(crate) experiments_seen: u32,
    /// Log time of the last decision with an experiment; outlives the assignments, to tell why there are none.
    pub(crate) decided_ms: i64,
    /// The minute of log time `minute_events` counts.
    pub(crate) minute: i64,
    pub(crate) minute_events: u32,
}

impl Default for Visitor {
    fn default() -> Self {
        Self {
            session: None,
            assignments: Vec::new(),
            experiments_seen: 0,
            decided_ms: i64::MIN,
            minute: i64::MIN,
            minute_events: 0,
        }
    }
}

impl Visitor {
    /// Drops what has passed the floors. What is left does not depend on how often this was called before.
    pub(crate) fn forget(&mut self, floors: &Floors) {
        if self.session.is_some_and(|session| session.joined_ms < floors.session_ms) {
            self.session = None;
        }
        self.assignments.retain(|assignment| assignment.made_ms >= floors.assignment_ms);
        if self.decided_ms < floors.decided_ms {
            self.decided_ms = i64::MIN;
            self.experiments_seen = 0;
        }
    }

    /// Nothing is left to remember at this log time.
    pub(crate) fn is_blank(&self, log_time_ms: i64) -> bool {
        self.session.is_none()
            && self.assignments.is_empty()
            && self.decided_ms == i64::MIN
            && self.minute != log_time_ms.div_euclid(MINUTE_MS)
    }

    /// Counts one more event in this minute of log time; false if it is one too many.
    pub(crate) fn admit(&mut self, log_time_ms: i64, events_max: u32) -> bool {
        let minute = log_time_ms.div_euclid(MINUTE_MS);
        if self.minute != minute {
            self.minute = minute;
            self.minute_events = 0;
        }
        if self.minute_events >= events_max {
            return false;
        }
        self.minute_events += 1;
        true
    }

    /// Remembers a decision; true if another assignment had to go for it.
    pub(crate) fn decide(
        &mut self,
        treatment: Arc<Treatment>,
        at_ms: i64,
        log_time_ms: i64,
        settings: &Settings,
    ) -> bool {
        self.decided_ms = log_time_ms;
        let changes_max = usize::try_from(settings.variation_changes_max).unwrap_or(usize::MAX);
        if let Some(place) = self.assignments.iter().rposition(|assignment| assignment.is_of(&treatment)) {
            self.assignments[place].add(treatment, at_ms, log_time_ms, changes_max);
            self.assignments[place..].rotate_left(1);
            return false;
        }
        self.assignments.push(Assignment::new(self.experiments_seen, treatment, at_ms, log_time_ms));
        self.experiments_seen = self.experiments_seen.saturating_add(1);
        let assignments_max = usize::try_from(settings.assignments_per_visitor_max).unwrap_or(usize::MAX);
        if self.assignments.len() <= assignments_max.max(1) {
            return false;
        }
        self.assignments.remove(0);
        true
    }
}
