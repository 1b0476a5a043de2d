//! Reads, ends and times, with the errors a caller can act on.

use std::sync::Arc;

use millrace_eventlog::{Chunk, Extent, Offset, ReadError, Topic};
use tokio::time::Instant;

use crate::Shared;
use crate::cluster::Unanswered;
use crate::limits::{DELETED_AFTER, FETCH_WAIT, READ_TIMEOUT, REGRESSED_AFTER, RETRY_PAUSE};
use crate::reader::{Fault, Place};

/// See [`millrace_eventlog::Log::read`].
pub(crate) async fn read(
    shared: &Arc<Shared>,
    topic: Topic,
    place: Place,
    from: Offset,
    max_bytes: usize,
) -> Result<Chunk, ReadError> {
    let extent = extent_around(shared, topic, &place, from).await?;
    if from >= extent.end {
        return Ok(Chunk { records: Vec::new(), next: from });
    }
    let reading = {
        let place = place.clone();
        move |reader: &mut crate::reader::Reader| reader.read(&place, from, extent.end, max_bytes, READ_TIMEOUT)
    };
    match shared.readers.with_reader(&place, from, reading).await {
        Ok(chunk) => Ok(chunk),
        Err(Fault::OutOfRange) => {
            // It was in range a moment ago: retention has overtaken the read, or the topic was made anew.
            extent_around(shared, topic, &place, from).await?;
            Err(unavailable(&place, "the position was outside the log for a moment"))
        }
        Err(Fault::Failed(reason)) => Err(unavailable(&place, reason)),
    }
}

/// The extent of a partition, which `from` must lie in. A broker that has just taken over may know of less than there is, so a
/// position beyond the end is believed only after a while.
async fn extent_around(shared: &Shared, topic: Topic, place: &Place, from: Offset) -> Result<Extent, ReadError> {
    let began = Instant::now();
    loop {
        let extent = extent(shared, topic, place.clone()).await?;
        let partition = place.partition;
        if from < extent.start {
            return Err(ReadError::Truncated { topic, partition, from, start: extent.start });
        }
        if from <= extent.end {
            return Ok(extent);
        }
        if began.elapsed() >= REGRESSED_AFTER {
            return Err(ReadError::Regressed { topic, partition, from, end: extent.end });
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// See [`millrace_eventlog::Log::extent`].
pub(crate) async fn extent(shared: &Shared, topic: Topic, place: Place) -> Result<Extent, ReadError> {
    let began = Instant::now();
    loop {
        let asked = place.clone();
        match shared.cluster.ask(move |cluster| cluster.extent(&asked)).await {
            Ok(extent) => return Ok(extent),
            // A broker that has just started may not know every topic yet.
            Err(Unanswered::UnknownTopic) if began.elapsed() < DELETED_AFTER => tokio::time::sleep(RETRY_PAUSE).await,
            Err(Unanswered::UnknownTopic) => return Err(gone_or_unavailable(shared, topic, &place).await),
            Err(Unanswered::Failed(reason)) => return Err(unavailable(&place, reason)),
        }
    }
}

/// A hard stop needs the brokers' plain word that there is no such topic.
async fn gone_or_unavailable(shared: &Shared, topic: Topic, place: &Place) -> ReadError {
    let name = Arc::clone(&place.topic);
    match shared.cluster.ask(move |cluster| cluster.partitions(&name)).await {
        Ok(partitions) if partitions <= place.partition => deleted(topic, place.partition, 0),
        Ok(_) => unavailable(place, "its ends are not known now"),
        Err(error) => unavailable(place, error),
    }
}

/// See [`millrace_eventlog::Log::position_at`].
pub(crate) async fn position_at(
    shared: &Shared,
    topic: Topic,
    place: Place,
    time_ms: i64,
) -> Result<Option<Offset>, ReadError> {
    let asked = place.clone();
    match shared.cluster.ask(move |cluster| cluster.offset_at(&asked, time_ms)).await {
        Ok(found) => Ok(found),
        Err(Unanswered::UnknownTopic) => extent(shared, topic, place).await.map(|_| None),
        Err(Unanswered::Failed(reason)) => Err(unavailable(&place, reason)),
    }
}

/// Returns once the partition's end is beyond `end`. See [`millrace_eventlog::Log::grown`].
pub(crate) async fn grown(shared: &Arc<Shared>, topic: Topic, place: Place, end: Offset) {
    loop {
        match extent(shared, topic, place.clone()).await {
            Ok(extent) if extent.end > end => return,
            // Whoever waits at a position that is not there learns so from its next read.
            Ok(extent) if extent.end < end || extent.start > end => return,
            Ok(_) if shared.readers.is_busy() => tokio::time::sleep(RETRY_PAUSE).await,
            Ok(_) => {
                let waiting = {
                    let place = place.clone();
                    // In slices: the thread must end soon after whoever waits has gone away.
                    move |reader: &mut crate::reader::Reader| reader.wait(&place, end, FETCH_WAIT)
                };
                match shared.readers.with_reader(&place, end, waiting).await {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
                }
            }
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// A topic that is not there any more: nothing of it is.
pub(crate) fn deleted(topic: Topic, partition: u32, from: Offset) -> ReadError {
    ReadError::Regressed { topic, partition, from, end: 0 }
}

fn unavailable(place: &Place, reason: impl std::fmt::Display) -> ReadError {
    ReadError::Unavailable(format!("{}/{}: {reason}", place.topic, place.partition))
}
