//! What the error of a transactional call asks for.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What an error of a transactional call asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same call may be made again.
    Retry,
    /// The transaction is to be aborted.
    Abort,
    /// Somebody else has taken this member's, or this producer's, place.
    Fenced,
    /// The producer is of no use any more.
    Broken,
}

pub(crate) fn verdict(error: &KafkaError) -> Verdict {
    let KafkaError::Transaction(error) = error else { return Verdict::Broken };
    if fences(error.code()) {
        Verdict::Fenced
    } else if error.is_fatal() {
        Verdict::Broken
    } else if error.txn_requires_abort() {
        Verdict::Abort
    } else if error.is_retriable() {
        Verdict::Retry
    } else {
        Verdict::Broken
    }
}

/// Whether a code says that somebody else has taken this member's, or this producer's, place. A stale generation does not:
/// the group has been rebalanced, and the partitions may still be ours.
pub(crate) fn fences(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::UnknownMemberId
    )
}
