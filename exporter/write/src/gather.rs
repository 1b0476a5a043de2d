//! What was read from the enriched topic and is not sealed yet, and when it is to be sealed. No I/O.
//!
//! Where a segment ends does not show outside, so sizes, ages and the budget may decide it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_eventlog::{Offset, Partition, Record};

use crate::config::Config;
use crate::error::Error;
use crate::rows::{Rows, day_number};
use crate::seal::Sealed;

/// Rows of one partition from `start` to `end`, to become one segment.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// The last promise up to `end`, from before `start` if there is none in between; 0 if there is none at all.
    pub(crate) watermark_ms: i64,
    pub(crate) rows: Rows,
    /// The highest settings version of the watermarks of each day.
    pub(crate) settings: BTreeMap<i32, u64>,
    /// When (elapsed) the first outcome came.
    first_outcome: Option<Duration>,
}

impl Buffer {
    fn after(end: Offset, watermark_ms: i64) -> Self {
        Self { start: end, end, watermark_ms, ..Self::default() }
    }
}

/// One assigned partition.
#[derive(Debug)]
struct Gathering {
    /// Tells a seal of before a revocation from one of after.
    epoch: u64,
    buffer: Buffer,
    sealed_watermark_ms: i64,
    last_seal: Duration,
    /// Bytes of the buffer that is being sealed, if one is.
    sealing: Option<usize>,
}

/// All assigned partitions.
pub(crate) struct Gather {
    seal_bytes: usize,
    seal_age: Duration,
    seal_idle: Duration,
    memory_bytes: usize,
    shards: u32,
    epochs: u64,
    partitions: BTreeMap<Partition, Gathering>,
}

/// A buffer on its way to be sealed.
pub(crate) struct Ready {
    pub(crate) partition: Partition,
    pub(crate) epoch: u64,
    pub(crate) buffer: Buffer,
}

/// What a seal's end means for the consumer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: go on.
    GoOn,
    /// Another owner sealed the range: read on from there.
    ReadFrom(Offset),
}

impl Gather {
    pub(crate) fn new(config: &Config, shards: u32) -> Self {
        Self {
            seal_bytes: config.seal_bytes,
            seal_age: config.seal_age,
            seal_idle: config.seal_idle,
            memory_bytes: config.memory_bytes / 2,
            shards,
            epochs: 0,
            partitions: BTreeMap::new(),
        }
    }

    /// Begins a partition behind its newest segment.
    pub(crate) fn assign(&mut self, partition: Partition, end: Offset, watermark_ms: i64, now: Duration) {
        self.epochs += 1;
        let gathering = Gathering {
            epoch: self.epochs,
            buffer: Buffer::after(end, watermark_ms),
            sealed_watermark_ms: watermark_ms,
            last_seal: now,
            sealing: None,
        };
        self.partitions.insert(partition, gathering);
    }

    pub(crate) fn drop(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    pub(crate) fn assigned(&self) -> BTreeSet<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// Takes records up to `next`. Those of a partition that is not ours, or that were taken before, are ignored.
    pub(crate) fn take(
        &mut self,
        partition: Partition,
        records: Vec<Record>,
        next: Offset,
        now: Duration,
    ) -> Result<(), Error> {
        let shards = self.shards;
        let Some(gathering) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let buffer = &mut gathering.buffer;
        for record in records.into_iter().filter(|record| record.offset >= buffer.end) {
            let offset = record.offset;
            let taken = buffer.rows.take(record, shards);
            if let Some(watermark) = taken.map_err(|reason| Error::Record { partition, offset, reason })? {
                buffer.watermark_ms = buffer.watermark_ms.max(watermark.watermark_ms);
                // A watermark of midnight tells of the day that ends then.
                let version = buffer.settings.entry(day_number(watermark.watermark_ms - 1)).or_default();
                *version = watermark.settings_version.max(*version);
            }
        }
        if buffer.rows.has_outcomes() && buffer.first_outcome.is_none() {
            buffer.first_outcome = Some(now);
        }
        buffer.end = buffer.end.max(next);
        Ok(())
    }

    /// Everything gathered or being sealed, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.partitions.values().map(|one| one.buffer.rows.bytes() + one.sealing.unwrap_or_default()).sum()
    }

    /// Whether reading has to wait for a seal.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.memory_bytes
    }

    /// The sealed position and watermark of a partition, and the end of what is gathered.
    pub(crate) fn state(&self, partition: Partition) -> Option<(Offset, i64, Offset)> {
        let one = self.partitions.get(&partition)?;
        Some((one.buffer.start, one.sealed_watermark_ms, one.buffer.end))
    }

    /// What is to be sealed now. `waiting`: ends of slots with sealed rows that wait for a watermark to pass them.
    pub(crate) fn ready(&mut self, now: Duration, waiting: &BTreeSet<i64>) -> Vec<Ready> {
        let mut due: Vec<Partition> = Vec::new();
        for partition in self.partitions.keys() {
            if self.due_at(*partition, waiting).is_some_and(|at| at <= now) {
                due.push(*partition);
            }
        }
        if due.is_empty() && self.is_full() {
            let free = self.partitions.iter().filter(|(_, one)| one.sealing.is_none() && !one.buffer.rows.is_empty());
            due.extend(free.max_by_key(|(_, one)| one.buffer.rows.bytes()).map(|(partition, _)| *partition));
        }
        due.into_iter().filter_map(|partition| self.begin(partition)).collect()
    }

    fn begin(&mut self, partition: Partition) -> Option<Ready> {
        let one = self.partitions.get_mut(&partition)?;
        let next = Buffer::after(one.buffer.end, one.buffer.watermark_ms);
        let buffer = std::mem::replace(&mut one.buffer, next);
        one.sealing = Some(buffer.rows.bytes());
        Some(Ready { partition, epoch: one.epoch, buffer })
    }

    /// When the next partition is to be sealed, if nothing more comes.
    pub(crate) fn next_due(&self, waiting: &BTreeSet<i64>) -> Option<Duration> {
        self.partitions.keys().filter_map(|partition| self.due_at(*partition, waiting)).min()
    }

    fn due_at(&self, partition: Partition, waiting: &BTreeSet<i64>) -> Option<Duration> {
        let one = self.partitions.get(&partition)?;
        let buffer = &one.buffer;
        if one.sealing.is_some() || buffer.end == buffer.start {
            return None;
        }
        if buffer.rows.bytes() >= self.seal_bytes {
            return Some(Duration::ZERO);
        }
        if let Some(first) = buffer.first_outcome {
            return Some(first + self.seal_age);
        }
        let passes_a_slot = one.sealed_watermark_ms < buffer.watermark_ms
            && waiting.range(one.sealed_watermark_ms + 1..=buffer.watermark_ms).next().is_some();
        Some(if passes_a_slot { Duration::ZERO } else { one.last_seal + self.seal_idle })
    }

    /// A seal has come to an end.
    pub(crate) fn sealed(&mut self, partition: Partition, epoch: u64, sealed: &Sealed, now: Duration) -> Then {
        let Some(one) = self.partitions.get_mut(&partition).filter(|one| one.epoch == epoch) else { return Then::GoOn };
        one.sealing = None;
        one.last_seal = now;
        one.sealed_watermark_ms = sealed.watermark_ms;
        if sealed.ours {
            return Then::GoOn;
        }
        one.buffer = Buffer::after(sealed.end, sealed.watermark_ms);
        Then::ReadFrom(sealed.end)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_schemas::codec::Versioned;
    use millrace_schemas::enriched::enriched_record::Body;
    use millrace_schemas::enriched::outcome::What;
    use millrace_schemas::enriched::{Dead, EnrichedRecord, Outcome, Watermark};

    use super::*;

    const AGE: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(60);
    const ZERO: Duration = Duration::ZERO;

    fn gather(memory_bytes: usize) -> Gather {
        let config = Config { seal_bytes: 10_000, seal_age: AGE, seal_idle: IDLE, memory_bytes, ..Config::default() };
        let mut gather = Gather::new(&config, 2);
        gather.assign(0, 0, 0, ZERO);
        gather.assign(1, 0, 0, ZERO);
        gather
    }

    fn record(offset: u64, body: Body) -> Record {
        let value = EnrichedRecord { body: Some(body) }.to_bytes();
        Record { offset, append_time_ms: 0, version: 1, key: Bytes::new(), value }
    }

    fn row(offset: u64, bytes: usize) -> Record {
        let original = vec![7; bytes].into();
        let dead = Dead { account_id: "a".into(), visitor_id: "v".into(), reason: "r".into(), original };
        let outcome = Outcome { raw_offset: offset, process_timestamp_ms: 5, what: Some(What::Dead(dead)) };
        record(offset, Body::Outcome(outcome))
    }

    fn mark(offset: u64, watermark_ms: i64) -> Record {
        record(offset, Body::Watermark(Watermark { watermark_ms, ..Watermark::default() }))
    }

    fn ready(gather: &mut Gather, now: Duration, waiting: &[i64]) -> Vec<(Partition, Offset, Offset)> {
        let ready = gather.ready(now, &waiting.iter().copied().collect());
        ready.into_iter().map(|ready| (ready.partition, ready.buffer.start, ready.buffer.end)).collect()
    }

    fn won(end: Offset, watermark_ms: i64) -> Sealed {
        Sealed { end, watermark_ms, ours: true }
    }

    #[test]
    fn rows_are_sealed_by_size_at_once_and_by_age_later() {
        let mut gather = gather(1 << 20);
        gather.take(0, vec![row(0, 10)], 1, ZERO).unwrap();
        gather.take(1, vec![row(0, 20_000)], 1, ZERO).unwrap();
        assert_eq!(ready(&mut gather, ZERO, &[]), [(1, 0, 1)]);
        assert_eq!(gather.next_due(&BTreeSet::new()), Some(AGE));
        assert_eq!(ready(&mut gather, AGE, &[]), [(0, 0, 1)]);
        assert_eq!(ready(&mut gather, AGE * 9, &[]), [], "one seal of a partition at a time");
    }

    #[test]
    fn without_rows_a_segment_waits_for_idle_unless_a_sealed_row_waits_for_it() {
        let mut gather = gather(1 << 20);
        gather.take(0, vec![mark(0, 100)], 1, ZERO).unwrap();
        assert_eq!(ready(&mut gather, AGE, &[101]), [], "the watermark does not pass what is waited for");
        assert_eq!(ready(&mut gather, AGE, &[100]), [(0, 0, 1)]);
        assert_eq!(gather.sealed(0, 1, &won(1, 100), AGE), Then::GoOn);
        gather.take(0, vec![mark(1, 200)], 2, AGE).unwrap();
        assert_eq!(ready(&mut gather, AGE, &[100]), [], "that was passed before");
        assert_eq!(ready(&mut gather, AGE + IDLE, &[]), [(0, 1, 2)]);
    }

    #[test]
    fn over_the_budget_the_largest_is_sealed_first_and_counts_until_it_is_out() {
        let mut gather = gather(4_000);
        gather.take(0, vec![row(0, 900)], 1, ZERO).unwrap();
        assert!(!gather.is_full());
        gather.take(1, vec![row(0, 1_500)], 1, ZERO).unwrap();
        assert!(gather.is_full());
        assert_eq!(ready(&mut gather, ZERO, &[]), [(1, 0, 1)]);
        assert!(gather.is_full(), "what is being sealed still takes room");
        gather.sealed(1, 2, &won(1, 0), ZERO);
        assert!(!gather.is_full());
    }

    #[test]
    fn a_refused_seal_goes_on_at_the_winners_end_and_forgets_what_was_read() {
        let mut gather = gather(1 << 20);
        gather.take(0, vec![row(0, 20_000)], 1, ZERO).unwrap();
        assert_eq!(ready(&mut gather, ZERO, &[]), [(0, 0, 1)]);
        gather.take(0, vec![row(1, 10)], 2, ZERO).unwrap();
        let lost = Sealed { end: 7, watermark_ms: 70, ours: false };
        assert_eq!(gather.sealed(0, 1, &lost, ZERO), Then::ReadFrom(7));
        assert_eq!((gather.state(0), gather.bytes()), (Some((7, 70, 7)), 0));
        gather.take(0, vec![row(6, 10), row(8, 10)], 9, ZERO).unwrap();
        assert_eq!(ready(&mut gather, AGE, &[]), [(0, 7, 9)]);
    }

    #[test]
    fn a_seal_from_before_a_revocation_says_nothing_about_the_partition_now() {
        let mut gather = gather(1 << 20);
        gather.take(0, vec![row(0, 20_000)], 1, ZERO).unwrap();
        assert_eq!(ready(&mut gather, ZERO, &[]), [(0, 0, 1)]);
        gather.drop(0);
        gather.assign(0, 5, 50, ZERO);
        assert_eq!(gather.sealed(0, 1, &Sealed { end: 1, watermark_ms: 1, ours: false }, ZERO), Then::GoOn);
        assert_eq!(gather.state(0), Some((5, 50, 5)));
    }
}
