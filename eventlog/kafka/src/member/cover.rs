//! Notices partitions that a group has given to nobody.
//!
//! A partition changes hands in two steps: whoever has it lets go, and joins the group again, so that another can get it. Where a static member
//! dies between the two, its successor under the same name is handed what the member was to keep, no rebalance follows, and nothing reminds the group
//! of the rest. So every member looks at the whole group now and then. The one with the least leaves for a moment, which makes the
//! group share out everything anew.

use bytes::Buf;
use millrace_eventlog::Partition;
use rdkafka::consumer::Consumer;
use tokio::time::Instant;

use super::seat::Client;
use crate::limits::{COVER_EVERY, QUESTION_TIMEOUT};

/// The state of a group whose members all have their shares.
const STABLE: &str = "Stable";

/// The look of one member at its group.
pub(super) struct Cover {
    group: String,
    /// What the ids of its own name begin with.
    own: String,
    topic: String,
    partitions: u32,
    looked: Instant,
    /// Whether the last look found partitions that nobody has.
    uncovered: bool,
}

/// What a member of a group has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    member: String,
    partitions: Vec<Partition>,
}

impl Cover {
    pub(super) fn new(group: &str, instance: &str, topic: &str, partitions: u32) -> Self {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Self { group, own: format!("{instance}-"), topic, partitions, looked: Instant::now(), uncovered: false }
    }

    /// Looks, if it is time to. True: partitions were nobody's at two looks on end, and it is for this member to leave.
    pub(super) fn look(&mut self, client: &Client) -> bool {
        if self.looked.elapsed() < COVER_EVERY {
            return false;
        }
        self.looked = Instant::now();
        let shares = self.shares(client).unwrap_or_default();
        let before = self.uncovered;
        self.uncovered = !shares.is_empty() && !covered(&shares, self.partitions);
        before && self.uncovered && least(&shares).is_some_and(|share| share.member.starts_with(&self.own))
    }

    /// Every member's share, if the group is at rest and all can be told.
    fn shares(&self, client: &Client) -> Option<Vec<Share>> {
        let answer = client.fetch_group_list(Some(&self.group), QUESTION_TIMEOUT).ok()?;
        let group = answer.groups().iter().find(|group| group.name() == self.group && group.state() == STABLE)?;
        let share = |member: &rdkafka::groups::GroupMemberInfo| {
            let partitions = assigned(member.assignment().unwrap_or_default(), &self.topic)?;
            Some(Share { member: member.id().to_owned(), partitions })
        };
        group.members().iter().map(share).collect()
    }
}

fn covered(shares: &[Share], partitions: u32) -> bool {
    (0..partitions).all(|partition| shares.iter().any(|share| share.partitions.contains(&partition)))
}

/// Of several with as little the first by id: every member comes to the same.
fn least(shares: &[Share]) -> Option<&Share> {
    shares.iter().min_by(|one, other| (one.partitions.len(), &one.member).cmp(&(other.partitions.len(), &other.member)))
}

/// The partitions of `topic` in an assignment as the groups' protocol writes it: a version, then topics with their partitions.
/// Nothing at all is an assignment of nothing. `None`: it is something else.
fn assigned(mut bytes: &[u8], topic: &str) -> Option<Vec<Partition>> {
    let mut found = Vec::new();
    if bytes.is_empty() {
        return Some(found);
    }
    bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        for _ in 0..bytes.try_get_i32().ok()? {
            let partition = Partition::try_from(bytes.try_get_i32().ok()?).ok()?;
            if name == topic.as_bytes() {
                found.push(partition);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn written(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_i16(3);
        bytes.put_i32(i32::try_from(topics.len()).unwrap());
        for (topic, partitions) in topics {
            bytes.put_i16(i16::try_from(topic.len()).unwrap());
            bytes.put_slice(topic.as_bytes());
            bytes.put_i32(i32::try_from(partitions.len()).unwrap());
            partitions.iter().for_each(|partition| bytes.put_i32(*partition));
        }
        // What a member's assignor adds for itself.
        bytes.put_i32(-1);
        bytes
    }

    #[test]
    fn an_assignment_is_read_by_topic_and_anything_else_is_none() {
        let bytes = written(&[("other", &[7]), ("raw", &[0, 2])]);
        assert_eq!(assigned(&bytes, "raw"), Some(vec![0, 2]));
        assert_eq!(assigned(&bytes, "none"), Some(vec![]));
        assert_eq!(assigned(&[], "raw"), Some(vec![]), "a member that was given nothing");
        for cut in 1..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..cut], "raw"), None, "{cut} bytes of it");
        }
        assert_eq!(assigned(&written(&[("raw", &[-1])]), "raw"), None);
    }

    #[test]
    fn the_member_with_the_least_sees_to_what_nobody_has() {
        let share =
            |member: &str, partitions: &[Partition]| Share { member: member.into(), partitions: partitions.into() };
        let shares = [share("b-0-x", &[3, 4]), share("c-0-x", &[5]), share("a-0-x", &[5])];
        assert!(!covered(&shares, 6) && covered(&[share("a", &[0, 1]), share("b", &[2])], 3));
        assert_eq!(least(&shares), Some(&shares[2]));
        assert_eq!(least(&[]), None);
    }
}
