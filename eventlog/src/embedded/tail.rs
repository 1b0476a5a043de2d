//! The newest chunks of a partition, in memory, so that readers near the end never touch the disk.

use std::collections::VecDeque;

use super::chunk::Chunk;
use crate::Offset;

/// A contiguous run of chunks up to the partition's end.
#[derive(Default)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Tail {
    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.chunks.back().is_some_and(|last| last.header.end != chunk.header.start) {
            self.chunks.clear();
            self.bytes = 0;
        }
        self.bytes += chunk.weight();
        self.chunks.push_back(chunk);
    }

    /// The memory its chunks take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the oldest chunk.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.chunks.pop_front() {
            self.bytes -= oldest.weight();
        }
    }

    /// The chunks from the one that holds `from` on, at least `max_bytes` of them if there are; `None` if the tail does
    /// not reach back that far.
    pub(super) fn from(&self, from: Offset, max_bytes: usize) -> Option<Vec<Chunk>> {
        let first = self.chunks.partition_point(|chunk| chunk.header.end <= from);
        if self.chunks.get(first)?.header.start > from {
            return None;
        }
        let mut bytes = 0;
        let enough = |chunk: &&Chunk| {
            let wanted = bytes <= max_bytes;
            bytes += chunk.stored().len();
            wanted
        };
        Some(self.chunks.range(first..).take_while(enough).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewRecord;
    use crate::embedded::chunk::Builder;

    fn chunk(start: Offset) -> Chunk {
        let mut builder = Builder::at(start);
        builder.push(start, &NewRecord { partition: 0, version: 1, key: "k".into(), value: vec![0; 100].into() });
        builder.finish(start + 2, 0, 0)
    }

    #[test]
    fn a_tail_gives_what_it_still_has_and_only_that() {
        let mut tail = Tail::default();
        (0..10).for_each(|n| tail.push(chunk(n * 2)));
        (0..7).for_each(|_| tail.forget_oldest());
        assert_eq!(tail.bytes(), 3 * chunk(0).weight());
        assert!(tail.from(13, usize::MAX).is_none(), "forgotten");
        let starts = |from| tail.from(from, usize::MAX).unwrap().iter().map(|c| c.header.start).collect::<Vec<_>>();
        assert_eq!(starts(14), [14, 16, 18]);
        assert_eq!(starts(15), [14, 16, 18], "a skipped offset belongs to the chunk before it");
        assert_eq!(starts(18), [18]);
        assert!(tail.from(20, usize::MAX).is_none(), "nothing at the end");
    }

    #[test]
    fn a_small_read_takes_few_chunks() {
        let mut tail = Tail::default();
        (0..10).for_each(|n| tail.push(chunk(n * 2)));
        assert_eq!(tail.from(0, 0).unwrap().len(), 1);
    }
}
