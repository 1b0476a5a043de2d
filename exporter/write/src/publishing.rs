//! Publish: from segments to the slots that become visible, and the days that close.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use millrace_clock::SharedClock;
use millrace_schemas::export::{Plan, Published, RECORD_VERSION};
use millrace_schemas::layout::{self, ExportType, Slot, date_of, start_of};
use millrace_schemas::partition;
use tokio_util::sync::CancellationToken;

use crate::accounts::{Account, Accounts};
use crate::bucket::Bucket;
use crate::close::Day;
use crate::config::Config;
use crate::error::Error;
use crate::follow::Follower;
use crate::progress::Progress;
use crate::sealing::Signals;
use crate::shard::Shard;
use crate::slots::SlotPublisher;
use crate::{limits, plan, records};

const GENERATIONS: &str = "_millrace/generation/";

pub(crate) struct Publishing {
    pub(crate) bucket: Bucket,
    pub(crate) log_id: String,
    /// The partition count of the enriched topic, and so the count of shards.
    pub(crate) shard_count: u32,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) clock: SharedClock,
    pub(crate) stop: CancellationToken,
    pub(crate) config: Config,
    pub(crate) progress: Arc<Progress>,
    pub(crate) signals: Arc<Signals>,
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
                ended = self.publish(&ours), if !ours.is_empty() => ended?,
            }
        }
    }

    async fn publish(&self, ours: &BTreeSet<u32>) -> Result<(), Error> {
        let (mut shards, mut follower) = self.begin(ours).await?;
        let mut others = BTreeSet::new();
        follower.catch_up(|footer| self.see(&mut shards, &mut others, footer)).await?;
        loop {
            for shard in &mut shards {
                while self.step(shard, &mut follower).await? {}
                if shard.through_ms > 0 {
                    self.progress.published(shard.number, shard.through_ms);
                }
                if let Some(counted) = shard.counted() {
                    self.progress.counted(shard.number, counted);
                }
            }
            // A shard that never had anything to publish will begin later than the others are.
            let begun = shards.iter().map(|shard| shard.through_ms).filter(|through_ms| *through_ms > 0);
            follower.forget_before(begun.map(|ms| start_of(date_of(ms))).min().unwrap_or_default());
            self.tell_waiting(&shards, &mut others, follower.watermark_ms());
            tokio::select! {
                () = self.signals.sealed.notified() => {}
                () = self.clock.sleep(limits::FOLLOW_PAUSE) => {}
            }
            follower.poll(|footer| self.see(&mut shards, &mut others, footer)).await?;
        }
    }

    /// Reads how far our shards are, and finds where to begin to read segments.
    async fn begin(&self, ours: &BTreeSet<u32>) -> Result<(Vec<Shard>, Follower), Error> {
        let planned = self.bucket.folders(&format!("_millrace/plan/{}/", self.log_id)).await?;
        let planned: Vec<NaiveDate> = planned.iter().filter_map(|name| name.parse().ok()).collect();
        let mut from: Option<Vec<u64>> = None;
        let mut shards = Vec::new();
        for number in ours {
            let (shard, starts) = self.begin_shard(*number, &planned).await?;
            let earliest = |known: Vec<u64>| known.iter().zip(&starts).map(|(one, other)| *one.min(other)).collect();
            from = Some(from.map_or(starts.clone(), earliest));
            shards.push(shard);
        }
        let from = from.unwrap_or_default();
        Ok((shards, Follower::new(self.bucket.clone(), &self.log_id, &from)))
    }

    async fn begin_shard(&self, number: u32, planned: &[NaiveDate]) -> Result<(Shard, Vec<u64>), Error> {
        let mut newest_plan = None;
        for date in planned.iter().rev() {
            if plan::read(&self.bucket, &self.log_id, *date, number).await?.is_some() {
                newest_plan = Some(*date);
                break;
            }
        }
        let mut starts = vec![0; self.shard_count as usize];
        let Some(through_ms) = records::newest(&self.bucket, &self.log_id, number, newest_plan).await? else {
            return Ok((Shard::new(number, 0, None, 0), starts));
        };
        let record = records::read(&self.bucket, &layout::published_key(&self.log_id, number, through_ms)).await?;
        for reached in &record.segments {
            if let Some(start) = starts.get_mut(reached.partition as usize) {
                *start = reached.from;
            }
        }
        let date = date_of(through_ms);
        let plan = plan::read(&self.bucket, &self.log_id, date, number).await?;
        let mut shard = Shard::new(number, through_ms, plan, record.settings_version);
        let files = records::files_of(&self.bucket, &self.log_id, number, date).await?;
        shard.files = files.into_iter().map(|file| (file.key.clone(), file)).collect();
        Ok((shard, starts))
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

    /// Publishes up to the watermark, but never beyond a midnight. False: there is nothing to do.
    async fn step(&self, shard: &mut Shard, follower: &mut Follower) -> Result<bool, Error> {
        let watermark_ms = follower.watermark_ms();
        let Some(date) = self.day(shard, watermark_ms).await? else { return Ok(false) };
        let plan = self.plan(shard, date).await?;
        let (start_ms, end_ms) = (start_of(date), start_of(date) + limits::DAY_MS);
        let from_ms = shard.through_ms.max(start_ms);
        let closes = watermark_ms >= end_ms;
        let to_ms = if closes { end_ms } else { Slot::of(watermark_ms, plan.slot_ms_min()).start_ms };
        if to_ms <= from_ms {
            return Ok(false);
        }
        let work = shard.work(&plan, from_ms, to_ms);
        let mut files = Vec::new();
        let taken_over =
            if closes || !work.accounts.is_empty() { self.taken_over(date).await? } else { HashSet::new() };
        if !work.accounts.is_empty() {
            let publisher = SlotPublisher::new(&self.bucket, &plan, &work, &taken_over, self.config.memory_bytes / 2);
            files = publisher.publish(work).await?;
            files.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            shard.files.extend(files.iter().map(|file| (file.key.clone(), file.clone())));
        }
        if closes {
            self.close(shard, &plan, &taken_over).await?;
        }
        let record = Published {
            version: RECORD_VERSION,
            log_id: self.log_id.clone(),
            shard: shard.number,
            through_ms: to_ms,
            previous_ms: shard.through_ms,
            settings_version: shard.settings_through(date),
            segments: follower.reached(start_of(date_of(to_ms))),
            files,
        };
        let key = layout::published_key(&self.log_id, shard.number, to_ms);
        self.bucket.create(&key, Bytes::from(record.to_json())).await?;
        tracing::debug!(shard = shard.number, through_ms = to_ms, files = record.files.len(), "published");
        shard.published(to_ms);
        Ok(true)
    }

    /// The day at hand: that of the next slot, or the next day on which there is an account or a row.
    async fn day(&self, shard: &Shard, watermark_ms: i64) -> Result<Option<NaiveDate>, Error> {
        if watermark_ms <= shard.through_ms {
            return Ok(None);
        }
        if shard.through_ms % limits::DAY_MS != 0 {
            return Ok(Some(date_of(shard.through_ms)));
        }
        let exists = |account: &Account| account.closed_ms.is_none_or(|closed_ms| closed_ms >= shard.through_ms);
        let accounts = self.accounts_of(shard.number).await?;
        let begins = accounts.iter().filter(|account| exists(account)).map(|account| account.created_ms);
        let first_ms = begins.chain(shard.first_row_ms()).map(|ms| ms.max(shard.through_ms)).min();
        Ok(first_ms.map(date_of).filter(|date| start_of(*date) < watermark_ms))
    }

    async fn plan(&self, shard: &mut Shard, date: NaiveDate) -> Result<Plan, Error> {
        if let Some(plan) = shard.plan.as_ref().filter(|plan| plan.date == date) {
            return Ok(plan.clone());
        }
        let plan = match plan::read(&self.bucket, &self.log_id, date, shard.number).await? {
            Some(plan) => plan,
            None => self.make_plan(shard.number, date).await?,
        };
        shard.plan = Some(plan.clone());
        Ok(plan)
    }

    async fn make_plan(&self, shard: u32, date: NaiveDate) -> Result<Plan, Error> {
        let accounts = self.accounts_of(shard).await?;
        let two_days_before = date.checked_sub_days(chrono::Days::new(2)).unwrap_or(date);
        let files = match self.config.slot {
            Some(_) => Vec::new(),
            None => records::files_of(&self.bucket, &self.log_id, shard, two_days_before).await?,
        };
        let (config, log_id) = (&self.config, self.log_id.as_str());
        let made = plan::make(&plan::Basis { config, log_id, shard, date, accounts: &accounts, files: &files });
        plan::fix(&self.bucket, &made).await
    }

    async fn close(&self, shard: &Shard, plan: &Plan, taken_over: &HashSet<(String, ExportType)>) -> Result<(), Error> {
        // The watermark has passed the day's end: whoever was created on the day is known by now.
        let accounts = self.accounts_of(shard.number).await?;
        let day = Day {
            date: plan.date,
            log_id: &self.log_id,
            generation: plan.generation,
            settings_version: shard.settings_through(plan.date),
            accounts: &accounts,
            counts: shard.counts_of(plan.date),
            files: &shard.files,
            taken_over,
        };
        day.close(&self.bucket).await?;
        tracing::info!(shard = shard.number, date = %plan.date, "closed the day");
        Ok(())
    }

    async fn accounts_of(&self, shard: u32) -> Result<Vec<Account>, Error> {
        let mut accounts = self.accounts.all().await.map_err(Error::Accounts)?;
        accounts.retain(|account| partition::of_account(&account.id, self.shard_count) == shard);
        Ok(accounts)
    }

    /// The accounts and types whose day belongs to a rebuild: publishing never touches it.
    async fn taken_over(&self, date: NaiveDate) -> Result<HashSet<(String, ExportType)>, Error> {
        let keys = self.bucket.list(GENERATIONS, None).await?;
        let date = date.to_string();
        let parse = |key: &String| {
            let mut parts = key.strip_prefix(GENERATIONS)?.split('/');
            let (account, of_type, day) = (parts.next()?, parts.next()?, parts.next()?);
            (day == date).then(|| Some((account.to_owned(), ExportType::parse(of_type)?)))?
        };
        Ok(keys.iter().filter_map(parse).collect())
    }
}
