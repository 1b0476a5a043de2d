//! Waiting for a condition, with a deadline.

use std::sync::LazyLock;
use std::time::Duration;

use millrace_clock::{SharedClock, SystemClock};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

static CLOCK: LazyLock<SharedClock> = LazyLock::new(SystemClock::shared);

/// The machine's clock.
#[must_use]
pub fn clock() -> &'static SharedClock {
    &CLOCK
}

/// Looks until `probe` answers `Ok`, and gives what it answered.
///
/// # Panics
/// After `at_most`, with the reason of the last `Err`: what was seen instead.
pub async fn until<T, E: std::fmt::Display>(
    what: &str,
    at_most: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = CLOCK.elapsed() + at_most;
    loop {
        let seen = match probe().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(CLOCK.elapsed() < deadline, "waited {at_most:?} for {what}; seen last: {seen}");
        pause(POLL).await;
    }
}

/// Lets `how_long` pass. For senders that keep a rate and kills at random moments; to wait for something, use [`until`].
pub async fn pause(how_long: Duration) {
    CLOCK.sleep(how_long).await;
}
