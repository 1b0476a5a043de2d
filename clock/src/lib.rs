//! Time as an argument.
//!
//! Everything in Millrace that needs the time of day, an age or a pause takes a [`Clock`]. The binary hands in
//! [`SystemClock`]; a test hands in a [`ManualClock`] and moves three days in a second.
//!
//! Two times, never mixed: the *wall* clock is the machine's opinion of the date (it may jump, also backwards); the
//! *elapsed* time since the clock was made only grows.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: milliseconds since 1970-01-01T00:00:00Z. May jump in either direction.
    fn now_ms(&self) -> i64;

    /// Time since this clock was made. Never goes back.
    fn elapsed(&self) -> Duration;

    /// Returns once `pause` of elapsed time has passed.
    async fn sleep(&self, pause: Duration);
}

/// A shared [`Clock`].
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
pub struct SystemClock {
    made: Instant,
}

impl SystemClock {
    /// A clock whose elapsed time starts now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    pub fn shared() -> SharedClock {
        Arc::new(Self { made: Instant::now() })
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.made.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

#[derive(Clone, Copy)]
struct Hands {
    wall_ms: i64,
    elapsed: Duration,
}

/// A clock that stands still until it is moved. Sleepers wake when their time has come.
pub struct ManualClock {
    hands: watch::Sender<Hands>,
    moving: Mutex<()>,
}

impl ManualClock {
    /// A clock that shows `wall_ms`, with no time elapsed.
    #[must_use]
    pub fn at(wall_ms: i64) -> Arc<Self> {
        let (hands, _) = watch::channel(Hands { wall_ms, elapsed: Duration::ZERO });
        Arc::new(Self { hands, moving: Mutex::new(()) })
    }

    /// Moves wall clock and elapsed time together.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.turn(|hands| {
            hands.wall_ms = hands.wall_ms.saturating_add(ms);
            hands.elapsed += by;
        });
    }

    /// Sets the wall clock alone, as a wrong time server would; no time elapses.
    pub fn set_wall(&self, wall_ms: i64) {
        self.turn(|hands| hands.wall_ms = wall_ms);
    }

    fn turn(&self, change: impl FnOnce(&mut Hands)) {
        let _one_at_a_time = self.moving.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.hands.send_modify(change);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.hands.borrow().wall_ms
    }

    fn elapsed(&self) -> Duration {
        self.hands.borrow().elapsed
    }

    async fn sleep(&self, pause: Duration) {
        let until = self.elapsed() + pause;
        let mut hands = self.hands.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = hands.wait_for(|hands| hands.elapsed >= until).await;
    }
}
