//! A table in parts, so that growing or sweeping one part is a short pause however large the whole is.

use std::collections::HashMap;

use super::digest::{AsIs, Digest};
use crate::limits::TABLE_PARTS;

/// A map by [`Digest`].
pub(crate) struct Table<V> {
    parts: Box<[HashMap<Digest, V, AsIs>]>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { parts: (0..TABLE_PARTS).map(|_| HashMap::default()).collect() }
    }
}

fn part_of(key: &Digest) -> usize {
    // The tables themselves use the first bytes.
    usize::from(key.0[15]) % TABLE_PARTS
}

impl<V> Table<V> {
    pub(crate) fn get(&self, key: &Digest) -> Option<&V> {
        self.parts[part_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: Digest, value: V) {
        self.parts[part_of(&key)].insert(key, value);
    }

    /// Keeps what `keep` says, in one part.
    pub(crate) fn sweep(&mut self, part: usize, mut keep: impl FnMut(&mut V) -> bool) {
        let map = &mut self.parts[part % TABLE_PARTS];
        map.retain(|_, value| keep(value));
        if map.capacity() > 1024 && map.len() < map.capacity() / 4 {
            map.shrink_to_fit();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }
}
