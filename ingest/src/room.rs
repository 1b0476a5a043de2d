//! Room for what is in flight: bodies and the records made of them, bounded in bytes, and shared fairly by account.
//!
//! An account may hold as much as is left free: alone it gets half of the room, two busy ones get a third each, and there is
//! always some left for the next. Who finds no room waits; whoever gives room back lets the waiting in, in the order they
//! came, past those that wait only for their own account.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_directory::AccountId;
use tokio::sync::oneshot;

use crate::limits::WAITING_MAX;
use crate::metrics::{IN_FLIGHT_BYTES, WAITING};

/// The room all requests share.
pub(crate) struct Room {
    bytes: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    by_account: HashMap<AccountId, usize>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    account: AccountId,
    bytes: usize,
    admitted: oneshot::Sender<Held>,
}

/// Room that a request holds; given back when dropped.
pub(crate) struct Held {
    room: Arc<Room>,
    account: AccountId,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, taken: Mutex::default() })
    }

    /// Waits for room of `bytes`. `None`: too many are waiting already.
    pub(crate) async fn hold(self: &Arc<Self>, account: &AccountId, bytes: usize) -> Option<Held> {
        // More than there is can never be held: it gets everything.
        let bytes = bytes.min(self.bytes);
        let admission = {
            let mut taken = self.lock();
            // Nobody overtakes those that wait, unless they wait for their own account alone.
            let before = |waiting: &Waiting| waiting.account == *account || !self.is_over_share(&taken, waiting);
            let overtakes = taken.waiting.iter().any(|waiting| !waiting.admitted.is_closed() && before(waiting));
            if !overtakes && self.fits(&taken, account, bytes) {
                return Some(self.admit(&mut taken, account.clone(), bytes));
            }
            if taken.waiting.len() == WAITING_MAX {
                return None;
            }
            let (admitted, admission) = oneshot::channel();
            taken.waiting.push_back(Waiting { account: account.clone(), bytes, admitted });
            metrics::gauge!(WAITING).set(taken.waiting.len() as f64);
            admission
        };
        admission.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, taken: &Taken, account: &AccountId, bytes: usize) -> bool {
        let free = self.bytes.saturating_sub(taken.bytes);
        let held = taken.by_account.get(account).copied().unwrap_or_default();
        bytes <= free && (held == 0 || held + bytes <= free)
    }

    fn is_over_share(&self, taken: &Taken, waiting: &Waiting) -> bool {
        waiting.bytes <= self.bytes.saturating_sub(taken.bytes) && !self.fits(taken, &waiting.account, waiting.bytes)
    }

    fn admit(self: &Arc<Self>, taken: &mut Taken, account: AccountId, bytes: usize) -> Held {
        taken.bytes += bytes;
        *taken.by_account.entry(account.clone()).or_default() += bytes;
        metrics::gauge!(IN_FLIGHT_BYTES).set(taken.bytes as f64);
        Held { room: Arc::clone(self), account, bytes }
    }

    fn give_back(self: &Arc<Self>, account: &AccountId, bytes: usize) {
        let mut admitted = Vec::new();
        {
            let mut taken = self.lock();
            taken.bytes -= bytes;
            if let Some(held) = taken.by_account.get_mut(account) {
                *held -= bytes;
                if *held == 0 {
                    taken.by_account.remove(account);
                }
            }
            metrics::gauge!(IN_FLIGHT_BYTES).set(taken.bytes as f64);
            self.let_in(&mut taken, &mut admitted);
        }
        // Outside the lock: one that no longer waits gives its room back at once.
        for (waiting, held) in admitted {
            let _ = waiting.send(held);
        }
    }

    fn let_in(self: &Arc<Self>, taken: &mut Taken, admitted: &mut Vec<(oneshot::Sender<Held>, Held)>) {
        let mut still = VecDeque::with_capacity(taken.waiting.len());
        let mut full = false;
        while let Some(waiting) = taken.waiting.pop_front() {
            if waiting.admitted.is_closed() {
                continue;
            }
            if !full && self.fits(taken, &waiting.account, waiting.bytes) {
                let held = self.admit(taken, waiting.account, waiting.bytes);
                admitted.push((waiting.admitted, held));
                continue;
            }
            // Smaller ones do not overtake one that waits for the room itself, or it might wait for ever.
            full |= !self.is_over_share(taken, &waiting);
            still.push_back(waiting);
        }
        taken.waiting = still;
        metrics::gauge!(WAITING).set(taken.waiting.len() as f64);
    }
}

impl Held {
    /// Changes what is held, now that it is known better. Growing does not wait: what exists must be counted.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes < self.bytes {
            let rest = self.bytes - bytes;
            self.bytes = bytes;
            self.room.give_back(&self.account, rest);
        } else {
            let more = bytes - self.bytes;
            self.bytes = bytes;
            let mut taken = self.room.lock();
            taken.bytes += more;
            *taken.by_account.entry(self.account.clone()).or_default() += more;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.give_back(&self.account, self.bytes);
    }
}

#[cfg(test)]
mod tests;
