//! Publish: from segments to the slots that become visible, and the days that close.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{TryStreamExt, stream};
use millrace_clock::SharedClock;
use millrace_schemas::layout::{Slot, date_of, start_of};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::bucket::Bucket;
use crate::config::Config;
use crate::error::Error;
use crate::health::Health;
use crate::limits;
use crate::progress::Progress;
use crate::resume;
use crate::round::Round;
use crate::sealing::Signals;
use crate::shard::Shard;
use crate::succession::First;

pub(crate) struct Publishing {
    pub(crate) bucket: Bucket,
    pub(crate) log_id: String,
    /// The partition count of the enriched topic, and so the count of shards.
    pub(crate) shard_count: u32,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) clock: SharedClock,
    pub(crate) stop: CancellationToken,
    pub(crate) config: Config,
    pub(crate) health: Health,
    pub(crate) progress: Arc<Progress>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) first: First,
    /// What the list of one shard's files of the day may take in memory.
    pub(crate) files_bytes: usize,
    /// Shares of the memory for publishing.
    pub(crate) room: Semaphore,
}

impl Publishing {
    /// Runs until stopped. Whenever the shards that are ours change, it begins again from what the store says.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut assigned = self.signals.assigned.subscribe();
        loop {
            let ours = assigned.borrow_and_update().clone();
            tokio::select! {
                () = self.stop.cancelled() => return Err(Error::Stopped),
                _ = assigned.changed() => {}
                ended = self.settled(&ours), if !ours.is_empty() => ended?,
            }
        }
    }

    /// A rebalance is many changes: begins once they are over.
    async fn settled(&self, ours: &BTreeSet<u32>) -> Result<(), Error> {
        self.clock.sleep(limits::REBALANCE_SETTLES).await;
        self.publish(ours).await
    }

    async fn publish(&self, ours: &BTreeSet<u32>) -> Result<(), Error> {
        let mut wait = self.health.wait();
        let (mut shards, mut follower, mut others) = loop {
            let (mut shards, mut follower) = resume::begin(self, ours).await?;
            let mut others = BTreeSet::new();
            if follower.catch_up(|footer| self.see(&mut shards, &mut others, footer)).await? {
                break (shards, follower, others);
            }
            wait.again("segments went while they were read").await?;
        };
        drop(wait);
        loop {
            let round = Round::new(self, &follower);
            let published = stream::iter(shards.iter_mut().map(Ok));
            published.try_for_each_concurrent(limits::SHARDS_AT_ONCE, |shard| round.publish(shard)).await?;
            // A shard that never had anything to publish will begin later than the others are.
            let begun = shards.iter().map(|shard| shard.through_ms).filter(|through_ms| *through_ms > 0);
            follower.forget_before(begun.map(|ms| start_of(date_of(ms))).min().unwrap_or_default());
            follower.tell_lag(self.clock.now_ms());
            self.signals.watermark.send_replace(follower.watermark_ms());
            self.tell_waiting(&shards, &mut others, follower.watermark_ms());
            tokio::select! {
                () = self.signals.sealed.notified() => {}
                () = self.clock.sleep(limits::FOLLOW_PAUSE) => {}
            }
            follower.poll(|footer| self.see(&mut shards, &mut others, footer)).await?;
        }
    }

    fn see(&self, shards: &mut [Shard], others: &mut BTreeSet<i64>, footer: &crate::segment::Footer) {
        let blocks = footer.blocks.clone().into();
        for shard in shards.iter_mut() {
            shard.see(footer, &blocks);
        }
        // Rows of shards that are not ours wait for our watermarks too; their plans are not ours to read.
        for part in footer.shards.iter().filter(|part| part.max_ms > 0) {
            if !shards.iter().any(|shard| shard.number == part.shard) {
                others.extend([part.min_ms, part.max_ms].map(|ms| Slot::of(ms, self.default_slot_ms()).end_ms()));
            }
        }
    }

    fn tell_waiting(&self, shards: &[Shard], others: &mut BTreeSet<i64>, watermark_ms: i64) {
        *others = others.split_off(&(watermark_ms + 1));
        let mut waiting = others.clone();
        for shard in shards {
            waiting.append(&mut shard.waiting(watermark_ms, self.default_slot_ms()));
        }
        self.signals.waiting.send_if_modified(|told| {
            let changed = *told != waiting;
            *told = waiting;
            changed
        });
    }

    fn default_slot_ms(&self) -> i64 {
        self.config.slot_ms().unwrap_or(limits::SLOT_UNKNOWN_MS)
    }
}
