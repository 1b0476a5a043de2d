//! The rule that keeps one wrong clock from pushing the log's time forward.
//!
//! While the wall clock is more than [`CLOCK_AHEAD_MAX`] ahead of the time it should show, nothing is appended. What it
//! should show is the last append time plus the time that has elapsed since: by the process's own clock, or by the
//! machine's uptime (which also counts suspended hours and survives a restart of the process), whichever is more. After a
//! reboot no elapsed time is known.
//!
//! A clock that goes back is no danger (readers take the largest time so far), so it does not lower what is expected.

use std::sync::Arc;
use std::time::Duration;

use super::head::Anchor;
use crate::limits::CLOCK_AHEAD_MAX;

/// The machine's uptime: which boot this is and how long ago it was.
#[derive(Clone)]
pub struct BootClock {
    id: String,
    since_boot: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for BootClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootClock").field("id", &self.id).finish_non_exhaustive()
    }
}

impl BootClock {
    /// A clock that says what it is told; for tests. An empty `id` is never the same boot as another.
    #[must_use]
    pub fn new(id: &str, since_boot: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { id: id.to_owned(), since_boot: Arc::new(since_boot) }
    }

    /// This machine's.
    #[must_use]
    pub fn machine() -> Self {
        Self::new(&boot_id(), since_boot)
    }

    fn now(&self) -> Duration {
        (self.since_boot)()
    }
}

#[cfg(target_os = "linux")]
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn boot_id() -> String {
    String::new()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    Duration::ZERO
}

struct Expectation {
    wall_ms: i64,
    elapsed: Duration,
    since_boot: Duration,
}

/// The rule, with what it remembers.
pub(super) struct ClockRule {
    boot: BootClock,
    expectation: Option<Expectation>,
}

impl ClockRule {
    /// `stored` is the anchor of the last commit, `elapsed` the process's clock now.
    pub(super) fn new(boot: BootClock, stored: Option<&Anchor>, elapsed: Duration) -> Self {
        let since_boot = boot.now();
        let expectation = stored.map(|anchor| {
            let same_boot = !boot.id.is_empty() && anchor.boot_id == boot.id;
            let passed = if same_boot { since_boot.saturating_sub(anchor.since_boot()) } else { Duration::ZERO };
            Expectation { wall_ms: later(anchor.expected_ms, passed), elapsed, since_boot }
        });
        Self { boot, expectation }
    }

    /// An operator has looked at the clock: the next append may have whatever time it shows.
    pub(super) fn confirm(&mut self) {
        self.expectation = None;
    }

    /// May something be appended at `now_ms`? If so, the anchor to store with it; if not, why.
    pub(super) fn admit(&mut self, now_ms: i64, elapsed: Duration) -> Result<Anchor, String> {
        let since_boot = self.boot.now();
        let mut expected_ms = now_ms;
        if let Some(known) = &self.expectation {
            let passed = elapsed.saturating_sub(known.elapsed).max(since_boot.saturating_sub(known.since_boot));
            let should_be_ms = later(known.wall_ms, passed);
            if now_ms > later(should_be_ms, CLOCK_AHEAD_MAX) {
                return Err(format!(
                    "the clock shows {now_ms} ms, {} s more than the last append time and the time since explain; \
                     set the clock, or start with --confirm-clock if it is right",
                    (now_ms - should_be_ms) / 1000
                ));
            }
            expected_ms = now_ms.max(should_be_ms);
        }
        self.expectation = Some(Expectation { wall_ms: expected_ms, elapsed, since_boot });
        let since_boot_ns = u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX);
        Ok(Anchor { expected_ms, boot_id: self.boot.id.clone(), since_boot_ns })
    }
}

fn later(ms: i64, by: Duration) -> i64 {
    ms.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const T: i64 = 1_750_000_000_000;

    fn still() -> BootClock {
        BootClock::new("boot", || Duration::from_secs(100))
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn an_hour_ahead_is_the_most_a_clock_may_jump() {
        let mut rule = ClockRule::new(still(), None, secs(0));
        rule.admit(T, secs(0)).expect("a first append has nothing to compare with");
        rule.admit(T + HOUR + 1, secs(0)).expect_err("more than an hour in no time");
        rule.admit(T + HOUR + 1, secs(1)).expect("a second later it is less than an hour");
    }

    #[test]
    fn elapsed_time_allows_any_distance() {
        let mut rule = ClockRule::new(still(), None, secs(0));
        rule.admit(T, secs(0)).unwrap();
        rule.admit(T + 72 * HOUR, secs(72 * 3600)).expect("three days passed");
    }

    #[test]
    fn suspended_hours_count_by_uptime() {
        let uptime = Arc::new(std::sync::Mutex::new(secs(100)));
        let shown = Arc::clone(&uptime);
        let mut rule = ClockRule::new(BootClock::new("b", move || *shown.lock().unwrap()), None, secs(0));
        rule.admit(T, secs(0)).unwrap();
        *uptime.lock().unwrap() = secs(100 + 8 * 3600);
        rule.admit(T + 8 * HOUR, secs(0)).expect("the machine slept for eight hours");
    }

    #[test]
    fn a_clock_that_goes_back_and_returns_is_admitted() {
        let mut rule = ClockRule::new(still(), None, secs(0));
        rule.admit(T, secs(0)).unwrap();
        rule.admit(T - 5 * HOUR, secs(1)).expect("backwards is harmless");
        rule.admit(T, secs(2)).expect("and so is coming back");
    }

    #[test]
    fn a_restart_in_the_same_boot_needs_no_confirmation() {
        let mut rule = ClockRule::new(still(), None, secs(0));
        let anchor = rule.admit(T, secs(7)).unwrap();
        let later = BootClock::new("boot", || secs(100 + 10 * 3600));
        let mut again = ClockRule::new(later, Some(&anchor), secs(0));
        again.admit(T + 10 * HOUR, secs(0)).expect("ten hours of uptime explain ten hours");
    }

    #[test]
    fn after_a_reboot_a_clock_far_ahead_waits_for_an_operator() {
        let mut rule = ClockRule::new(still(), None, secs(0));
        let anchor = rule.admit(T, secs(7)).unwrap();
        let rebooted = BootClock::new("another", || secs(10 * 3600));
        let mut again = ClockRule::new(rebooted, Some(&anchor), secs(0));
        again.admit(T + 2 * HOUR, secs(0)).expect_err("nothing tells how long the machine was off");
        again.confirm();
        again.admit(T + 2 * HOUR, secs(0)).expect("confirmed");
    }
}
