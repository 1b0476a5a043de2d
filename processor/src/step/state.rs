//! The state of one partition.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use millrace_eventlog::Offset;
use millrace_schemas::raw::Settings;

use super::assignment::Treatment;
use super::below::Below;
use super::digest::Digest;
use super::floors::Floors;
use super::held::Held;
use super::overlay::Overlay;
use super::recent::Recent;
use super::seen::SeenHour;
use super::stored::hour_key;
use super::visitor::Visitor;
use crate::limits::{SEEN_GENERATION_EVENTS, TABLE_PARTS, VISITOR_GENERATION};

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
    /// The hour of log time in which an event was first seen.
    seen: Recent<SeenHour>,
    pub(crate) visitors: Recent<Visitor>,
    /// Without it, memory has all there is and keeps it.
    pub(crate) below: Option<Arc<dyn Below>>,
    /// Oldest first; offsets and arrivals rise.
    pub(crate) held: VecDeque<Held>,
    pub(crate) treatments: HashSet<Arc<Treatment>>,
    swept_minute: i64,
}

/// What a committed transaction makes state forget.
#[derive(Debug, Default)]
pub struct Swept {
    /// Hours of log time whose seen events are forgotten.
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
            seen: Recent::new(SEEN_GENERATION_EVENTS),
            visitors: Recent::new(VISITOR_GENERATION),
            below: None,
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
        self.below = Some(below);
    }

    #[cfg(test)]
    pub(crate) fn with_generations_of(&mut self, size: usize) {
        (self.seen, self.visitors) = (Recent::new(size), Recent::new(size));
    }

    /// The hour in which an event was seen; it may be one that is forgotten.
    pub(crate) fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String> {
        match (self.seen.get(event), &self.below) {
            (None, Some(below)) => below.seen_hour(event),
            (hour, _) => Ok(hour.copied()),
        }
    }

    /// Makes the changes of a committed transaction, then frees some of what the floors have passed.
    pub fn apply(&mut self, overlay: Overlay) -> Swept {
        let floor_before = hour_key(self.head.floors.seen_hour);
        self.head = overlay.head;
        if self.below.is_some() {
            self.seen.make_room();
            self.visitors.make_room();
        }
        for (event, hour) in overlay.seen {
            self.seen.insert(event, hour);
        }
        for (key, visitor) in overlay.visitors {
            self.visitors.insert(key, visitor);
        }
        self.treatments.extend(overlay.treatments);
        self.held.drain(..overlay.released);
        self.held.extend(overlay.held);
        let floor = hour_key(self.head.floors.seen_hour);
        self.sweep();
        Swept { hours: (floor_before < floor).then_some(floor_before..floor) }
    }

    /// One part of the tables per minute of log time that has passed.
    fn sweep(&mut self) {
        let minute = self.head.log_time_ms.div_euclid(MINUTE_MS);
        let parts_max = i64::try_from(TABLE_PARTS).unwrap_or(i64::MAX);
        let from = self.swept_minute.max(minute - parts_max);
        for due in from..minute {
            let part = usize::try_from(due.rem_euclid(parts_max)).unwrap_or_default();
            self.sweep_part(part);
            if part == 0 {
                self.treatments.retain(|treatment| Arc::strong_count(treatment) > 1);
            }
        }
        self.swept_minute = self.swept_minute.max(minute);
    }

    fn sweep_part(&mut self, part: usize) {
        let Head { floors, log_time_ms, .. } = self.head;
        self.seen.sweep(part, |hour| hour.hour() >= floors.seen_hour);
        self.visitors.sweep(part, |visitor| {
            visitor.forget(&floors);
            !visitor.is_blank(log_time_ms)
        });
    }
}
