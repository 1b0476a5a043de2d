//! Tells the owner of newly assigned partitions, once their committed positions are known.
//!
//! On a thread of its own: a position in a transaction that is not decided is answered only when it is, and nothing that flows
//! may wait for that. Nor may the other newcomers: what is not answered together is asked for one by one.

use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use millrace_eventlog::Committed;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use super::seat::Client;
use super::state::Newcomer;
use super::worker::Worker;
use crate::limits::{POSITIONS_AT_ONCE, QUESTION_TIMEOUT, RETRY_PAUSE};
use crate::record::{number, offset};

/// Announces what one client is assigned.
pub(super) struct Announcer<'a> {
    worker: &'a Worker,
    client: &'a Client,
    over: AtomicBool,
}

impl<'a> Announcer<'a> {
    pub(super) fn new(worker: &'a Worker, client: &'a Client) -> Self {
        Self { worker, client, over: AtomicBool::new(false) }
    }

    /// The client's life is over.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.worker.seat.assigned.notify_one();
    }

    /// Works until then.
    pub(super) fn run(&self) {
        let Worker { shared, seat, group, name, .. } = self.worker;
        let trouble = format!("positions of {}", self.worker.trouble());
        let (mut unanswered_since, mut ended) = (None, None);
        while !self.is_over() {
            let newcomers = seat.newcomers(RETRY_PAUSE);
            if newcomers.is_empty() {
                unanswered_since = None;
                shared.troubles.end(&trouble);
                continue;
            }
            if unanswered_since.is_none() && self.ask(&newcomers) {
                continue;
            }
            self.ask_each(&newcomers);
            let newcomers = seat.newcomers(Duration::ZERO);
            let waiting: Vec<_> = newcomers.iter().map(|one| one.partition).collect();
            if waiting.is_empty() {
                continue;
            }
            let since = *unanswered_since.get_or_insert_with(|| {
                tracing::warn!(group, ?waiting, "the group's positions are not known yet: is a transaction undecided?");
                Instant::now()
            });
            // By then a transaction is decided.
            let patience = shared.options.transaction_timeout;
            if since.elapsed() >= patience {
                shared.troubles.begin(&trouble, format!("those in {name}/{waiting:?} cannot be read"));
                if ended.is_none_or(|ended: Instant| ended.elapsed() >= patience) {
                    ended = Some(Instant::now());
                    self.worker.pending.end(self.client, name, &newcomers);
                }
            }
            self.worker.wait(RETRY_PAUSE);
        }
        shared.troubles.end(&trouble);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.worker.seat.is_over()
    }

    /// Asks for each position alone, for several at a time.
    fn ask_each(&self, newcomers: &[Newcomer]) {
        for some in newcomers.chunks(POSITIONS_AT_ONCE).take_while(|_| !self.is_over()) {
            thread::scope(|scope| {
                for one in some {
                    // One that cannot be asked for now is asked for the next time.
                    let _ = thread::Builder::new().spawn_scoped(scope, move || self.ask(slice::from_ref(one)));
                }
            });
        }
    }

    /// Asks for positions together, and announces what is answered. False: not all of them were.
    fn ask(&self, newcomers: &[Newcomer]) -> bool {
        let Worker { seat, group, name, .. } = self.worker;
        let mut list = TopicPartitionList::with_capacity(newcomers.len());
        for newcomer in newcomers {
            list.add_partition(name, number(newcomer.partition));
        }
        let answers = match self.client.committed_offsets(list, QUESTION_TIMEOUT) {
            Ok(answers) => answers,
            Err(error) => {
                tracing::debug!(%error, group, "the group's positions were not answered");
                return false;
            }
        };
        let mut all = true;
        for newcomer in newcomers {
            let partition = newcomer.partition;
            let Some(answer) = answers.find_partition(name, number(partition)) else {
                all = false;
                continue;
            };
            if let Err(error) = answer.error() {
                tracing::warn!(%error, group, partition, "the group's position cannot be read, trying again");
                all = false;
                continue;
            }
            let committed = match answer.offset() {
                rdkafka::Offset::Offset(next) => {
                    Some(Committed { next: offset(next), metadata: answer.metadata().to_owned() })
                }
                _ => None,
            };
            seat.announce(*newcomer, committed);
        }
        all
    }
}
