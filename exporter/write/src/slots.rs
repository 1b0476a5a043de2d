//! From segments to files: the rows of the slots that may be out, account by account, slot by slot.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use millrace_schemas::export::{Plan, PublishedFile};
use millrace_schemas::layout::{self, AccountId, Codec, ExportType, Slot};
use millrace_schemas::topics;

use crate::bucket::Bucket;
use crate::error::Error;
use crate::limits;
use crate::merge::{Merge, SegmentReader, Span};
use crate::put::Puts;
use crate::rows::StoredRow;
use crate::shard::{Piece, Work};
use crate::slot_files::{Of, SlotFiles};
use crate::sort_key;

/// Publishes a piece of work; one file is written at a time.
pub(crate) struct SlotPublisher<'a> {
    plan: &'a Plan,
    codec: Codec,
    shard: u32,
    /// Accounts and types that a rebuild has taken over.
    taken_over: &'a HashSet<(String, ExportType)>,
    readers: Vec<SegmentReader>,
    /// What the rows of one account may take before they are merged slot by slot, bytes.
    gather_bytes: usize,
    puts: Puts,
}

impl<'a> SlotPublisher<'a> {
    pub(crate) fn new(
        bucket: &Bucket,
        plan: &'a Plan,
        work: &Work,
        taken_over: &'a HashSet<(String, ExportType)>,
        memory_bytes: usize,
    ) -> Self {
        let read_ahead = (memory_bytes / 4 / work.segments.len().max(1)).min(limits::READ_AHEAD_BYTES_MAX);
        let reader = |(partition, start, blocks): &(u32, u64, std::sync::Arc<[crate::segment::Block]>)| {
            let key = layout::segment_key(&plan.log_id, topics::ENRICHED, *partition, *start);
            SegmentReader::new(bucket.clone(), key, std::sync::Arc::clone(blocks), read_ahead)
        };
        Self {
            plan,
            codec: Codec::parse(&plan.codec).unwrap_or(Codec::Snappy),
            shard: plan.shard,
            taken_over,
            readers: work.segments.iter().map(reader).collect(),
            gather_bytes: memory_bytes / 4,
            puts: Puts::new(bucket.clone(), memory_bytes / 4),
        }
    }

    /// Every file of the work, all of them in the store.
    pub(crate) async fn publish(mut self, work: Work) -> Result<Vec<PublishedFile>, Error> {
        for (account, (window, pieces)) in work.accounts {
            self.account(&account, window, &pieces).await?;
        }
        self.puts.finish().await
    }

    async fn account(&mut self, account: &AccountId, window: Range<i64>, pieces: &[Piece]) -> Result<(), Error> {
        let slot_ms = self.plan.slot_ms(account.as_str());
        let slots = slots_of(&window, pieces, slot_ms);
        let one_slot_each = |piece: &Piece| {
            let (first, last) = (piece.extent.min_ms.max(window.start), piece.extent.max_ms.min(window.end - 1));
            Slot::of(first, slot_ms) == Slot::of(last, slot_ms)
        };
        if !pieces.iter().all(one_slot_each)
            && let Some(rows) = self.gather(account, window, pieces).await?
        {
            return self.gathered(account, slot_ms, rows).await;
        }
        for slot in slots {
            self.merged(account, slot, pieces).await?;
        }
        Ok(())
    }

    /// All rows of the window, if they are within the budget: read once, whatever the number of slots.
    async fn gather(
        &mut self,
        account: &AccountId,
        window: Range<i64>,
        pieces: &[Piece],
    ) -> Result<Option<Vec<StoredRow>>, Error> {
        let mut merge = self.merge(account, window, pieces).await?;
        let mut rows = Vec::new();
        while let Some(row) = merge.next(&mut self.readers).await? {
            rows.push(row);
            if merge.decoded_bytes + rows.len() * size_of::<StoredRow>() > self.gather_bytes {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    async fn gathered(&mut self, account: &AccountId, slot_ms: i64, rows: Vec<StoredRow>) -> Result<(), Error> {
        let mut by_slot: BTreeMap<Slot, Vec<StoredRow>> = BTreeMap::new();
        for row in rows {
            by_slot.entry(Slot::of(row.process_ms, slot_ms)).or_default().push(row);
        }
        for (slot, rows) in by_slot {
            let mut files = SlotFiles::new(self.of(account, slot));
            for row in rows {
                if let Some(made) = files.add(row).await? {
                    self.put(made).await?;
                }
            }
            if let Some(made) = files.finish().await? {
                self.put(made).await?;
            }
        }
        Ok(())
    }

    /// One slot as a stream.
    async fn merged(&mut self, account: &AccountId, slot: Slot, pieces: &[Piece]) -> Result<(), Error> {
        let window = slot.start_ms..slot.end_ms();
        let mut merge = self.merge(account, window, pieces).await?;
        let mut files = SlotFiles::new(self.of(account, slot));
        while let Some(row) = merge.next(&mut self.readers).await? {
            if let Some(made) = files.add(row).await? {
                self.put(made).await?;
            }
        }
        match files.finish().await? {
            Some(made) => self.put(made).await,
            None => Ok(()),
        }
    }

    async fn merge(&mut self, account: &AccountId, window: Range<i64>, pieces: &[Piece]) -> Result<Merge, Error> {
        let within = |piece: &&Piece| piece.extent.min_ms < window.end && piece.extent.max_ms >= window.start;
        let span = |piece: &Piece| Span {
            reader: piece.segment,
            first_block: piece.extent.first_block as usize,
            last_block: piece.extent.last_block as usize,
        };
        let spans: Vec<Span> = pieces.iter().filter(within).map(span).collect();
        let account = self.account_key(account);
        Merge::open(&mut self.readers, &spans, account, window).await
    }

    async fn put(&mut self, made: crate::slot_files::Made) -> Result<(), Error> {
        if self.taken_over.contains(&(made.account.as_str().to_owned(), made.of_type)) {
            return Ok(());
        }
        self.puts.add(made).await
    }

    fn of<'b>(&self, account: &'b AccountId, slot: Slot) -> Of<'b>
    where
        'a: 'b,
    {
        let account_key_bytes = self.account_key(account).len();
        Of { plan: self.plan, account, account_key_bytes, slot, codec: self.codec }
    }

    fn account_key(&self, account: &AccountId) -> Vec<u8> {
        let mut key = Vec::new();
        sort_key::write_account(&mut key, self.shard, account.as_str());
        key
    }
}

/// The slots of the window that may have rows.
fn slots_of(window: &Range<i64>, pieces: &[Piece], slot_ms: i64) -> BTreeSet<Slot> {
    let mut slots = BTreeSet::new();
    for piece in pieces {
        let (first, last) = (piece.extent.min_ms.max(window.start), piece.extent.max_ms.min(window.end - 1));
        let mut slot = Slot::of(first, slot_ms);
        while slot.start_ms <= last {
            slots.insert(slot);
            slot = Slot { start_ms: slot.end_ms(), length_ms: slot_ms };
        }
    }
    slots
}
