//! The state of one partition.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use millrace_eventlog::Offset;
use millrace_schemas::raw::Settings;

use super::assignment::Treatment;
use super::digest::Digest;
use super::floors::Floors;
use super::held::Held;
use super::overlay::Overlay;
use super::seen::{Below, Seen};
use super::stored::hour_key;
use super::table::Table;
use super::visitor::Visitor;
use crate::limits::TABLE_PARTS;

const MINUTE_MS: i64 = 60_000;

/// The part of state that is a few numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// Log time: the latest append time, made monotone and checked against the witnesses. 0 before the first record.
    pub log_time_ms: i64,
    /// Raw position up to which records are in the state.
    pub folded: Offset,
    /// The settings in force.
    pub settings: Settings,
    pub(crate) floors: Floors,
}

/// State of one partition as of the last committed transaction.
pub struct State {
    pub(crate) head: Head,
    pub(crate) seen: Seen,
    pub(crate) visitors: Table<Visitor>,
    /// Oldest first; offsets and arrivals rise.
    pub(crate) held: VecDeque<Held>,
    pub(crate) treatments: HashSet<Arc<Treatment>>,
    swept_minute: i64,
}

/// What a sweep took out of memory.
#[derive(Debug, Default)]
pub struct Swept {
    /// Visitors of whom nothing is remembered any more.
    pub(crate) visitors: Vec<Digest>,
    /// Hours of log time whose seen events are forgotten since the last sweep.
    pub(crate) hours: Option<Range<u32>>,
}

impl State {
    /// The state before the first record. `settings` hold until the first settings record, whose version is higher.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_head(Head { log_time_ms: 0, folded: 0, settings, floors: Floors::default() })
    }

    pub(crate) fn with_head(head: Head) -> Self {
        Self {
            head,
            seen: Seen::default(),
            visitors: Table::default(),
            held: VecDeque::new(),
            treatments: HashSet::new(),
            swept_minute: head.log_time_ms.div_euclid(MINUTE_MS),
        }
    }

    /// The numbers.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// No row with an earlier `process_timestamp` follows: the smaller of log time and the oldest held conversion's.
    #[must_use]
    pub fn watermark_ms(&self) -> i64 {
        self.held.front().map_or(self.head.log_time_ms, |held| held.arrival_ms)
    }

    /// Raw position up to which every conversion has been emitted; those from here to *folded* are held.
    #[must_use]
    pub fn released(&self) -> Offset {
        self.held.front().map_or(self.head.folded, |held| held.offset)
    }

    /// How many conversions are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many seen events and visitors are in memory.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.seen.len(), self.visitors.len())
    }

    /// Drops the held conversions before `released`: they have been emitted.
    pub(crate) fn drop_released(&mut self, released: Offset) {
        let emitted = self.held.partition_point(|held| held.offset < released);
        self.held.drain(..emitted);
    }

    /// From now on the local store is asked for what is not in memory. It must have every transaction before the next is
    /// applied.
    pub(crate) fn rest_on(&mut self, below: Arc<dyn Below>) {
        self.seen.rest_on(below);
    }

    #[cfg(test)]
    pub(crate) fn with_generations_of(&mut self, events: usize) {
        self.seen.with_generations_of(events);
    }

    /// Makes the changes of a committed transaction, then frees some of what the floors have passed.
    pub fn apply(&mut self, overlay: Overlay) -> Swept {
        let floor_before = hour_key(self.head.floors.seen_hour);
        self.head = overlay.head;
        self.seen.add(overlay.seen);
        for (key, visitor) in overlay.visitors {
            self.visitors.insert(key, visitor);
        }
        self.treatments.extend(overlay.treatments);
        self.held.drain(..overlay.released);
        self.held.extend(overlay.held);
        let floor = hour_key(self.head.floors.seen_hour);
        let hours = (floor_before < floor).then_some(floor_before..floor);
        Swept { visitors: self.sweep(), hours }
    }

    /// One part of the tables per minute of log time that has passed.
    fn sweep(&mut self) -> Vec<Digest> {
        let mut forgotten = Vec::new();
        let minute = self.head.log_time_ms.div_euclid(MINUTE_MS);
        let parts_max = i64::try_from(TABLE_PARTS).unwrap_or(i64::MAX);
        let from = self.swept_minute.max(minute - parts_max);
        for due in from..minute {
            let part = usize::try_from(due.rem_euclid(parts_max)).unwrap_or_default();
            self.sweep_part(part, &mut forgotten);
            if part == 0 {
                self.treatments.retain(|treatment| Arc::strong_count(treatment) > 1);
            }
        }
        self.swept_minute = self.swept_minute.max(minute);
        forgotten
    }

    fn sweep_part(&mut self, part: usize, forgotten: &mut Vec<Digest>) {
        let Head { floors, log_time_ms, .. } = self.head;
        self.seen.sweep(part, floors.seen_hour);
        self.visitors.sweep(part, |key, visitor| {
            visitor.forget(&floors);
            let keep = !visitor.is_blank(log_time_ms);
            if !keep {
                forgotten.push(*key);
            }
            keep
        });
    }
}
