//! A segment: one range of an enriched partition as one object. Data, commit record and fence at once.
//!
//! ```text
//! "MLRSEG1\n"
//! block …          zstd; rows in the order of their keys; never of two shards
//! footer           protobuf, [`Footer`]
//! length u32 LE    of the footer
//! xxh3-64 u64 LE   of the footer
//! "MLRSEG1\n"
//! ```
//! A row in a block: lengths of key and payload, version (u32 LE each), process timestamp (i64 LE), key, payload.

use std::collections::{BTreeMap, HashMap};

use bytes::{BufMut, Bytes};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits;
use crate::rows::{Rows, StoredRow};

const MAGIC: &[u8; 8] = b"MLRSEG1\n";
/// Footer length, checksum, magic.
const TRAILER_BYTES: usize = 4 + 8 + 8;
const ROW_HEAD_BYTES: usize = 4 + 4 + 4 + 8;
const ZSTD_LEVEL: i32 = 1;
/// The format this release writes, and the newest it reads.
const FORMAT: u32 = 1;

/// What a segment says of itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Footer {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(string, tag = "2")]
    pub(crate) log_id: String,
    #[prost(string, tag = "3")]
    pub(crate) topic: String,
    #[prost(uint32, tag = "4")]
    pub(crate) partition: u32,
    /// The range of offsets, `end` excluded.
    #[prost(uint64, tag = "5")]
    pub(crate) start: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) end: u64,
    /// No row with an earlier process timestamp follows this segment. 0 while the partition has made no such promise.
    #[prost(int64, tag = "7")]
    pub(crate) watermark_ms: i64,
    /// Whose write this is.
    #[prost(bytes = "bytes", tag = "8")]
    pub(crate) nonce: Bytes,
    #[prost(message, repeated, tag = "9")]
    pub(crate) blocks: Vec<Block>,
    /// Shards with rows or counts, rising.
    #[prost(message, repeated, tag = "10")]
    pub(crate) shards: Vec<ShardPart>,
    /// The highest settings version of the watermarks of each day (days since 1970-01-01).
    #[prost(btree_map = "int32, uint64", tag = "11")]
    pub(crate) settings: BTreeMap<i32, u64>,
    #[prost(uint64, tag = "12")]
    pub(crate) rows: u64,
}

/// Where a block lies.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Block {
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) bytes: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) raw_bytes: u32,
    /// xxh3-64 of the compressed bytes.
    #[prost(fixed64, tag = "4")]
    pub(crate) checksum: u64,
}

/// What a segment holds of one shard.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShardPart {
    #[prost(uint32, tag = "1")]
    pub(crate) shard: u32,
    /// Process timestamps of its rows; both 0 if it has none.
    #[prost(int64, tag = "2")]
    pub(crate) min_ms: i64,
    #[prost(int64, tag = "3")]
    pub(crate) max_ms: i64,
    /// In the order of the rows.
    #[prost(message, repeated, tag = "4")]
    pub(crate) accounts: Vec<AccountPart>,
}

/// What a segment holds of one account.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AccountPart {
    #[prost(string, tag = "1")]
    pub(crate) account: String,
    #[prost(uint64, tag = "2")]
    pub(crate) rows: u64,
    /// Process timestamps of its rows; both 0 if it has none.
    #[prost(int64, tag = "3")]
    pub(crate) min_ms: i64,
    #[prost(int64, tag = "4")]
    pub(crate) max_ms: i64,
    /// The first and the last block with rows of it.
    #[prost(uint32, tag = "5")]
    pub(crate) first_block: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) last_block: u32,
    /// By day of the process timestamp (days since 1970-01-01).
    #[prost(btree_map = "int32, message", tag = "7")]
    pub(crate) days: BTreeMap<i32, DayCounts>,
}

/// What became of an account's events of one day. Events, unless it says rows.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DayCounts {
    #[prost(uint64, tag = "1")]
    pub(crate) decision_events: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) decision_rows: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) decision_duplicates: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) conversions: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) conversion_duplicates: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) no_decision: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) decision_later: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) outside_window: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) reject_duplicates: u64,
    #[prost(uint64, tag = "10")]
    pub(crate) dead: u64,
    /// By reason.
    #[prost(btree_map = "string, uint64", tag = "11")]
    pub(crate) rejected: BTreeMap<String, u64>,
}

impl DayCounts {
    /// Rows of every type.
    pub(crate) fn rows(&self) -> u64 {
        self.decision_rows + self.conversions + self.dead + self.rejected.values().sum::<u64>()
    }

    /// Adds what another segment counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.decision_events += other.decision_events;
        self.decision_rows += other.decision_rows;
        self.decision_duplicates += other.decision_duplicates;
        self.conversions += other.conversions;
        self.conversion_duplicates += other.conversion_duplicates;
        self.no_decision += other.no_decision;
        self.decision_later += other.decision_later;
        self.outside_window += other.outside_window;
        self.reject_duplicates += other.reject_duplicates;
        self.dead += other.dead;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }
}

impl Footer {
    /// The latest log time anything in the segment belongs to.
    pub(crate) fn latest_ms(&self) -> i64 {
        let counted = self.shards.iter().flat_map(|shard| &shard.accounts).flat_map(|account| account.days.keys());
        let last_counted = counted.max().map_or(0, |days| i64::from(*days) * limits::DAY_MS);
        let last_row = self.shards.iter().map(|shard| shard.max_ms).max().unwrap_or_default();
        self.watermark_ms.max(last_row).max(last_counted)
    }

    /// Rows of days before this one.
    pub(crate) fn rows_before(&self, day: i32) -> u64 {
        let accounts = self.shards.iter().flat_map(|shard| &shard.accounts);
        accounts.flat_map(|account| account.days.range(..day)).map(|(_, counts)| counts.rows()).sum()
    }

    /// The earliest process timestamp of its rows.
    pub(crate) fn earliest_row_ms(&self) -> Option<i64> {
        let accounts = self.shards.iter().flat_map(|shard| &shard.accounts);
        accounts.filter(|account| account.rows > 0).map(|account| account.min_ms).min()
    }
}

/// Makes a segment of `rows`. `head` is a footer without blocks, shards and rows.
pub(crate) fn encode(head: Footer, rows: Rows, shards: u32) -> std::io::Result<(Footer, Bytes)> {
    let total = rows.len() as u64;
    let (sorted, counts) = rows.sorted();
    let mut writer = Writer::new(counts, shards)?;
    for (key, process_ms, version, payload) in sorted.iter() {
        writer.row(key, process_ms, version, payload)?;
    }
    writer.finish(Footer { format: FORMAT, rows: total, ..head })
}

struct Writer {
    out: Vec<u8>,
    block: Vec<u8>,
    block_shard: u32,
    blocks: Vec<Block>,
    /// By shard, then by the account's part of the key.
    parts: BTreeMap<u32, BTreeMap<Vec<u8>, AccountPart>>,
    account: Option<(Vec<u8>, AccountPart)>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Writer {
    fn new(counts: HashMap<String, BTreeMap<i32, DayCounts>>, shards: u32) -> std::io::Result<Self> {
        let mut parts: BTreeMap<u32, BTreeMap<Vec<u8>, AccountPart>> = BTreeMap::new();
        for (account, days) in counts {
            let shard = millrace_schemas::partition::of_account(&account, shards);
            let mut prefix = Vec::new();
            crate::sort_key::write_account(&mut prefix, shard, &account);
            let part = AccountPart { account, days, ..AccountPart::default() };
            parts.entry(shard).or_default().insert(prefix, part);
        }
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        let (out, block) = (MAGIC.to_vec(), Vec::with_capacity(limits::BLOCK_BYTES));
        Ok(Self { out, block, block_shard: 0, blocks: Vec::new(), parts, account: None, compressor })
    }

    fn row(&mut self, key: &[u8], process_ms: i64, version: u32, payload: &Bytes) -> std::io::Result<()> {
        let too_long = || std::io::Error::other("a row is longer than a segment can hold");
        let shard = u32::from_be_bytes(key[..4].try_into().map_err(|_| too_long())?);
        if !self.block.is_empty() && (shard != self.block_shard || self.block.len() >= limits::BLOCK_BYTES) {
            self.end_block()?;
        }
        self.block_shard = shard;
        self.note(shard, key, process_ms)?;
        self.block.put_u32_le(u32::try_from(key.len()).map_err(|_| too_long())?);
        self.block.put_u32_le(u32::try_from(payload.len()).map_err(|_| too_long())?);
        self.block.put_u32_le(version);
        self.block.put_i64_le(process_ms);
        self.block.put_slice(key);
        self.block.put_slice(payload);
        Ok(())
    }

    /// Every row is counted for an account, so its part is there; rows of one account come together.
    fn note(&mut self, shard: u32, key: &[u8], process_ms: i64) -> std::io::Result<()> {
        let block = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        if !self.account.as_ref().is_some_and(|(prefix, _)| key.starts_with(prefix)) {
            self.end_account();
            let accounts = self.parts.entry(shard).or_default();
            let mut below = accounts.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)));
            let prefix = below.next_back().map(|(prefix, _)| prefix.clone()).filter(|prefix| key.starts_with(prefix));
            let entry = prefix.and_then(|prefix| accounts.remove_entry(&prefix));
            let (prefix, part) =
                entry.ok_or_else(|| std::io::Error::other("a row of an account that was not counted"))?;
            self.account =
                Some((prefix, AccountPart { min_ms: process_ms, max_ms: process_ms, first_block: block, ..part }));
        }
        if let Some((_, part)) = &mut self.account {
            part.rows += 1;
            part.last_block = block;
            part.min_ms = part.min_ms.min(process_ms);
            part.max_ms = part.max_ms.max(process_ms);
        }
        Ok(())
    }

    fn end_account(&mut self) {
        if let Some((prefix, part)) = self.account.take() {
            let shard = u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
            self.parts.entry(shard).or_default().insert(prefix, part);
        }
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        let compressed = self.compressor.compress(&self.block)?;
        let number = |length: usize| u32::try_from(length).map_err(std::io::Error::other);
        self.blocks.push(Block {
            offset: self.out.len() as u64,
            bytes: number(compressed.len())?,
            raw_bytes: number(self.block.len())?,
            checksum: xxh3_64(&compressed),
        });
        self.out.put_slice(&compressed);
        self.block.clear();
        Ok(())
    }

    fn finish(mut self, head: Footer) -> std::io::Result<(Footer, Bytes)> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.end_account();
        let shards = self.parts.into_iter().map(|(shard, accounts)| shard_part(shard, accounts)).collect();
        let footer = Footer { blocks: self.blocks, shards, ..head };
        let bytes = footer.encode_to_vec();
        self.out.put_slice(&bytes);
        self.out.put_u32_le(u32::try_from(bytes.len()).map_err(std::io::Error::other)?);
        self.out.put_u64_le(xxh3_64(&bytes));
        self.out.put_slice(MAGIC);
        Ok((footer, self.out.into()))
    }
}

fn shard_part(shard: u32, accounts: BTreeMap<Vec<u8>, AccountPart>) -> ShardPart {
    let accounts: Vec<AccountPart> = accounts.into_values().collect();
    let with_rows = || accounts.iter().filter(|account| account.rows > 0);
    let min_ms = with_rows().map(|account| account.min_ms).min().unwrap_or_default();
    let max_ms = with_rows().map(|account| account.max_ms).max().unwrap_or_default();
    ShardPart { shard, min_ms, max_ms, accounts }
}

/// What the end of a segment told.
pub(crate) enum FromTail {
    /// The footer.
    Footer(Box<Footer>),
    /// The footer is longer: this many bytes of the end hold it.
    Longer(u64),
}

/// Reads the footer from the last bytes of a segment.
///
/// # Errors
/// What is wrong with the segment.
pub(crate) fn footer_of(tail: &[u8]) -> Result<FromTail, String> {
    let (rest, trailer) =
        tail.split_at_checked(tail.len().wrapping_sub(TRAILER_BYTES)).ok_or("too short for a segment")?;
    if &trailer[12..] != MAGIC {
        return Err("does not end as a segment does".to_owned());
    }
    let length = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]) as usize;
    let checksum = u64::from_le_bytes(trailer[4..12].try_into().map_err(|_| "too short for a segment")?);
    let Some((_, footer)) = rest.len().checked_sub(length).map(|at| rest.split_at(at)) else {
        return Ok(FromTail::Longer((length + TRAILER_BYTES) as u64));
    };
    if xxh3_64(footer) != checksum {
        return Err("the footer's checksum is wrong".to_owned());
    }
    let footer = Footer::decode(footer).map_err(|error| format!("the footer does not decode: {error}"))?;
    if footer.format > FORMAT {
        return Err(format!("format {} is newer than this release knows ({FORMAT}): upgrade", footer.format));
    }
    Ok(FromTail::Footer(Box::new(footer)))
}

/// The rows of a block.
///
/// # Errors
/// What is wrong with the block.
pub(crate) fn rows_of(block: &Block, compressed: &[u8]) -> Result<Vec<StoredRow>, String> {
    if xxh3_64(compressed) != block.checksum {
        return Err(format!("the checksum of the block at {} is wrong", block.offset));
    }
    let raw = zstd::bulk::decompress(compressed, block.raw_bytes as usize).map_err(|error| error.to_string())?;
    let mut raw = Bytes::from(raw);
    let mut rows = Vec::new();
    while !raw.is_empty() {
        rows.push(row_of(&mut raw).ok_or_else(|| format!("the block at {} ends inside a row", block.offset))?);
    }
    Ok(rows)
}

fn row_of(raw: &mut Bytes) -> Option<StoredRow> {
    let head: [u8; ROW_HEAD_BYTES] = raw.get(..ROW_HEAD_BYTES)?.try_into().ok()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (key_bytes, payload_bytes, version) = (word(0) as usize, word(4) as usize, word(8));
    let process_ms = i64::from_le_bytes(head[12..20].try_into().ok()?);
    if raw.len() < ROW_HEAD_BYTES + key_bytes + payload_bytes {
        return None;
    }
    let mut row = raw.split_to(ROW_HEAD_BYTES + key_bytes + payload_bytes).split_off(ROW_HEAD_BYTES);
    let payload = row.split_off(key_bytes);
    Some(StoredRow { key: row, process_ms, version, payload })
}

#[cfg(test)]
mod tests;
