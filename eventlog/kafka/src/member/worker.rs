//! The thread of a member: one Kafka consumer after the other, each until it must be made anew.

use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::Partition;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::time::Instant;

use super::life::Life;
use super::pending::Pending;
use super::rebalance::Rebalances;
use super::seat::{Client, Restart, Seat};
use crate::limits::{FENCED_PAUSE, FENCED_PAUSE_MAX, LEAVING, POLL, RETRY_PAUSE};
use crate::{Shared, config, metrics};

/// What a member's thread works with.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Arc<Seat>,
    pub(super) group: String,
    pub(super) instance: String,
    pub(super) name: Arc<str>,
    pub(super) pending: Pending,
}

/// Why a consumer's life ended.
pub(super) enum Ended {
    /// The member has left.
    Left,
    /// On request.
    Restart(Restart),
    /// By an error it does not recover from.
    Failed(KafkaError),
    /// Another member with the same name has joined.
    Fenced,
    /// Its position stood still while the partition grew.
    Stalled(Partition),
    /// The group has partitions that are nobody's: it shares them out when a member comes or goes.
    Uncovered,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        seat: Arc<Seat>,
        group: String,
        instance: String,
        name: Arc<str>,
        pending: Pending,
    ) -> Self {
        Self { shared, seat, group, instance, name, pending }
    }

    /// Works until the member leaves.
    pub(super) fn run(self) {
        let trouble = self.trouble();
        let mut pause = FENCED_PAUSE;
        loop {
            let began = Instant::now();
            let ended = match self.connect() {
                Ok(client) => Life::new(&self, client).live(),
                Err(error) => Ended::Failed(error),
            };
            let partitions: Vec<_> = self.seat.lock().slots.keys().copied().collect();
            let reason = match ended {
                Ended::Left => break,
                Ended::Restart(Restart::InGoodOrder(reason)) => {
                    self.seat.revoke(&partitions);
                    reason
                }
                Ended::Stalled(partition) => {
                    self.shared
                        .troubles
                        .begin(&trouble, format!("{}/{partition} stood still, joining anew", self.name));
                    self.seat.revoke(&partitions);
                    "stalled"
                }
                Ended::Uncovered => {
                    self.seat.revoke(&partitions);
                    self.leave_group();
                    "uncovered"
                }
                Ended::Restart(Restart::Lost(reason)) => {
                    self.seat.lose(&partitions);
                    reason
                }
                Ended::Fenced => {
                    self.seat.lose(&partitions);
                    let reason = format!("another process has the name {}: names must differ", self.instance);
                    self.shared.troubles.begin(&trouble, reason);
                    "fenced"
                }
                Ended::Failed(error) => {
                    self.seat.lose(&partitions);
                    self.shared.troubles.begin(&trouble, error.to_string());
                    "failed"
                }
            };
            tracing::warn!(group = self.group, reason, "a member's consumer is made anew");
            ::metrics::counter!(metrics::CONSUMERS_RESTARTED, "reason" => reason).increment(1);
            // Two with one name must not take it from each other as fast as they can.
            pause = if began.elapsed() > FENCED_PAUSE_MAX { FENCED_PAUSE } else { pause };
            self.leave_client();
            if self.seat.is_over() {
                break;
            }
            if matches!(reason, "fenced" | "failed") {
                self.wait(pause);
                pause = (pause * 2).min(FENCED_PAUSE_MAX);
            }
        }
        self.leave_client();
        self.shared.troubles.end(&trouble);
    }

    /// The name of its trouble.
    pub(super) fn trouble(&self) -> String {
        format!("member {} of {}", self.instance, self.group)
    }

    pub(super) fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.seat.is_over() {
            self.seat.pause_worker(RETRY_PAUSE);
        }
    }

    fn connect(&self) -> KafkaResult<Arc<Client>> {
        let config = config::member(&self.shared.options, &self.group, &self.instance);
        let client: Arc<Client> = Arc::new(config.create_with_context(Rebalances { seat: Arc::clone(&self.seat) })?);
        client.subscribe(&[&self.name])?;
        self.seat.set_client(Some(Arc::clone(&client)));
        Ok(client)
    }

    /// Leaves the group, which a static member does not do by closing. Nothing is assigned to it any more that anybody reads.
    fn leave_group(&self) {
        let Some(client) = self.seat.lock().client.clone() else { return };
        client.unsubscribe();
        let until = Instant::now() + LEAVING;
        while Instant::now() < until && !self.seat.is_over() {
            // What comes is nobody's; rebalances are answered.
            let _ = client.poll(POLL);
        }
    }

    /// Lets go of the consumer. A static member does not leave its group by that: it may be back soon.
    fn leave_client(&self) {
        self.seat.set_client(None);
    }
}
