//! Groups: who owns which partition of a topic, and what each group has committed.
//!
//! Rebalancing is cooperative: only partitions that change hands are revoked. A revoked partition stays its old owner's until
//! that one asks for its next delivery (it has then done with it), leaves, or has kept the others waiting for
//! [`REVOKED_PATIENCE`]. It is given to the next owner only when no commit for it is under way, so that the position the new
//! owner is told is the last one. Every assignment has a number of its own, its *generation*; a commit that names an older one is fenced.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::shared::Shared;
use crate::limits::REVOKED_PATIENCE;
use crate::{Committed, Partition, Topic};

pub(super) type MemberId = u64;
pub(super) type Generation = u64;

/// A group's name and its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) group: String,
    pub(super) topic: Topic,
}

impl GroupKey {
    /// Where the store keeps the group's position.
    pub(super) fn position(&self, partition: Partition) -> Vec<u8> {
        let mut key = self.group.clone().into_bytes();
        key.push(0);
        key.extend_from_slice(format!("{}/{partition}", self.topic).as_bytes());
        key
    }
}

/// What a member is told when it asks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Assigned(Partition, Generation),
    Revoked(Partition, Generation),
    Lost(Partition),
}

#[derive(Debug, Default, Clone)]
struct Slot {
    owner: Option<(MemberId, Generation)>,
    /// Revoked from its owner, who has not let go yet.
    revoked_at: Option<Instant>,
    commits_under_way: usize,
}

struct Member {
    events: VecDeque<Event>,
    wake: Arc<Notify>,
}

struct Group {
    slots: Vec<Slot>,
    members: BTreeMap<MemberId, Member>,
}

/// All groups of the log.
pub(super) struct Groups {
    groups: HashMap<GroupKey, Group>,
    positions: HashMap<Vec<u8>, Committed>,
    last_member: MemberId,
    last_generation: Generation,
}

impl Groups {
    pub(super) fn new(positions: Vec<(Vec<u8>, Committed)>) -> Self {
        Self { groups: HashMap::new(), positions: positions.into_iter().collect(), last_member: 0, last_generation: 0 }
    }

    pub(super) fn join(&mut self, key: &GroupKey, partitions: u32) -> (MemberId, Arc<Notify>) {
        self.last_member += 1;
        let wake = Arc::new(Notify::new());
        let group = self
            .groups
            .entry(key.clone())
            .or_insert_with(|| Group { slots: vec![Slot::default(); partitions as usize], members: BTreeMap::new() });
        group.members.insert(self.last_member, Member { events: VecDeque::new(), wake: Arc::clone(&wake) });
        self.balance(key);
        (self.last_member, wake)
    }

    pub(super) fn leave(&mut self, key: &GroupKey, member: MemberId) {
        if let Some(group) = self.groups.get_mut(key) {
            group.members.remove(&member);
            for slot in group.slots.iter_mut().filter(|slot| slot.owner.is_some_and(|(owner, _)| owner == member)) {
                slot.free();
            }
        }
        self.balance(key);
    }

    /// The next thing the member has to know.
    pub(super) fn event(&mut self, key: &GroupKey, member: MemberId) -> Option<Event> {
        self.groups.get_mut(key)?.members.get_mut(&member)?.events.pop_front()
    }

    /// The member has done with a revoked partition.
    pub(super) fn release(&mut self, key: &GroupKey, partition: Partition, generation: Generation) {
        if let Some(slot) = self.slot(key, partition)
            && slot.owner.is_some_and(|(_, current)| current == generation)
        {
            slot.free();
        }
        self.balance(key);
    }

    /// Takes revoked partitions from members that have kept the others waiting too long. Says whether any are still waited for.
    pub(super) fn expire(&mut self, key: &GroupKey, now: Instant) -> bool {
        let Some(group) = self.groups.get_mut(key) else { return false };
        let mut waiting = false;
        let mut taken = Vec::new();
        for (partition, slot) in group.slots.iter_mut().enumerate() {
            let Some(revoked_at) = slot.revoked_at else { continue };
            if now.saturating_duration_since(revoked_at) < REVOKED_PATIENCE {
                waiting = true;
            } else if let Some((owner, _)) = slot.owner {
                slot.free();
                taken.push((owner, Event::Lost(partition as Partition)));
            }
        }
        for (owner, event) in taken {
            group.tell(owner, event);
        }
        self.balance(key);
        waiting
    }

    /// Revokes a partition from its owner, whoever that is (for tests).
    pub(super) fn revoke(&mut self, key: &GroupKey, partition: Partition) -> bool {
        let Some(group) = self.groups.get_mut(key) else { return false };
        group.revoke(partition)
    }

    /// Takes a partition from its owner without asking (for tests).
    pub(super) fn lose(&mut self, key: &GroupKey, partition: Partition) -> bool {
        let Some(group) = self.groups.get_mut(key) else { return false };
        let Some((owner, _)) = group.slots[partition as usize].owner else { return false };
        group.slots[partition as usize].free();
        group.tell(owner, Event::Lost(partition));
        self.balance(key);
        true
    }

    /// A commit for these partitions begins. The error lists those that are not the caller's (any more).
    pub(super) fn begin_commit(
        &mut self,
        key: &GroupKey,
        member: MemberId,
        partitions: &[(Partition, Option<Generation>)],
    ) -> Result<(), Vec<Partition>> {
        let owns = |groups: &mut Self, partition, generation: Option<Generation>| {
            let current = groups.slot(key, partition).and_then(|slot| slot.owner);
            generation.is_some_and(|generation| current == Some((member, generation)))
        };
        let fenced: Vec<_> = partitions
            .iter()
            .filter(|(partition, generation)| !owns(self, *partition, *generation))
            .map(|(partition, _)| *partition)
            .collect();
        if !fenced.is_empty() {
            return Err(fenced);
        }
        for (partition, _) in partitions {
            if let Some(slot) = self.slot(key, *partition) {
                slot.commits_under_way += 1;
            }
        }
        Ok(())
    }

    fn end_commit(&mut self, key: &GroupKey, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(slot) = self.slot(key, *partition) {
                slot.commits_under_way -= 1;
            }
        }
        self.balance(key);
    }

    pub(super) fn committed(&mut self, positions: Vec<(Vec<u8>, Committed)>) {
        self.positions.extend(positions);
    }

    pub(super) fn position(&self, key: &GroupKey, partition: Partition) -> Option<Committed> {
        self.positions.get(&key.position(partition)).cloned()
    }

    fn slot(&mut self, key: &GroupKey, partition: Partition) -> Option<&mut Slot> {
        self.groups.get_mut(key)?.slots.get_mut(partition as usize)
    }

    fn balance(&mut self, key: &GroupKey) {
        if let Some(group) = self.groups.get_mut(key)
            && !group.members.is_empty()
        {
            group.balance(&mut self.last_generation);
        }
    }
}

impl Slot {
    fn free(&mut self) {
        self.owner = None;
        self.revoked_at = None;
    }

    fn held_by(&self) -> Option<MemberId> {
        if self.revoked_at.is_some() { None } else { self.owner.map(|(owner, _)| owner) }
    }
}

impl Group {
    fn tell(&mut self, member: MemberId, event: Event) {
        if let Some(member) = self.members.get_mut(&member) {
            member.events.push_back(event);
            member.wake.notify_one();
        }
    }

    fn revoke(&mut self, partition: Partition) -> bool {
        let slot = &mut self.slots[partition as usize];
        let (Some((owner, generation)), None) = (slot.owner, slot.revoked_at) else { return false };
        slot.revoked_at = Some(Instant::now());
        self.tell(owner, Event::Revoked(partition, generation));
        true
    }

    // Everybody gets the same number of partitions, give or take one; those who have more already keep the odd ones.
    fn balance(&mut self, last_generation: &mut Generation) {
        let mut held: Vec<(MemberId, Vec<Partition>)> = self.members.keys().map(|id| (*id, Vec::new())).collect();
        for (partition, slot) in self.slots.iter().enumerate() {
            if let Some((_, partitions)) = held.iter_mut().find(|(id, _)| slot.held_by() == Some(*id)) {
                partitions.push(partition as Partition);
            }
        }
        held.sort_by_key(|(id, partitions)| (std::cmp::Reverse(partitions.len()), *id));
        let (each, odd) = (self.slots.len() / held.len(), self.slots.len() % held.len());
        for (rank, (member, partitions)) in held.into_iter().enumerate() {
            let share = each + usize::from(rank < odd);
            for partition in partitions.iter().skip(share) {
                self.revoke(*partition);
            }
            for _ in partitions.len()..share {
                let free = self.slots.iter().position(|slot| slot.owner.is_none() && slot.commits_under_way == 0);
                let Some(partition) = free else { break };
                *last_generation += 1;
                self.slots[partition].owner = Some((member, *last_generation));
                self.tell(member, Event::Assigned(partition as Partition, *last_generation));
            }
        }
    }
}

/// A commit under way: as long as it lives, its partitions are not given to anybody else.
pub(super) struct InFlight {
    pub(super) shared: Arc<Shared>,
    pub(super) key: GroupKey,
    pub(super) partitions: Vec<Partition>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.groups().end_commit(&self.key, &self.partitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> (Groups, GroupKey) {
        (Groups::new(Vec::new()), GroupKey { group: "group".into(), topic: Topic("topic") })
    }

    fn events(groups: &mut Groups, key: &GroupKey, member: MemberId) -> Vec<Event> {
        std::iter::from_fn(|| groups.event(key, member)).collect()
    }

    #[test]
    fn a_member_that_sits_on_a_revoked_partition_loses_it_in_the_end() {
        let (mut groups, key) = group();
        let (slow, _) = groups.join(&key, 2);
        let (waiting, _) = groups.join(&key, 2);
        let told = events(&mut groups, &key, slow);
        let Some(Event::Revoked(partition, generation)) = told.last() else { panic!("a share is due: {told:?}") };
        assert!(groups.expire(&key, Instant::now()), "there is somebody to wait for");
        assert!(events(&mut groups, &key, waiting).is_empty(), "not yet");
        assert!(!groups.expire(&key, Instant::now() + REVOKED_PATIENCE), "no longer");
        assert_eq!(events(&mut groups, &key, slow), [Event::Lost(*partition)]);
        let assigned = events(&mut groups, &key, waiting);
        assert!(matches!(assigned[..], [Event::Assigned(given, later)] if given == *partition && later > *generation));
        groups.begin_commit(&key, slow, &[(*partition, Some(*generation))]).expect_err("the slow one is fenced");
    }

    #[test]
    fn a_partition_is_not_handed_on_while_a_commit_for_it_is_under_way() {
        let (mut groups, key) = group();
        let (owner, _) = groups.join(&key, 1);
        let [Event::Assigned(0, generation)] = events(&mut groups, &key, owner)[..] else { panic!("it is free") };
        groups.begin_commit(&key, owner, &[(0, Some(generation))]).unwrap();
        let (next, _) = groups.join(&key, 1);
        groups.leave(&key, owner);
        assert!(events(&mut groups, &key, next).is_empty(), "the commit may still succeed");
        groups.end_commit(&key, &[0]);
        assert!(matches!(events(&mut groups, &key, next)[..], [Event::Assigned(0, _)]));
    }

    #[test]
    fn shares_differ_by_one_at_most_and_only_what_must_move_moves() {
        let (mut groups, key) = group();
        let mut members = Vec::new();
        for joined in 1..=5 {
            members.push(groups.join(&key, 7).0);
            let mut moved = 0;
            for member in &members {
                for event in events(&mut groups, &key, *member) {
                    if let Event::Revoked(partition, generation) = event {
                        moved += 1;
                        groups.release(&key, partition, generation);
                    }
                }
            }
            if joined > 1 {
                assert_eq!(moved, 7 / joined, "member {joined} gets its share and nothing else moves");
            }
        }
    }
}
