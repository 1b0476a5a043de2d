//! Whether a partition is what it was: nothing is folded over records that are missing, or that are another log's.

use millrace_eventlog::{Log, Offset, Partition, Topic, first_record};
use millrace_schemas::topics;

use super::RecoverError;
use crate::contradiction::Contradiction;
use crate::step::{Body, Head, Input, log_time_after};

const RAW: Topic = Topic(topics::RAW);
const ENRICHED: Topic = Topic(topics::ENRICHED);

/// Nothing was ever committed: right only for a log that holds nothing and still reaches back to its beginning.
pub(super) async fn untouched(log: &dyn Log, partition: Partition) -> Result<(), RecoverError> {
    reaches_back_to(log, partition, 0).await?;
    let log_id = log.id().to_owned();
    let extent = log.extent(ENRICHED, partition).await?;
    if extent.start > 0 {
        return Err(RecoverError::Stop(Contradiction::OutcomesGone { log_id, partition, start: extent.start }));
    }
    if first_record(log, ENRICHED, partition, extent).await?.is_some() {
        return Err(RecoverError::Stop(Contradiction::ForeignOutcomes { log_id, partition }));
    }
    Ok(())
}

/// Every raw record from `needed` on is there.
pub(super) async fn reaches_back_to(log: &dyn Log, partition: Partition, needed: Offset) -> Result<(), RecoverError> {
    let start = log.extent(RAW, partition).await?.start;
    if start <= needed {
        return Ok(());
    }
    Err(RecoverError::Stop(Contradiction::RawGone { log_id: log.id().to_owned(), partition, start, needed }))
}

/// A state that needs no folding has seen no record of this log yet: so one is looked at. A topic that was made anew, and
/// has grown beyond the old one's end since, holds only records that are later than all that was folded.
pub(super) async fn is_the_log_that_was_folded(
    log: &dyn Log,
    partition: Partition,
    head: &Head,
) -> Result<(), RecoverError> {
    let (folded, log_id) = (head.folded, log.id().to_owned());
    let extent = log.extent(RAW, partition).await?;
    if extent.end < folded {
        return Err(RecoverError::Stop(Contradiction::RawEnds { log_id, partition, end: extent.end, folded }));
    }
    if extent.start > folded {
        return Err(RecoverError::Stop(Contradiction::RawGone {
            log_id,
            partition,
            start: extent.start,
            needed: folded,
        }));
    }
    let Some(last) = folded.checked_sub(1).filter(|last| *last >= extent.start) else { return Ok(()) };
    let chunk = log.read(RAW, partition, last, 1).await?;
    let Some(record) = chunk.records.first().filter(|record| record.offset == last) else { return Ok(()) };
    let input = Input::read(record)?;
    if matches!(input.body, Body::Settings(_)) {
        // How far its two times may differ, it has changed itself.
        return Ok(());
    }
    let here_ms = log_time_after(head, &input);
    if here_ms == head.log_time_ms {
        return Ok(());
    }
    let recorded_ms = head.log_time_ms;
    Err(RecoverError::Stop(Contradiction::OtherRecords { log_id, partition, folded, here_ms, recorded_ms }))
}

/// Settings come before everything else: they decide what the rest means.
pub(crate) fn settings_first(
    log_id: &str,
    partition: Partition,
    head: &Head,
    input: &Input,
) -> Result<(), Contradiction> {
    if head.settings.version > 0 || matches!(input.body, Body::Settings(_)) {
        return Ok(());
    }
    Err(Contradiction::NoSettings { log_id: log_id.to_owned(), partition, offset: input.offset })
}
