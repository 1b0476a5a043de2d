//! One commit, being put together from requests.

use super::chunk::{Builder, Chunk};
use super::head::Span;
use super::marker::Answer;
use super::request::{Request, Work};
use super::shared::Shared;
use crate::limits::CHUNK_BYTES;
use crate::{Appended, Committed, NewRecord, Offset};

/// One commit being put together.
pub(super) struct Draft {
    pub(super) spans: Vec<Span>,
    building: Vec<Option<Builder>>,
    pub(super) chunks: Vec<(usize, Chunk)>,
    pub(super) positions: Vec<(Vec<u8>, Committed)>,
    pub(super) answers: Vec<Answer>,
    time_ms: i64,
}

impl Draft {
    pub(super) fn new(spans: Vec<Span>, time_ms: i64) -> Self {
        let building = spans.iter().map(|_| None).collect();
        Self { spans, building, chunks: Vec::new(), positions: Vec::new(), answers: Vec::new(), time_ms }
    }

    /// Takes a request in: gives offsets to its records and packs them.
    pub(super) fn add(&mut self, shared: &Shared, request: Request) {
        let Work { outputs, transaction, aborted, positions, trim, in_flight } = request.work;
        let mut appended = Vec::new();
        let mut touched = Vec::new();
        for (topic, record) in outputs.iter() {
            let index = shared.index(topic, record.partition);
            let offset = self.take_offset(index);
            if !aborted {
                self.push(index, offset, record);
            }
            appended.push(Appended { partition: record.partition, offset, append_time_ms: self.time_ms });
            if transaction && !touched.contains(&index) {
                touched.push(index);
            }
        }
        for index in touched {
            // As a transaction's marker would in Kafka: nobody shall rely on dense offsets.
            self.take_offset(index);
        }
        if !aborted {
            self.positions.extend(positions);
        }
        if let Some((index, before)) = trim {
            let span = &mut self.spans[index];
            span.start = span.start.max(before.min(span.end));
        }
        self.answers.push(Answer { to: request.answer, appended, in_flight });
    }

    fn take_offset(&mut self, index: usize) -> Offset {
        let span = &mut self.spans[index];
        let offset = span.end;
        self.building[index].get_or_insert_with(|| Builder::at(offset));
        span.end += 1;
        offset
    }

    fn push(&mut self, index: usize, offset: Offset, record: &NewRecord) {
        let span = &mut self.spans[index];
        span.records += 1;
        span.last_time_ms = Some(self.time_ms);
        span.max_time_ms = span.max_time_ms.max(Some(self.time_ms));
        let Some(builder) = &mut self.building[index] else { return };
        builder.push(offset, record);
        if builder.len() >= CHUNK_BYTES {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(builder) = self.building[index].take() {
            let span = self.spans[index];
            let max_time_ms = span.max_time_ms.unwrap_or(i64::MIN);
            self.chunks.push((index, builder.finish(span.end, self.time_ms, max_time_ms)));
        }
    }

    /// Nothing more comes: closes the last chunks.
    pub(super) fn close_all(&mut self) {
        (0..self.building.len()).for_each(|index| self.close(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_commit_is_packed_into_chunks_of_bounded_size() {
        let mut draft = Draft::new(vec![Span { end: 7, ..Span::default() }], 5);
        let record = NewRecord { partition: 0, version: 1, key: "key".into(), value: vec![1; 1000].into() };
        for _ in 0..3000 {
            let offset = draft.take_offset(0);
            draft.push(0, offset, &record);
        }
        draft.close_all();
        let mut expected = 7;
        for (_, chunk) in &draft.chunks {
            assert!(chunk.stored().len() < CHUNK_BYTES + 2000);
            assert_eq!(chunk.header.start, expected, "chunks are chained");
            expected = chunk.header.end;
        }
        assert_eq!(expected, 3007);
        assert!(draft.chunks.len() > 10);
    }
}
