//! The newest of many, in memory: two generations; once the younger is full, the older goes.
//!
//! Neither a week of events nor three months of visitors fit into memory, and nearly all that come again come again soon. What
//! has gone is asked for in the store below, which every committed transaction is written to before the next one is applied.

use super::digest::Digest;
use super::table::Table;

/// A map by [`Digest`] that forgets what was not written for long, if it is told to.
pub(crate) struct Recent<V> {
    young: Table<V>,
    /// May hold older values of what is in `young`.
    old: Table<V>,
    generation: usize,
}

impl<V> Recent<V> {
    /// At most two generations of so many, if [`Recent::make_room`] is called before each round of inserts.
    pub(crate) fn new(generation: usize) -> Self {
        Self { young: Table::default(), old: Table::default(), generation }
    }

    pub(crate) fn get(&self, key: &Digest) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Lets the older generation go if the younger is full. All of both must be below by now.
    pub(crate) fn make_room(&mut self) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub(crate) fn insert(&mut self, key: Digest, value: V) {
        self.young.insert(key, value);
    }

    /// Keeps what `keep` says, in one part of memory.
    pub(crate) fn sweep(&mut self, part: usize, mut keep: impl FnMut(&mut V) -> bool) {
        for generation in [&mut self.young, &mut self.old] {
            generation.sweep(part, &mut keep);
        }
    }

    /// How many values are in memory.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Digest {
        Digest([n; 16])
    }

    #[test]
    fn two_generations_are_kept() {
        let mut recent = Recent::new(10);
        for n in 0..200 {
            recent.make_room();
            recent.insert(key(n), n);
            assert!(recent.len() <= 20, "two generations of ten, not {}", recent.len());
            assert!((n.saturating_sub(9)..=n).all(|n| recent.get(&key(n)) == Some(&n)), "the newest ten at {n}");
        }
    }

    #[test]
    fn without_room_being_made_all_is_kept() {
        let mut recent = Recent::new(10);
        (0..200).for_each(|n| recent.insert(key(n), n));
        assert_eq!(recent.len(), 200);
    }

    #[test]
    fn the_newest_value_counts() {
        let mut recent = Recent::new(1);
        recent.insert(key(1), "first");
        recent.make_room();
        recent.insert(key(1), "second");
        assert_eq!(recent.get(&key(1)), Some(&"second"));
    }
}
