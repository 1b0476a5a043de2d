//! A chunk: the records one commit put into one partition, stored as one value.
//!
//! Version 1, integers little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version |
//! | 8 | checksum: xxh3-64 of all that follows |
//! | 8 | `start`: the end of the chunk before |
//! | 8 | `end`: the start of the chunk after; above the last record's offset, maybe by more than one |
//! | 4 | number of records; 0 for a transaction that was aborted |
//! | 8 | append time of its records, ms |
//! | 8 | the largest append time in the partition up to here, ms |
//! | … | records: offset − `start`, version, key length, value length (each LEB128), key, value |
//!
//! `start` and `end` are the partition's offset chain: a reader that meets a chunk whose `start` is not the `end` it came
//! from has found a hole.

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::{NewRecord, Offset, Record};

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 1 + 8;
/// What a chunk takes in memory beside its bytes: itself, the buffer's count, the allocator's share.
const OVERHEAD_BYTES: usize = 160;
const HEADER_BYTES: usize = CHECKED_FROM + 8 + 8 + 4 + 8 + 8;

/// What a chunk says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The end of the chunk before.
    pub(super) start: Offset,
    /// The start of the chunk after.
    pub(super) end: Offset,
    /// How many records.
    pub(super) count: u32,
    /// Their append time.
    pub(super) append_time_ms: i64,
    /// The largest append time of the partition so far.
    pub(super) max_time_ms: i64,
}

/// A chunk as it is read: checked bytes, decoded as asked.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) header: Header,
    bytes: Bytes,
}

/// The key of the chunk that ends at `end`. The first key at or after `key_for(from)` is the chunk that holds `from`.
pub(super) fn key(end: Offset) -> [u8; 8] {
    (end - 1).to_be_bytes()
}

/// Where to seek for the chunk that holds `from`.
pub(super) fn key_for(from: Offset) -> [u8; 8] {
    from.to_be_bytes()
}

/// A chunk being filled.
pub(super) struct Builder {
    start: Offset,
    count: u32,
    bytes: Vec<u8>,
}

impl Builder {
    pub(super) fn at(start: Offset) -> Self {
        Self { start, count: 0, bytes: vec![0; HEADER_BYTES] }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, offset: Offset, record: &NewRecord) {
        put_varint(&mut self.bytes, offset - self.start);
        put_varint(&mut self.bytes, u64::from(record.version));
        put_varint(&mut self.bytes, record.key.len() as u64);
        put_varint(&mut self.bytes, record.value.len() as u64);
        self.bytes.extend_from_slice(&record.key);
        self.bytes.extend_from_slice(&record.value);
        self.count += 1;
    }

    pub(super) fn finish(self, end: Offset, append_time_ms: i64, max_time_ms: i64) -> Chunk {
        let header = Header { start: self.start, end, count: self.count, append_time_ms, max_time_ms };
        let mut bytes = self.bytes;
        let mut front = &mut bytes[..HEADER_BYTES];
        front.put_u8(VERSION);
        front.put_u64_le(0);
        front.put_u64_le(header.start);
        front.put_u64_le(header.end);
        front.put_u32_le(header.count);
        front.put_i64_le(header.append_time_ms);
        front.put_i64_le(header.max_time_ms);
        let checksum = xxh3_64(&bytes[CHECKED_FROM..]);
        bytes[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        // It may live in memory for long, among many that are small.
        bytes.shrink_to_fit();
        Chunk { header, bytes: bytes.into() }
    }
}

impl Chunk {
    /// Checks stored bytes. The error says what is wrong with them.
    pub(super) fn from_stored(bytes: Bytes) -> Result<Self, &'static str> {
        if bytes.len() < HEADER_BYTES {
            return Err("a stored chunk is too short");
        }
        if bytes[0] != VERSION {
            return Err("a stored chunk has an unknown version");
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if number(1) != xxh3_64(&bytes[CHECKED_FROM..]) {
            return Err("a stored chunk does not match its checksum");
        }
        let header = Header {
            start: number(9),
            end: number(17),
            count: u32::from_le_bytes(std::array::from_fn(|i| bytes[25 + i])),
            append_time_ms: number(29).cast_signed(),
            max_time_ms: number(37).cast_signed(),
        };
        Ok(Self { header, bytes })
    }

    /// The memory it takes, about.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }

    /// The bytes to store.
    pub(super) fn stored(&self) -> &Bytes {
        &self.bytes
    }

    /// Its records in order. They share the chunk's memory.
    pub(super) fn records(&self) -> Records<'_> {
        Records { chunk: self, at: HEADER_BYTES, left: self.header.count }
    }
}

/// The records of a chunk, in order. Ends early (and says so by `Err`) where the bytes make no sense.
pub(super) struct Records<'a> {
    chunk: &'a Chunk,
    at: usize,
    left: u32,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = self.decode();
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or("a stored chunk does not decode"))
    }
}

impl Records<'_> {
    fn decode(&mut self) -> Option<Record> {
        let delta = self.varint()?;
        let version = u32::try_from(self.varint()?).ok()?;
        let key_len = usize::try_from(self.varint()?).ok()?;
        let value_len = usize::try_from(self.varint()?).ok()?;
        let key = self.take(key_len)?;
        let value = self.take(value_len)?;
        let Header { start, append_time_ms, .. } = self.chunk.header;
        Some(Record { offset: start.checked_add(delta)?, append_time_ms, version, key, value })
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.chunk.bytes.len())?;
        let bytes = self.chunk.bytes.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.chunk.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(version: u32, key: Vec<u8>, value: Vec<u8>) -> NewRecord {
        NewRecord { partition: 0, version, key: key.into(), value: value.into() }
    }

    proptest! {
        #[test]
        fn what_went_into_a_chunk_comes_out(
            start in 0u64..u64::MAX / 2,
            records in proptest::collection::vec((0u64..300, any::<u32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..20),
            time in any::<i64>(),
        ) {
            let mut builder = Builder::at(start);
            let mut offset = start;
            let mut expected = Vec::new();
            for (gap, version, key, value) in records {
                offset += gap;
                builder.push(offset, &record(version, key.clone(), value.clone()));
                expected.push(Record {
                    offset, append_time_ms: time, version, key: key.into(), value: value.into(),
                });
                offset += 1;
            }
            let chunk = builder.finish(offset + 1, time, time);
            let read = Chunk::from_stored(chunk.stored().clone()).expect("own bytes check out");
            prop_assert_eq!(read.header, chunk.header);
            let records: Result<Vec<_>, _> = read.records().collect();
            prop_assert_eq!(records.expect("own records decode"), expected);
        }

        #[test]
        fn any_changed_byte_is_noticed(at in 0usize..200, bit in 0u8..8) {
            let mut builder = Builder::at(7);
            builder.push(7, &record(1, vec![1; 60], vec![2; 200]));
            let chunk = builder.finish(9, 5, 5);
            let mut bytes = chunk.stored().to_vec();
            bytes[at] ^= 1 << bit;
            prop_assert!(Chunk::from_stored(bytes.into()).is_err());
        }
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let mut builder = Builder::at(41);
        builder.push(41, &record(1, b"k".to_vec(), b"value".to_vec()));
        builder.push(300, &record(2, Vec::new(), Vec::new()));
        let chunk = builder.finish(302, 1_700_000_000_000, 1_700_000_000_001);
        assert_eq!(
            hex::encode(chunk.stored()),
            "016321f672e6971c9b29000000000000002e01000000000000020000000068e5cf8b0100000168e5cf8b0100000001\
             01056b76616c75658302020000"
        );
    }
}
