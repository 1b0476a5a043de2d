//! The changes a transaction makes to the state of one partition.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use millrace_eventlog::Offset;

use super::assignment::Treatment;
use super::digest::{AsIs, Digest};
use super::floors::hour_of;
use super::held::Held;
use super::seen::SeenHour;
use super::state::{Head, State};
use super::visitor::Visitor;

/// The changes of one open transaction: dropped when it is aborted, applied to the state once it is committed.
#[derive(Debug)]
pub struct Overlay {
    pub(crate) head: Head,
    pub(crate) seen: HashMap<Digest, SeenHour, AsIs>,
    pub(crate) visitors: HashMap<Digest, Visitor, AsIs>,
    /// Visitors from below as they are there: not changes.
    recalled: HashMap<Digest, Visitor, AsIs>,
    /// How many entries of the state's queue have been released.
    pub(crate) released: usize,
    /// What was queued since and is held still.
    pub(crate) held: VecDeque<Held>,
    pub(crate) treatments: HashSet<Arc<Treatment>>,
    pub(crate) counts: Counts,
    /// Why the state could not be read: nothing of this may be committed.
    pub(crate) unreadable: Option<String>,
}

/// What a transaction did, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Events and rejects seen before.
    pub duplicates: u64,
    /// Assignments that had to go because their visitor had too many.
    pub assignments_dropped: u64,
    /// Events beyond their visitor's rate.
    pub over_rate: u64,
    /// Records that did not decode.
    pub dead: u64,
}

impl Overlay {
    /// No changes yet.
    #[must_use]
    pub fn on(state: &State) -> Self {
        Self {
            head: state.head,
            seen: HashMap::default(),
            visitors: HashMap::default(),
            recalled: HashMap::default(),
            released: 0,
            held: VecDeque::new(),
            treatments: HashSet::new(),
            counts: Counts::default(),
            unreadable: None,
        }
    }

    /// The numbers, as changed.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What the transaction did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Says that everything before `next` has been folded (offsets are not dense: the log knows better than the last
    /// record's offset).
    pub fn folded_to(&mut self, next: Offset) {
        self.head.folded = self.head.folded.max(next);
    }

    /// As [`State::watermark_ms`], with the changes.
    #[must_use]
    pub fn watermark_ms(&self, state: &State) -> i64 {
        self.oldest(state).map_or(self.head.log_time_ms, |held| held.arrival_ms)
    }

    /// As [`State::released`], with the changes.
    #[must_use]
    pub fn released(&self, state: &State) -> Offset {
        self.oldest(state).map_or(self.head.folded, |held| held.offset)
    }

    pub(crate) fn oldest<'a>(&'a self, state: &'a State) -> Option<&'a Held> {
        state.held.get(self.released).or_else(|| self.held.front())
    }

    /// Takes the oldest held conversion off the queue.
    pub(crate) fn release_oldest(&mut self, state: &State) {
        if self.released < state.held.len() {
            self.released += 1;
        } else {
            self.held.pop_front();
        }
    }

    /// What kept a part of the state from being read, if anything did. Then the changes are worth nothing.
    ///
    /// # Errors
    /// The reason.
    pub(crate) fn is_whole(&self) -> Result<(), String> {
        self.unreadable.clone().map_or(Ok(()), Err)
    }

    /// Remembers an event; false if it was remembered already.
    pub(crate) fn see(&mut self, state: &State, event: Digest) -> bool {
        let floor = self.head.floors.seen_hour;
        let known = |hour: &SeenHour| hour.hour() >= floor;
        if self.seen.get(&event).is_some_and(known) {
            return false;
        }
        match state.seen_hour(&event) {
            Ok(hour) if hour.as_ref().is_some_and(known) => return false,
            Ok(_) => {}
            Err(reason) => self.unreadable = Some(reason),
        }
        self.seen.insert(event, SeenHour::new(hour_of(self.head.log_time_ms)));
        true
    }

    /// The visitor, to be changed; without what has been forgotten.
    pub(crate) fn visitor(&mut self, state: &State, key: Digest) -> &mut Visitor {
        self.recall(state, key);
        let visitor = self.visitors.entry(key).or_insert_with(|| {
            let known = self.recalled.remove(&key);
            known.or_else(|| state.visitors.get(&key).cloned()).unwrap_or_default()
        });
        visitor.forget(&self.head.floors);
        visitor
    }

    /// Brings a visitor that is not in memory back from below.
    pub(crate) fn recall(&mut self, state: &State, key: Digest) {
        let Some(below) = &state.below else { return };
        if [&self.visitors, &self.recalled].iter().any(|known| known.contains_key(&key))
            || state.visitors.get(&key).is_some()
        {
            return;
        }
        match below.visitor(&key, &mut |treatment| self.share(state, treatment)) {
            Ok(visitor) => self.recalled.extend(visitor.map(|visitor| (key, visitor))),
            Err(reason) => self.unreadable = Some(reason),
        }
    }

    /// The visitor as it stands; may still hold what has been forgotten. It must have been recalled.
    pub(crate) fn visitor_seen<'a>(&'a self, state: &'a State, key: &Digest) -> Option<&'a Visitor> {
        self.visitors.get(key).or_else(|| self.recalled.get(key)).or_else(|| state.visitors.get(key))
    }

    /// One copy of each treatment, however many visitors were given it.
    pub(crate) fn share(&mut self, state: &State, treatment: Treatment) -> Arc<Treatment> {
        if let Some(known) = state.treatments.get(&treatment).or_else(|| self.treatments.get(&treatment)) {
            return known.clone();
        }
        let shared = Arc::new(treatment);
        self.treatments.insert(shared.clone());
        shared
    }
}
