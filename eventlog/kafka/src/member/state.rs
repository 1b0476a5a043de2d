//! What is known of a seat's partitions, by owner and worker alike.
//!
//! The broker's assignment is in `slots`; what the owner has been told of it is in `told`. An assignment has a number, so that
//! a partition that went away and came back is not taken for the one the owner knows. Within an assignment, each start and
//! pause begins a new *epoch*: what was fetched in an earlier one is never delivered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use millrace_eventlog::{Committed, Delivery, Offset, Partition, ReadError, Record};

use super::seat::{Client, Restart};

#[derive(Default)]
pub(super) struct State {
    pub(super) news: VecDeque<News>,
    pub(super) errors: VecDeque<ReadError>,
    pub(super) slots: BTreeMap<Partition, Slot>,
    /// Assigned, but the group's committed position is not known yet.
    pub(super) unannounced: BTreeSet<Partition>,
    /// Partitions the client reads.
    pub(super) reading: BTreeSet<Partition>,
    pub(super) told: BTreeMap<Partition, u64>,
    /// Revoked, and still the owner's until it asks for its next delivery.
    pub(super) letting_go: BTreeMap<Partition, u64>,
    /// Those of them that the owner knows of.
    pub(super) told_revoked: BTreeSet<Partition>,
    pub(super) commits: usize,
    pub(super) client: Option<Arc<Client>>,
    pub(super) restart: Option<Restart>,
    pub(super) left: bool,
    pub(super) closed: bool,
    pub(super) numbers: u64,
    served: Partition,
    pub(super) queued_bytes: usize,
}

/// An assigned partition.
pub(super) struct Slot {
    pub(super) number: u64,
    pub(super) epoch: u64,
    /// From where the owner wants it; absent before it has said so.
    pub(super) wanted: Option<Offset>,
    pub(super) paused: bool,
    /// The position after what the owner has been given.
    pub(super) delivered: Offset,
    pub(super) queue: VecDeque<Queued>,
}

/// An assigned partition the owner has not been told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) partition: Partition,
    /// The number of the assignment.
    pub(super) number: u64,
}

pub(super) enum Queued {
    Records { records: Vec<Record>, next: Offset, bytes: usize },
    End { next: Offset },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Assigned { partition: Partition, number: u64, committed: Option<Committed> },
    Revoked(Partition),
    Lost(Partition),
}

impl State {
    pub(super) fn newcomers(&self) -> Vec<Newcomer> {
        let newcomer =
            |partition: &Partition| Some(Newcomer { partition: *partition, number: self.slots.get(partition)?.number });
        self.unannounced.iter().filter_map(newcomer).collect()
    }

    pub(super) fn tell(&mut self, news: News) -> Delivery {
        match news {
            News::Assigned { partition, number, committed } => {
                self.told.insert(partition, number);
                Delivery::Assigned { partition, committed }
            }
            News::Revoked(partition) => {
                self.told_revoked.insert(partition);
                self.told.remove(&partition);
                Delivery::Revoked { partition }
            }
            News::Lost(partition) => {
                self.told.remove(&partition);
                self.told_revoked.remove(&partition);
                Delivery::Lost { partition }
            }
        }
    }

    pub(super) fn queued(&mut self) -> Option<Delivery> {
        let after = self.slots.range(self.served + 1..).chain(self.slots.range(..=self.served));
        let partition = *after.into_iter().find(|(_, slot)| !slot.paused && !slot.queue.is_empty())?.0;
        self.served = partition;
        let slot = self.slots.get_mut(&partition)?;
        Some(match slot.queue.pop_front()? {
            Queued::Records { records, next, bytes } => {
                slot.delivered = next;
                self.queued_bytes -= bytes;
                Delivery::Records { partition, records, next }
            }
            Queued::End { next } => Delivery::End { partition, next },
        })
    }

    /// The slot, if it is the assignment the owner knows.
    pub(super) fn known(&mut self, partition: Partition) -> Option<&mut Slot> {
        let number = *self.told.get(&partition)?;
        self.slots.get_mut(&partition).filter(|slot| slot.number == number)
    }

    pub(super) fn owns(&mut self, partition: Partition) -> bool {
        self.letting_go.contains_key(&partition) || self.known(partition).is_some()
    }

    pub(super) fn drop_queued(&mut self, partition: Partition) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            let bytes: usize = slot.queue.drain(..).map(|queued| queued.bytes()).sum();
            self.queued_bytes -= bytes;
        }
    }

    pub(super) fn take_away(&mut self, partition: Partition, lost: bool) {
        self.drop_queued(partition);
        self.unannounced.remove(&partition);
        self.news.retain(|news| !matches!(news, News::Assigned { partition: of, .. } if *of == partition));
        let number = self.slots.remove(&partition).map(|slot| slot.number);
        if lost && self.letting_go.remove(&partition).is_some() {
            self.lose_revoked(partition);
        }
        // What the owner was never told of, or what it will hear is lost, needs no further word.
        let Some(told) = self.told.get(&partition).copied() else { return };
        if self.news.iter().any(|news| matches!(news, News::Lost(of) | News::Revoked(of) if *of == partition)) {
            return;
        }
        match number {
            Some(number) if !lost && number == told => {
                self.letting_go.insert(partition, number);
                self.news.push_back(News::Revoked(partition));
            }
            _ => self.news.push_back(News::Lost(partition)),
        }
    }

    /// A revoked partition is lost after all: the owner has kept the others waiting, or the group has gone on without us.
    pub(super) fn lose_revoked(&mut self, partition: Partition) {
        self.told_revoked.remove(&partition);
        self.news.retain(|news| *news != News::Revoked(partition));
        self.news.push_back(News::Lost(partition));
    }

    pub(super) fn take_away_all(&mut self, lost: bool) {
        let all: BTreeSet<_> = self.slots.keys().chain(self.letting_go.keys()).copied().collect();
        for partition in all {
            self.take_away(partition, lost);
        }
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Self::Records { bytes, .. } => *bytes,
            Self::End { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use millrace_eventlog::{Delivery, ReadError, Record, Topic};

    use crate::member::seat::Seat;

    fn records(offsets: std::ops::Range<u64>) -> Vec<Record> {
        let record =
            |offset| Record { offset, append_time_ms: 0, version: 1, key: bytes::Bytes::new(), value: "value".into() };
        offsets.map(record).collect()
    }

    /// A seat with partition 0, started at 0.
    fn seated() -> Arc<Seat> {
        let seat = Arc::new(Seat::new(Topic("topic"), 1));
        seat.assign(&[0]);
        announce(&seat);
        assert!(matches!(told(&seat), Some(Delivery::Assigned { partition: 0, .. })));
        seat.start(0, 0);
        seat
    }

    /// Announces what is assigned.
    fn announce(seat: &Seat) {
        for newcomer in seat.newcomers(Duration::ZERO) {
            seat.announce(newcomer, None);
        }
    }

    fn told(seat: &Seat) -> Option<Delivery> {
        seat.take().map(|told: Result<Delivery, ReadError>| told.unwrap())
    }

    fn epoch(seat: &Seat) -> u64 {
        seat.lock().slots[&0].epoch
    }

    #[test]
    fn nothing_fetched_before_a_start_is_delivered_after_it() {
        let seat = seated();
        let before = epoch(&seat);
        seat.deliver(0, before, records(0..5));
        seat.start(0, 3);
        assert!(told(&seat).is_none(), "what waited is dropped");
        seat.deliver(0, before, records(5..9));
        assert!(told(&seat).is_none(), "and so is what comes late");
        seat.deliver(0, epoch(&seat), records(3..5));
        assert!(matches!(told(&seat), Some(Delivery::Records { next: 5, .. })));
    }

    #[test]
    fn a_paused_partition_goes_on_behind_what_was_delivered() {
        let seat = seated();
        seat.deliver(0, epoch(&seat), records(0..5));
        seat.deliver(0, epoch(&seat), records(5..9));
        assert!(matches!(told(&seat), Some(Delivery::Records { next: 5, .. })));
        seat.pause(0, true);
        assert!(told(&seat).is_none(), "silent");
        seat.pause(0, false);
        assert_eq!(seat.lock().slots[&0].wanted, Some(5), "what was fetched and not delivered is fetched again");
    }

    #[test]
    fn a_revocation_waits_until_the_owner_asks_for_the_next_delivery() {
        let seat = seated();
        let revoking = {
            let seat = Arc::clone(&seat);
            std::thread::spawn(move || seat.revoke(&[0]))
        };
        while seat.lock().slots.contains_key(&0) {
            std::thread::yield_now();
        }
        assert!(seat.lock().owns(0), "it may still be committed");
        assert!(matches!(told(&seat), Some(Delivery::Revoked { partition: 0 })));
        assert!(!revoking.is_finished() && seat.lock().owns(0), "to be told is not to have done with it");
        seat.let_go();
        revoking.join().unwrap();
        assert!(!seat.lock().owns(0));
    }

    #[test]
    fn a_lost_partition_is_not_the_owners_from_that_moment_on() {
        let seat = seated();
        seat.lose(&[0]);
        assert!(!seat.lock().owns(0), "whether it has heard of it or not");
        // Assigned anew before it has heard: it knows the old assignment, not this one.
        seat.assign(&[0]);
        announce(&seat);
        assert!(!seat.lock().owns(0));
        assert!(matches!(told(&seat), Some(Delivery::Lost { partition: 0 })));
        assert!(matches!(told(&seat), Some(Delivery::Assigned { partition: 0, .. })));
        assert!(seat.lock().owns(0));
    }

    #[test]
    fn what_the_owner_was_never_told_of_goes_without_a_word() {
        let seat = Arc::new(Seat::new(Topic("topic"), 1));
        seat.assign(&[0]);
        announce(&seat);
        seat.revoke(&[0]);
        assert!(told(&seat).is_none());
    }

    #[test]
    fn a_position_that_was_asked_for_an_earlier_assignment_is_not_told() {
        let seat = Arc::new(Seat::new(Topic("topic"), 1));
        seat.assign(&[0]);
        let asked = seat.newcomers(Duration::ZERO);
        seat.lose(&[0]);
        seat.assign(&[0]);
        for newcomer in asked {
            seat.announce(newcomer, None);
        }
        assert!(told(&seat).is_none(), "somebody else may have committed since");
        announce(&seat);
        assert!(matches!(told(&seat), Some(Delivery::Assigned { partition: 0, .. })));
    }

    #[test]
    fn a_full_queue_makes_the_worker_wait() {
        let seat = seated();
        while seat.wait_for_room(Duration::ZERO) {
            let mut large = records(0..1);
            large[0].value = vec![7; 4 << 20].into();
            seat.deliver(0, epoch(&seat), large);
        }
        while told(&seat).is_some() {}
        assert!(seat.wait_for_room(Duration::ZERO));
    }
}
