//! Which partition a record goes to, and which shard an account belongs to. Part of the format: never changes.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The key of a raw or enriched record: account, 0x00, visitor.
#[must_use]
pub fn record_key(account_id: &str, visitor_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(account_id.len() + 1 + visitor_id.len());
    key.extend_from_slice(account_id.as_bytes());
    key.push(0);
    key.extend_from_slice(visitor_id.as_bytes());
    key
}

/// Account and visitor out of a record's key; `None` where it is not one. (An account never holds 0x00.)
#[must_use]
pub fn split_key(key: &[u8]) -> Option<(&str, &str)> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    let account = std::str::from_utf8(&key[..zero]).ok()?;
    let visitor = std::str::from_utf8(&key[zero + 1..]).ok()?;
    Some((account, visitor))
}

/// The partition of an account's visitor: xxh3-64 of account, 0x00, visitor, modulo `partitions`.
#[must_use]
pub fn of_visitor(account_id: &str, visitor_id: &str, partitions: u32) -> u32 {
    let mut hash = Xxh3::new();
    hash.update(account_id.as_bytes());
    hash.update(&[0]);
    hash.update(visitor_id.as_bytes());
    modulo(hash.digest(), partitions)
}

/// The shard of an account, and its audit partition: xxh3-64 of the account, modulo `partitions`.
#[must_use]
pub fn of_account(account_id: &str, partitions: u32) -> u32 {
    modulo(xxh3_64(account_id.as_bytes()), partitions)
}

fn modulo(hash: u64, partitions: u32) -> u32 {
    // The remainder of a division by a u32 is a u32.
    u32::try_from(hash % u64::from(partitions)).unwrap_or_default()
}
