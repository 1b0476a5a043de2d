//! A bounded number of readers, each kept where it last read: a follower that reads on sequentially finds the one that
//! has already fetched what comes next.

use std::sync::{Arc, Mutex, PoisonError};

use millrace_eventlog::Offset;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::limits::{READER_IDLE_MAX, READERS_MAX};
use crate::metrics;
use crate::options::Options;
use crate::reader::{Fault, Place, Reader};

/// The readers of one log.
pub(crate) struct Pool {
    options: Options,
    idle: Mutex<Vec<Reader>>,
    room: Arc<Semaphore>,
}

impl Pool {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, idle: Mutex::default(), room: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Works with the reader that suits best, on a thread that may block. Waits while all are busy.
    pub(crate) async fn with_reader<T: Send + 'static>(
        self: &Arc<Self>,
        place: &Place,
        from: Offset,
        work: impl FnOnce(&mut Reader) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let closed = |_| Fault::Failed("the log is closed".into());
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(closed)?;
        let (pool, place) = (Arc::clone(self), place.clone());
        let working = tokio::task::spawn_blocking(move || {
            let mut reader = pool.take(&place, from)?;
            let outcome = work(&mut reader);
            pool.put_back(reader);
            drop(room);
            outcome
        });
        working.await.unwrap_or_else(|error| Err(Fault::Failed(format!("a read was interrupted: {error}"))))
    }

    /// Whether whoever only waits for records should do without a reader.
    pub(crate) fn is_busy(&self) -> bool {
        // One is left for reads: they must not wait for those who only wait.
        self.room.available_permits() <= 1
    }

    fn take(&self, place: &Place, from: Offset) -> Result<Reader, Fault> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let best = (0..idle.len()).max_by_key(|index| idle[*index].suits(place, from));
        if let Some(best) = best.filter(|best| idle[*best].suits(place, from) > 0) {
            return Ok(idle.swap_remove(best));
        }
        // One of another partition is left where it is, as its user may come back, unless there may be no further one.
        let busy = READERS_MAX - self.room.available_permits();
        if idle.len() + busy > READERS_MAX
            && let Some(oldest) = (0..idle.len()).min_by_key(|index| idle[*index].used)
        {
            return Ok(idle.swap_remove(oldest));
        }
        drop(idle);
        let reader = Reader::new(&self.options).map_err(|error| Fault::Failed(error.to_string()))?;
        ::metrics::gauge!(metrics::READERS).increment(1);
        Ok(reader)
    }

    fn put_back(&self, mut reader: Reader) {
        reader.used = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }

    /// Closes readers that nobody has used for a while, or all. Blocks.
    pub(crate) fn shrink(&self, all: bool) {
        let mut gone = Vec::new();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::with_capacity(idle.len());
        for reader in idle.drain(..) {
            let list = if all || reader.used.elapsed() > READER_IDLE_MAX { &mut gone } else { &mut kept };
            list.push(reader);
        }
        *idle = kept;
        drop(idle);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::READERS).decrement(1);
    }
}
