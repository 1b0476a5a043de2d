//! Where the log ends, asked for once on behalf of all who want to know at the same time.

use std::sync::Arc;
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

struct Answer {
    /// Whoever arrived before this number arrived before the question was put.
    asked_at: u64,
    /// Or why there is no answer.
    end: Result<Offset, String>,
}

impl LogEnd {
    /// An end the log had at some time after this call was made.
    ///
    /// # Errors
    /// The log's.
    pub(crate) async fn after_now(self: &Arc<Self>, log: &Arc<dyn Log>) -> Result<Offset, ReadError> {
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst);
        let (end, log) = (Arc::clone(self), Arc::clone(log));
        // A task of its own: a question goes on when nobody waits for it any more, and until it is answered it is the one under way.
        let asking = tokio::spawn(async move { end.ask(log.as_ref(), arrival).await });
        asking.await.map_err(|error| ReadError::Unavailable(error.to_string()))?
    }

    async fn ask(&self, log: &dyn Log, arrival: u64) -> Result<Offset, ReadError> {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| arrival < answer.asked_at) {
            return answer.end.clone().map_err(ReadError::Unavailable);
        }
        let asked_at = self.arrivals.load(Ordering::SeqCst);
        let end = log.extent(ACCESS, 0).await.map(|extent| extent.end);
        *last = Some(Answer { asked_at, end: end.as_ref().copied().map_err(ToString::to_string) });
        end
    }
}
