//! 128-bit names for visitors and seen events: what state keeps instead of their texts.

use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;

/// What a [`Digest`] takes.
pub(crate) const DIGEST_BYTES: usize = 16;

/// 128 bits that stand for a visitor, an event or a reject.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest(pub(crate) [u8; DIGEST_BYTES]);

impl Digest {
    /// An account's visitor.
    #[must_use]
    pub(crate) fn of_visitor(account: &str, visitor: &str) -> Self {
        let mut hash = Xxh3::new();
        hash.update(account.as_bytes());
        // An account holds no 0x00, so no two pairs make the same text.
        hash.update(&[0]);
        hash.update(visitor.as_bytes());
        Self(hash.digest128().to_le_bytes())
    }

    /// A visitor's event: the visitor's digest is of fixed length, so no two pairs make the same text.
    #[must_use]
    pub(crate) fn of_event(visitor: Self, uuid: &str) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&visitor.0);
        hash.update(uuid.as_bytes());
        Self(hash.digest128().to_le_bytes())
    }

    /// A rejected part of a request: its bytes and its place in the batch, within the account and visitor.
    #[must_use]
    pub(crate) fn of_reject(visitor: Self, original: &[u8], position: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(visitor.0);
        hash.update(position.to_le_bytes());
        hash.update(original);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A digest is a hash already: its first eight bytes serve the tables.
#[derive(Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length prefix of an array's hash; says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// Hashes [`Digest`]s by taking them as they are.
pub(crate) type AsIs = BuildHasherDefault<FirstBytes>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_join_to_the_same_bytes_have_different_digests() {
        let one = Digest::of_event(Digest::of_visitor("a", "v"), "\0u");
        let other = Digest::of_event(Digest::of_visitor("a", "v\0"), "u");
        assert_ne!(one, other);
    }

    #[test]
    fn a_reject_is_known_by_bytes_and_place() {
        let visitor = Digest::of_visitor("a", "v");
        assert_eq!(Digest::of_reject(visitor, b"x", 1), Digest::of_reject(visitor, b"x", 1));
        assert_ne!(Digest::of_reject(visitor, b"x", 1), Digest::of_reject(visitor, b"x", 2));
        assert_ne!(Digest::of_reject(visitor, b"x", 1), Digest::of_reject(visitor, b"y", 1));
    }
}
