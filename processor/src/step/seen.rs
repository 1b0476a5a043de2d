//! The events seen within the window: the newest in memory, all of them in the local store.
//!
//! A week of events does not fit into memory, and nearly all that come twice come twice soon. So memory keeps two
//! generations: once the younger is full, the older goes. What has gone is asked for below, in the store that every
//! committed transaction is written to before the next one is applied.

use std::sync::Arc;

use super::digest::Digest;
use super::table::Table;
use crate::limits::SEEN_GENERATION_EVENTS;

/// An hour of log time in four bytes, without alignment: there is one per seen event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenHour([u8; 4]);

impl SeenHour {
    pub(crate) fn new(hour: i64) -> Self {
        Self(u32::try_from(hour.max(0)).unwrap_or(u32::MAX).to_le_bytes())
    }

    pub(crate) fn hour(self) -> i64 {
        i64::from(u32::from_le_bytes(self.0))
    }
}

/// All seen events of a partition as of its last committed transaction.
pub(crate) trait Below: Send + Sync {
    /// The hour of log time in which an event was last seen for the first time; it may be forgotten since.
    ///
    /// # Errors
    /// What is wrong with the store. Whether the event was seen is unknown.
    fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String>;
}

/// The hour of log time in which an event was first seen.
pub(crate) struct Seen {
    young: Table<SeenHour>,
    old: Table<SeenHour>,
    generation: usize,
    /// Without it, memory has all there is and keeps it.
    below: Option<Arc<dyn Below>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { young: Table::default(), old: Table::default(), generation: SEEN_GENERATION_EVENTS, below: None }
    }
}

impl Seen {
    /// From now on memory need not have all.
    pub(crate) fn rest_on(&mut self, below: Arc<dyn Below>) {
        self.below = Some(below);
    }

    #[cfg(test)]
    pub(crate) fn with_generations_of(&mut self, events: usize) {
        self.generation = events;
    }

    /// The hour of an event; it may be one that is forgotten.
    pub(crate) fn hour_of(&self, event: &Digest) -> Result<Option<SeenHour>, String> {
        if let Some(hour) = self.young.get(event).or_else(|| self.old.get(event)) {
            return Ok(Some(*hour));
        }
        self.below.as_ref().map_or(Ok(None), |below| below.seen_hour(event))
    }

    /// Takes in what a committed transaction has seen. All that earlier calls took in is below by now.
    pub(crate) fn add(&mut self, events: impl IntoIterator<Item = (Digest, SeenHour)>) {
        if self.below.is_some() && self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        for (event, hour) in events {
            self.young.insert(event, hour);
        }
    }

    /// Frees what lies below the floor, in one part of memory.
    pub(crate) fn sweep(&mut self, part: usize, floor: i64) {
        for generation in [&mut self.young, &mut self.old] {
            generation.sweep(part, |_, hour| hour.hour() >= floor);
        }
    }

    /// How many events are in memory.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Written(Vec<Digest>);

    impl Below for Written {
        fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String> {
            Ok(self.0.contains(event).then_some(SeenHour::new(7)))
        }
    }

    fn event(n: u8) -> Digest {
        Digest([n; 16])
    }

    #[test]
    fn memory_is_bounded_once_it_rests_on_a_store() {
        let mut seen = Seen::default();
        seen.with_generations_of(10);
        seen.rest_on(Arc::new(Written((0..200).map(event).collect())));
        for n in 0..200 {
            seen.add([(event(n), SeenHour::new(7))]);
            assert!(seen.len() <= 20, "two generations of ten, not {}", seen.len());
        }
        for n in 0..=255 {
            assert_eq!(seen.hour_of(&event(n)).unwrap().is_some(), n < 200, "event {n}");
        }
    }

    #[test]
    fn without_a_store_memory_keeps_all() {
        let mut seen = Seen::default();
        seen.with_generations_of(10);
        for n in 0..200 {
            seen.add([(event(n), SeenHour::new(7))]);
        }
        assert_eq!(seen.len(), 200);
    }
}
