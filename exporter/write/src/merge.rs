//! Rows of one account from many segments, in order: a k-way merge that holds a block of each segment at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::bucket::{Bucket, damaged};
use crate::error::Error;
use crate::rows::StoredRow;
use crate::segment::{self, Block};

/// Reads blocks of one segment. Asked for rising blocks, it reads each byte once.
pub(crate) struct SegmentReader {
    bucket: Bucket,
    key: String,
    blocks: Arc<[Block]>,
    /// How much one read asks for.
    read_ahead: usize,
    /// Blocks as read, not yet decoded.
    chunk: Option<(Range<usize>, Bytes)>,
    decoded: Option<(usize, Arc<[StoredRow]>)>,
}

impl SegmentReader {
    pub(crate) fn new(bucket: Bucket, key: String, blocks: Arc<[Block]>, read_ahead: usize) -> Self {
        Self { bucket, key, blocks, read_ahead, chunk: None, decoded: None }
    }

    /// The rows of a block. Reads on up to block `last` if it has to read.
    async fn rows(&mut self, index: usize, last: usize) -> Result<Arc<[StoredRow]>, Error> {
        if let Some((_, rows)) = self.decoded.as_ref().filter(|(decoded, _)| *decoded == index) {
            return Ok(Arc::clone(rows));
        }
        let block = *self.blocks.get(index).ok_or_else(|| damaged(&self.key, "its index names a block it has not"))?;
        let compressed = self.compressed(index, last, &block).await?;
        let rows: Arc<[StoredRow]> =
            segment::rows_of(&block, &compressed).map_err(|why| damaged(&self.key, &why))?.into();
        self.decoded = Some((index, Arc::clone(&rows)));
        Ok(rows)
    }

    async fn compressed(&mut self, index: usize, last: usize, block: &Block) -> Result<Bytes, Error> {
        if !self.chunk.as_ref().is_some_and(|(range, _)| range.contains(&index)) {
            let range = self.range_from(index, last);
            let ending = &self.blocks[range.end - 1];
            let bytes =
                self.bucket.read_range(&self.key, block.offset, ending.offset + u64::from(ending.bytes)).await?;
            self.chunk = Some((range, bytes));
        }
        let Some((range, bytes)) = &self.chunk else { return Err(damaged(&self.key, "was read and is not there")) };
        let from = (block.offset - self.blocks[range.start].offset) as usize;
        let to = from + block.bytes as usize;
        if to > bytes.len() {
            return Err(damaged(&self.key, "its blocks do not follow each other"));
        }
        Ok(bytes.slice(from..to))
    }

    fn range_from(&self, index: usize, last: usize) -> Range<usize> {
        let mut end = index + 1;
        let mut bytes = self.blocks[index].bytes as usize;
        while end <= last && end < self.blocks.len() && bytes + self.blocks[end].bytes as usize <= self.read_ahead {
            bytes += self.blocks[end].bytes as usize;
            end += 1;
        }
        index..end
    }
}

/// Which rows of a segment are wanted: those in `first..=last` whose key begins with the account's part and whose process
/// timestamp is in the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Index of the segment's reader.
    pub(crate) reader: usize,
    pub(crate) first_block: usize,
    pub(crate) last_block: usize,
}

struct Cursor {
    span: Span,
    block: usize,
    rows: Arc<[StoredRow]>,
    at: usize,
}

/// Rows of one account in one window of log time, in order.
pub(crate) struct Merge {
    account: Vec<u8>,
    window: Range<i64>,
    cursors: Vec<Cursor>,
    /// The next row's key of each cursor that has one.
    heads: BinaryHeap<Reverse<(Bytes, usize)>>,
    /// Raw bytes of the blocks decoded so far.
    pub(crate) decoded_bytes: usize,
}

impl Merge {
    /// `account`: the account's part of the keys. Equal keys come in the order of `spans`.
    pub(crate) async fn open(
        readers: &mut [SegmentReader],
        spans: &[Span],
        account: Vec<u8>,
        window: Range<i64>,
    ) -> Result<Self, Error> {
        let mut merge = Self { account, window, cursors: Vec::new(), heads: BinaryHeap::new(), decoded_bytes: 0 };
        for span in spans {
            let cursor = Cursor { span: *span, block: span.first_block, rows: Arc::new([]), at: 0 };
            merge.cursors.push(cursor);
            let index = merge.cursors.len() - 1;
            merge.load(readers, index, span.first_block).await?;
            merge.seek(readers, index).await?;
        }
        Ok(merge)
    }

    pub(crate) async fn next(&mut self, readers: &mut [SegmentReader]) -> Result<Option<StoredRow>, Error> {
        let Some(Reverse((_, index))) = self.heads.pop() else { return Ok(None) };
        let cursor = &mut self.cursors[index];
        let row = cursor.rows[cursor.at].clone();
        cursor.at += 1;
        self.seek(readers, index).await?;
        Ok(Some(row))
    }

    /// Moves a cursor to its next wanted row and notes that row's key.
    async fn seek(&mut self, readers: &mut [SegmentReader], index: usize) -> Result<(), Error> {
        loop {
            let cursor = &mut self.cursors[index];
            while let Some(row) = cursor.rows.get(cursor.at) {
                if row.key.starts_with(&self.account) && self.window.contains(&row.process_ms) {
                    self.heads.push(Reverse((row.key.clone(), index)));
                    return Ok(());
                }
                cursor.at += 1;
            }
            if cursor.block >= cursor.span.last_block {
                return Ok(());
            }
            let block = cursor.block + 1;
            self.load(readers, index, block).await?;
        }
    }

    async fn load(&mut self, readers: &mut [SegmentReader], index: usize, block: usize) -> Result<(), Error> {
        let cursor = &mut self.cursors[index];
        let reader = &mut readers[cursor.span.reader];
        cursor.rows = reader.rows(block, cursor.span.last_block).await?;
        (cursor.block, cursor.at) = (block, 0);
        self.decoded_bytes += reader.blocks[block].raw_bytes as usize;
        Ok(())
    }
}
