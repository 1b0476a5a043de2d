//! What happens when the group's shares change. Runs on the worker's thread, inside a poll.
//!
//! An assignment is accepted at once, but with nothing to read: the client reads a partition only once its owner has said
//! from where. A revocation waits until the owner has let go; then the partition may be given to others.

use std::sync::Arc;

use millrace_eventlog::Partition;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::seat::Seat;
use crate::context::{error_line, log_line};
use crate::record::number;

/// Answers the rebalances of one seat.
pub(super) struct Rebalances {
    pub(super) seat: Arc<Seat>,
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        error_line(&error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<_> =
            list.elements().iter().filter_map(|one| Partition::try_from(one.partition()).ok()).collect();
        let topic = self.seat.topic;
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(%topic, ?partitions, "assigned");
            self.seat.assign(&partitions);
            report(consumer.incremental_assign(&TopicPartitionList::new()), "assignment");
            return;
        }
        let lost = consumer.assignment_lost();
        tracing::info!(%topic, ?partitions, lost, "revoked");
        if lost {
            self.seat.lose(&partitions);
        } else {
            self.seat.revoke(&partitions);
        }
        let mut read = TopicPartitionList::new();
        let mut state = self.seat.lock();
        for (one, partition) in list.elements().iter().zip(&partitions) {
            if state.reading.remove(partition) {
                read.add_partition(one.topic(), number(*partition));
            }
        }
        drop(state);
        report(consumer.incremental_unassign(&read), "revocation");
    }
}

fn report(answer: Result<(), KafkaError>, what: &str) {
    if let Err(error) = answer {
        tracing::error!(%error, what, "a rebalance could not be answered");
    }
}
