//! Notices what a client does not report: a topic that was deleted or made again under it, and a position that stands
//! still while the partition grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_eventlog::{Offset, Partition, ReadError};
use tokio::time::Instant;

use super::flows::Flows;
use super::seat::Seat;
use crate::Shared;
use crate::cluster::Unanswered;
use crate::limits::{DELETED_AFTER, QUESTION_TIMEOUT, STALLED_AFTER, WATCH_EVERY};
use crate::reader::Place;
use crate::reading::deleted;

/// The watch over one client.
pub(super) struct Watch {
    seat: Arc<Seat>,
    name: Arc<str>,
    looked: Instant,
    /// Since when the brokers do not know the topic as it was.
    gone: Option<Instant>,
    marks: BTreeMap<Partition, Mark>,
    /// Partitions something came of since the last look.
    heard: BTreeSet<Partition>,
    /// How far the client had come when it was last looked at.
    reached: BTreeMap<Partition, Offset>,
}

/// What was last seen of a partition.
struct Mark {
    end: Offset,
    /// On how many looks on end it ended before where its client was at that look. Held against where the client is now, an
    /// earlier end of a partition that grows would always count.
    early: u32,
    /// Whether anything came since the end last moved, or about then, and otherwise since when it did not. An end that is no further than
    /// what was aborted moves nobody's position: that it was reached is all there is to hear, and it is said once.
    heard: bool,
    since: Instant,
}

impl Mark {
    /// The mark of a partition that ends at `end` now, while its client is at `position`. `heard`: something came since the look before.
    fn after(before: Option<Self>, end: Offset, position: Offset, heard: bool, now: Instant) -> Self {
        let early = if end < position { 1 + before.as_ref().map_or(0, |mark| mark.early) } else { 0 };
        match before {
            Some(mark) if mark.end == end => Self { early, heard: mark.heard || heard, ..mark },
            Some(mark) if !mark.heard && !heard => Self { end, early, ..mark },
            _ => Self { end, early, heard: heard || end <= position, since: now },
        }
    }

    /// Whether records that were there are gone. One look does not say so: a leader that was paused, and has a successor by now,
    /// tells an end of before.
    fn regressed(&self) -> bool {
        self.early > 1
    }

    fn stands_still(&self, now: Instant) -> bool {
        !self.heard && now.duration_since(self.since) >= STALLED_AFTER
    }
}

impl Watch {
    pub(super) fn new(seat: Arc<Seat>, name: Arc<str>) -> Self {
        let (marks, heard, reached) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { seat, name, looked: Instant::now(), gone: None, marks, heard, reached }
    }

    /// Something of the partition came: records, or its end.
    pub(super) fn heard(&mut self, partition: Partition) {
        self.heard.insert(partition);
    }

    /// Looks, if it is time to. The answer is a partition whose position stands still, if there is one.
    pub(super) fn look(&mut self, shared: &Shared, flows: &Flows) -> Option<Partition> {
        if self.looked.elapsed() < WATCH_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let mut positions = flows.positions();
        self.reached.extend(positions.iter().copied());
        // Asked for its end, one without a leader would keep all waiting, and the client unpolled.
        let leaderless = self.leaderless(shared)?;
        positions.retain(|(partition, _)| !leaderless.contains(partition));
        if positions.is_empty() {
            return None;
        }
        let places: Vec<_> = positions
            .iter()
            .map(|(partition, _)| Place { topic: Arc::clone(&self.name), partition: *partition })
            .collect();
        let ends = shared.cluster.ends_within(&places, QUESTION_TIMEOUT).ok()?;
        let mut stalled = None;
        let heard = std::mem::take(&mut self.heard);
        let mut marks = BTreeMap::new();
        for ((partition, position), end) in positions.into_iter().zip(ends) {
            let now = Instant::now();
            let mark = Mark::after(self.marks.remove(&partition), end, position, heard.contains(&partition), now);
            if mark.regressed() {
                let topic = self.seat.topic;
                self.seat.fail(partition, ReadError::Regressed { topic, partition, from: position, end });
            }
            if mark.stands_still(now) {
                stalled = Some(partition);
            }
            marks.insert(partition, mark);
        }
        self.marks = marks;
        stalled
    }

    /// The partitions of the topic that have no leader, if it is there. Once it has been gone for a while the owner is told.
    fn leaderless(&mut self, shared: &Shared) -> Option<Vec<Partition>> {
        match shared.cluster.layout(&self.name, QUESTION_TIMEOUT) {
            Ok(layout) if layout.partitions == self.seat.partitions => {
                self.gone = None;
                return Some(layout.leaderless);
            }
            Ok(_) | Err(Unanswered::UnknownTopic) => {}
            // No broker answers: that is another trouble.
            Err(Unanswered::Failed(_)) => return None,
        }
        let since = *self.gone.get_or_insert_with(Instant::now);
        if since.elapsed() >= DELETED_AFTER {
            self.gone = None;
            let reached = self.reached.iter().next_back().map(|(partition, position)| (*partition, *position));
            let (partition, position) = reached.unwrap_or_default();
            self.seat.fail(partition, deleted(self.seat.topic, partition, position));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_hears_nothing_of_a_partition_that_grew_stands_still() {
        let began = Instant::now();
        let later = began + STALLED_AFTER;
        let look = |before, end, heard, now| Mark::after(before, end, 10, heard, now);
        let at_end = || look(None, 10, false, began);
        assert!(!look(Some(at_end()), 10, false, later).stands_still(later), "a quiet partition is no stall");
        let grown = || look(Some(at_end()), 20, false, began);
        assert!(!grown().stands_still(began), "it may be on its way");
        assert!(look(Some(grown()), 20, false, later).stands_still(later));
        assert!(look(Some(grown()), 30, false, later).stands_still(later), "also if it goes on growing");
        assert!(!look(Some(grown()), 20, true, later).stands_still(later), "something came");
        let then_grown = look(Some(look(Some(grown()), 20, true, began)), 30, false, later);
        assert!(!then_grown.stands_still(later), "the wait begins anew");
        assert!(look(Some(then_grown), 30, false, later + STALLED_AFTER).stands_still(later + STALLED_AFTER));
    }

    #[test]
    fn an_end_behind_nothing_but_what_was_aborted_is_no_stall_once_it_was_reached() {
        let began = Instant::now();
        let later = began + STALLED_AFTER;
        let reached_at_once = Mark::after(None, 20, 10, true, began);
        assert!(!Mark::after(Some(reached_at_once), 20, 10, false, later).stands_still(later), "before the first look");
        let at_end = Mark::after(None, 10, 10, false, began);
        let reached = Mark::after(Some(at_end), 20, 10, true, began);
        assert!(!Mark::after(Some(reached), 20, 10, false, later).stands_still(later), "between two looks");
    }

    #[test]
    fn an_end_before_the_position_is_believed_only_of_two_looks_on_end() {
        let now = Instant::now();
        let look = |before, end, position| Mark::after(before, end, position, false, now);
        let grown = || look(Some(look(None, 10, 10)), 20, 20);
        let stale = || look(Some(grown()), 10, 30);
        assert!(!stale().regressed(), "one old end, behind a client that has read on");
        assert!(look(Some(stale()), 10, 30).regressed(), "seen again");
        assert!(look(Some(stale()), 12, 30).regressed(), "also if it has grown");
        assert!(look(Some(stale()), 12, 31).regressed(), "also if what was on its way still came");
        let well_again = || look(Some(stale()), 40, 40);
        assert!(!well_again().regressed());
        assert!(!look(Some(well_again()), 30, 50).regressed(), "two old ends, with a true one between them");
    }
}
