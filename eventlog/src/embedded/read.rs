//! Reading: from the tail in memory where it reaches, from the store otherwise.

use std::sync::Arc;

use super::chunk::Chunk as Stored;
use super::head::Span;
use super::shared::Shared;
use crate::{Chunk, Offset, Partition, ReadError, Record, Topic, metrics as names};

/// Reads records from `from` on. See [`crate::Log::read`].
pub(super) async fn read(
    shared: &Arc<Shared>,
    topic: Topic,
    partition: Partition,
    from: Offset,
    max_bytes: usize,
) -> Result<Chunk, ReadError> {
    let place = Place { topic, partition, index: shared.index(topic, partition) };
    let span = shared.span(place.index);
    if from < span.start {
        return Err(ReadError::Truncated { topic, partition, from, start: span.start });
    }
    if from > span.end {
        return Err(ReadError::Regressed { topic, partition, from, end: span.end });
    }
    if from == span.end {
        return Ok(Chunk { records: Vec::new(), next: from });
    }
    let recent = shared.tail(place.index).from(from, max_bytes);
    let mut gathering = Gathering::new(from, max_bytes);
    if let Some(chunks) = recent {
        metrics::counter!(names::READS, "from" => "memory").increment(1);
        // The tail is given a commit's chunks a moment before the commit is visible: what lies beyond the end seen above
        // is not to be read yet, or the next read would begin beyond the end.
        for chunk in chunks.iter().take_while(|chunk| chunk.header.start < span.end) {
            gathering.take(chunk).map_err(|reason| place.damaged(gathering.next, reason.into()))?;
        }
        return Ok(gathering.done());
    }
    metrics::counter!(names::READS, "from" => "disk").increment(1);
    let shared = Arc::clone(shared);
    let from_disk = move || from_store(&shared, place, span, gathering);
    tokio::task::spawn_blocking(from_disk)
        .await
        .unwrap_or_else(|error| Err(ReadError::Unavailable(format!("a read was interrupted: {error}"))))
}

fn from_store(shared: &Shared, place: Place, span: Span, mut gathering: Gathering) -> Result<Chunk, ReadError> {
    shared.with_store(|store| {
        let mut chunks = store.chunks(place.index, gathering.next);
        while gathering.next < span.end && !gathering.full() {
            let found = chunks.next().unwrap_or_else(|| Err("the store ends before the log does".into()));
            let taken = found.and_then(|chunk| gathering.take(&chunk).map_err(str::to_owned));
            taken.map_err(|reason| {
                let file = store.file_of(place.index, gathering.next);
                let file = file.map(|file| format!(" in {}", file.display())).unwrap_or_default();
                place.damaged(gathering.next, format!("{reason}{file}"))
            })?;
        }
        Ok(gathering.done())
    })?
}

/// The first position appended at or after `time_ms`. See [`crate::Log::position_at`].
///
/// Append times may go back, the largest so far may not: so a binary search over that finds the first chunk it is in.
pub(super) async fn position_at(
    shared: &Arc<Shared>,
    topic: Topic,
    partition: Partition,
    time_ms: i64,
) -> Result<Option<Offset>, ReadError> {
    let place = Place { topic, partition, index: shared.index(topic, partition) };
    let shared = Arc::clone(shared);
    let search = move || {
        let span = shared.span(place.index);
        let (mut low, mut high) = (span.start, span.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let chunk = chunk_at(&shared, place, middle)?;
            if chunk.header.start > middle {
                // What was there has been trimmed meanwhile.
                low = chunk.header.start
            } else if chunk.header.max_time_ms >= time_ms {
                high = chunk.header.start.max(low)
            } else {
                low = chunk.header.end
            }
        }
        // As a rule the chunk found is the one. Not where its large time belongs to records that were trimmed away.
        while low < span.end {
            let chunk = chunk_at(&shared, place, low)?;
            for record in chunk.records() {
                let record = record.map_err(|reason| place.damaged(low, reason.into()))?;
                if record.offset >= low && record.append_time_ms >= time_ms {
                    return Ok(Some(record.offset));
                }
            }
            low = chunk.header.end;
        }
        Ok(None)
    };
    tokio::task::spawn_blocking(search)
        .await
        .unwrap_or_else(|error| Err(ReadError::Unavailable(format!("a search was interrupted: {error}"))))
}

fn chunk_at(shared: &Shared, place: Place, offset: Offset) -> Result<Stored, ReadError> {
    if let Some(chunk) = shared.tail(place.index).from(offset, 0).and_then(|chunks| chunks.into_iter().next()) {
        return Ok(chunk);
    }
    let found = shared.with_store(|store| store.chunks(place.index, offset).next())?;
    let chunk = found.unwrap_or_else(|| Err("the store ends before the log does".into()));
    chunk.map_err(|reason| place.damaged(offset, reason))
}

#[derive(Clone, Copy)]
struct Place {
    topic: Topic,
    partition: Partition,
    index: usize,
}

impl Place {
    fn damaged(self, offset: Offset, reason: String) -> ReadError {
        ReadError::Damaged { topic: self.topic, partition: self.partition, offset, reason }
    }
}

/// The records of one read, as they come together.
struct Gathering {
    records: Vec<Record>,
    next: Offset,
    bytes: usize,
    max_bytes: usize,
}

impl Gathering {
    fn new(from: Offset, max_bytes: usize) -> Self {
        Self { records: Vec::new(), next: from, bytes: 0, max_bytes }
    }

    fn full(&self) -> bool {
        self.bytes >= self.max_bytes && !self.records.is_empty()
    }

    fn fits(&self, record: &Record) -> bool {
        self.records.is_empty() || self.bytes + record.value.len() <= self.max_bytes
    }

    /// Takes what fits of the chunk that holds `next`.
    fn take(&mut self, chunk: &Stored) -> Result<(), &'static str> {
        if self.full() {
            return Ok(());
        }
        if chunk.header.start > self.next {
            return Err("the offset chain has a gap");
        }
        for record in chunk.records() {
            let record = record?;
            if record.offset < self.next {
                continue;
            }
            if !self.fits(&record) {
                self.bytes = self.max_bytes.max(self.bytes);
                return Ok(());
            }
            self.bytes += record.value.len();
            self.next = record.offset + 1;
            self.records.push(record);
        }
        self.next = chunk.header.end;
        Ok(())
    }

    fn done(self) -> Chunk {
        Chunk { records: self.records, next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::embedded::chunk::Builder;
    use crate::embedded::identity::Topics;
    use crate::embedded::shared::Parts;
    use crate::embedded::store::Store;
    use crate::{NewRecord, TopicSpec};

    const TOPIC: Topic = Topic("topic");

    fn chunk(start: Offset) -> Stored {
        let mut builder = Builder::at(start);
        builder.push(start, &NewRecord { partition: 0, version: 1, key: "k".into(), value: "v".into() });
        builder.finish(start + 1, 0, 0)
    }

    #[tokio::test]
    async fn a_commit_that_is_in_the_tail_but_not_yet_visible_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::new(vec![TopicSpec { topic: TOPIC, partitions: 1 }]);
        let shared = Arc::new(Shared::new(Parts {
            folder: folder.path().to_owned(),
            id: "id".into(),
            store: Store::open(folder.path(), &topics.names()).unwrap(),
            spans: vec![Span { end: 1, ..Span::default() }],
            topics,
            tail_bytes: 1 << 20,
            positions: Vec::new(),
            queue: mpsc::unbounded_channel().0,
        }));
        shared.tail(0).push(chunk(0));
        shared.tail(0).push(chunk(1));

        let first = read(&shared, TOPIC, 0, 0, usize::MAX).await.unwrap();

        assert_eq!((first.records.len(), first.next), (1, 1));
        let at_the_end = read(&shared, TOPIC, 0, first.next, usize::MAX).await.unwrap();
        assert!(at_the_end.records.is_empty(), "it is at the end, not beyond it");
    }
}
