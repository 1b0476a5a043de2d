//! How far back state reaches. Floors only rise, record by record; what lies below one is forgotten whether or not its
//! memory has been freed, so that no row depends on when a sweep ran.

use millrace_schemas::raw::Settings;

/// Milliseconds in an hour of log time.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The lowest log times state still knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floors {
    /// Seen events of earlier hours of log time are forgotten, a whole hour at once.
    pub(crate) seen_hour: i64,
    /// Sessions nobody joined since are forgotten: an event later than that is outside `dedupe.window` anyway.
    pub(crate) session_ms: i64,
    /// Assignments last made before are forgotten.
    pub(crate) assignment_ms: i64,
    /// That a visitor ever had a decision is forgotten: `dedupe.window` after the assignments.
    pub(crate) decided_ms: i64,
}

impl Default for Floors {
    fn default() -> Self {
        Self { seen_hour: i64::MIN, session_ms: i64::MIN, assignment_ms: i64::MIN, decided_ms: i64::MIN }
    }
}

impl Floors {
    /// Raises the floors to what log time and settings ask for.
    pub(crate) fn rise(&mut self, log_time_ms: i64, settings: &Settings) {
        let seen_from = log_time_ms.saturating_sub(settings.dedupe_window_ms);
        let session_window =
            settings.dedupe_window_ms.max(settings.session_length_max_ms.saturating_add(settings.session_gap_ms));
        let assignment_ms = log_time_ms.saturating_sub(settings.attribution_window_ms);
        self.seen_hour = self.seen_hour.max(seen_from.div_euclid(HOUR_MS));
        self.session_ms = self.session_ms.max(log_time_ms.saturating_sub(session_window));
        self.assignment_ms = self.assignment_ms.max(assignment_ms);
        self.decided_ms = self.decided_ms.max(assignment_ms.saturating_sub(settings.dedupe_window_ms));
    }
}

/// The hour of log time.
pub(crate) fn hour_of(log_time_ms: i64) -> i64 {
    log_time_ms.div_euclid(HOUR_MS)
}
