//! Where the log ends, asked for once on behalf of all who want to know at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use millrace_eventlog::{Log, Offset, ReadError};
use tokio::sync::Mutex;

use crate::follower::ACCESS;

/// The end of the access topic. However many ask, one question at a time is under way: guessing credentials makes no
/// more traffic than one guess after the other would.
#[derive(Default)]
pub(crate) struct LogEnd {
    arrivals: AtomicU64,
    last: Mutex<Option<Answer>>,
}

#[derive(Clone, Copy)]
struct Answer {
    /// Whoever arrived before this number arrived before the question was put.
    asked_at: u64,
    end: Offset,
}

impl LogEnd {
    /// An end the log had at some time after this call was made.
    ///
    /// # Errors
    /// The log's.
    pub(crate) async fn after_now(&self, log: &dyn Log) -> Result<Offset, ReadError> {
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(answer) = *last
            && arrival < answer.asked_at
        {
            return Ok(answer.end);
        }
        let asked_at = self.arrivals.load(Ordering::SeqCst);
        let end = log.extent(ACCESS, 0).await?.end;
        *last = Some(Answer { asked_at, end });
        Ok(end)
    }
}
