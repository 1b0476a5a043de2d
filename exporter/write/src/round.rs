//! One round of publishing: every shard of ours up to the watermark of the moment.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use chrono::NaiveDate;
use millrace_schemas::export::{Plan, Published, PublishedFile, RECORD_VERSION};
use millrace_schemas::layout::{self, ExportType, GenerationKey, Slot, date_of, start_of};
use millrace_schemas::partition;
use tokio::sync::{OnceCell, SemaphorePermit};

use crate::accounts::Account;
use crate::bucket::Bucket;
use crate::close::Day;
use crate::day_files::{self, DayFiles};
use crate::error::Error;
use crate::follow::Follower;
use crate::plan::Exported;
use crate::publishing::Publishing;
use crate::shard::{Shard, Work};
use crate::slots::SlotPublisher;
use crate::{limits, plan, records, succession};

pub(crate) struct Round<'a> {
    of: &'a Publishing,
    bucket: &'a Bucket,
    log_id: &'a str,
    follower: &'a Follower,
    watermark_ms: i64,
    /// By shard. Asked for once a round, and not before the watermark is known.
    accounts: OnceCell<HashMap<u32, Vec<Account>>>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(of: &'a Publishing, follower: &'a Follower) -> Self {
        let (bucket, log_id, watermark_ms) = (&of.bucket, of.log_id.as_str(), follower.watermark_ms());
        Self { of, bucket, log_id, follower, watermark_ms, accounts: OnceCell::new() }
    }

    /// Publishes all of a shard that may be out.
    pub(crate) async fn publish(&self, shard: &mut Shard) -> Result<(), Error> {
        if shard.through_ms > 0 {
            self.of.progress.published(shard.number, shard.through_ms);
        }
        while self.step(shard).await? {}
        if let Some(counted) = shard.counted() {
            self.of.progress.counted(shard.number, counted);
        }
        Ok(())
    }

    /// Publishes up to the watermark, but never beyond a midnight. False: there is nothing to do.
    async fn step(&self, shard: &mut Shard) -> Result<bool, Error> {
        let Some(date) = self.day(shard, self.watermark_ms).await? else { return self.pass_by(shard).await };
        let plan = self.plan(shard, date).await?;
        let (start_ms, end_ms) = (start_of(date), start_of(date) + limits::DAY_MS);
        let from_ms = shard.through_ms.max(start_ms);
        let closes = self.watermark_ms >= end_ms;
        let to_ms = if closes { end_ms } else { Slot::of(self.watermark_ms, plan.slot_ms_min()).start_ms };
        if to_ms <= from_ms {
            return Ok(false);
        }
        let work = shard.work(&plan, from_ms, to_ms);
        let mut files = Vec::new();
        let taken_over =
            if closes || !work.accounts.is_empty() { self.taken_over(date).await? } else { HashSet::new() };
        if !work.accounts.is_empty() {
            let (_room, memory_bytes) = self.room_for(&work).await?;
            let publisher = SlotPublisher::new(self.bucket, &plan, &work, &taken_over, memory_bytes);
            files = publisher.publish(work).await?;
            files.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            shard.files.add(&files, self.of.files_bytes);
        }
        if closes {
            self.close(shard, &plan, &taken_over, &files).await?;
        }
        self.record(shard, date, to_ms, files).await?;
        Ok(true)
    }

    /// Days without an account and without a row are out once they are over. What other shards keep for this one (segments, old
    /// days) could never go otherwise.
    async fn pass_by(&self, shard: &mut Shard) -> Result<bool, Error> {
        let midnight_ms = start_of(date_of(self.watermark_ms));
        // A shard that never had an account keeps nothing.
        if shard.through_ms == 0 || midnight_ms <= shard.through_ms {
            return Ok(false);
        }
        self.record(shard, date_of(midnight_ms - 1), midnight_ms, Vec::new()).await?;
        Ok(true)
    }

    /// Says that a shard is out up to `to_ms`, within or at the end of `date`.
    async fn record(
        &self,
        shard: &mut Shard,
        date: NaiveDate,
        to_ms: i64,
        files: Vec<PublishedFile>,
    ) -> Result<(), Error> {
        let record = Published {
            version: RECORD_VERSION,
            log_id: self.log_id.to_owned(),
            shard: shard.number,
            through_ms: to_ms,
            previous_ms: shard.through_ms,
            settings_version: shard.settings_through(date),
            segments: self.follower.reached(start_of(date_of(to_ms))),
            files,
        };
        let key = layout::published_key(self.log_id, shard.number, to_ms);
        self.bucket.create(&key, Bytes::from(record.to_json())).await?;
        tracing::debug!(shard = shard.number, through_ms = to_ms, files = record.files.len(), "published");
        shard.published(to_ms);
        self.of.progress.published(shard.number, to_ms);
        Ok(())
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
        let plan = match plan::read(self.bucket, self.log_id, date, shard.number).await? {
            Some(plan) => plan,
            None => self.make_plan(shard.number, date).await?,
        };
        shard.plan = Some(plan.clone());
        Ok(plan)
    }

    async fn make_plan(&self, shard: u32, date: NaiveDate) -> Result<Plan, Error> {
        let accounts = self.accounts_of(shard).await?;
        let two_days_before = date.checked_sub_days(chrono::Days::new(2)).unwrap_or(date);
        let mut exported = Exported::default();
        if self.of.config.slot.is_none() {
            let count = |file: PublishedFile| exported.add(&file);
            records::each_file_of(self.bucket, self.log_id, shard, two_days_before, count).await?;
        }
        succession::still_ours(self.bucket, self.log_id).await?;
        let (config, log_id, generation) = (&self.of.config, self.log_id, self.of.first.generation);
        let basis = plan::Basis { config, log_id, shard, date, accounts: &accounts, exported: &exported, generation };
        let made = plan::make(&basis);
        plan::fix(self.bucket, &made).await
    }

    async fn close(
        &self,
        shard: &Shard,
        plan: &Plan,
        taken_over: &HashSet<(String, ExportType)>,
        latest: &[PublishedFile],
    ) -> Result<(), Error> {
        // The watermark has passed the day's end: whoever was created on the day is known by now.
        let accounts = self.accounts_of(shard.number).await?;
        let day = Day {
            date: plan.date,
            log_id: self.log_id,
            generation: plan.generation,
            settings_version: shard.settings_through(plan.date),
            accounts: &accounts,
            counts: shard.counts_of(plan.date),
            taken_over,
        };
        match &shard.files {
            DayFiles::Held { files, .. } => day.close(self.bucket, "", None, files).await?,
            DayFiles::Recorded => {
                let of = (self.log_id, shard.number, plan.date);
                let mut from = Some(String::new());
                while let Some(account) = from {
                    let part = day_files::part(self.bucket, of, &account, latest, self.of.files_bytes).await?;
                    day.close(self.bucket, &account, part.end.as_deref(), &part.files).await?;
                    from = part.end;
                }
            }
        }
        tracing::info!(shard = shard.number, date = %plan.date, "closed the day");
        Ok(())
    }

    /// The accounts of a shard, folded after this round's watermark was known.
    async fn accounts_of(&self, shard: u32) -> Result<Vec<Account>, Error> {
        let fold = || async {
            let accounts = self.of.health.ask_log(|| self.of.accounts.all(), Error::Accounts).await?;
            let mut by_shard: HashMap<u32, Vec<Account>> = HashMap::new();
            for account in accounts {
                by_shard.entry(partition::of_account(&account.id, self.of.shard_count)).or_default().push(account);
            }
            Ok::<_, Error>(by_shard)
        };
        let by_shard = self.accounts.get_or_try_init(fold).await?;
        Ok(by_shard.get(&shard).cloned().unwrap_or_default())
    }

    /// Waits for a part of the memory for publishing: a large piece of work takes all of it, small ones share.
    async fn room_for(&self, work: &Work) -> Result<(SemaphorePermit<'_>, usize), Error> {
        let share = self.of.config.memory_bytes / 2 / limits::SHARDS_AT_ONCE;
        let shares = work.bytes().div_ceil(share.max(1)).clamp(1, limits::SHARDS_AT_ONCE);
        let permit = self.of.room.acquire_many(u32::try_from(shares).unwrap_or(1)).await;
        Ok((permit.map_err(|_| Error::Stopped)?, share * shares))
    }

    /// The accounts and types whose day belongs to a rebuild: publishing never touches it.
    async fn taken_over(&self, date: NaiveDate) -> Result<HashSet<(String, ExportType)>, Error> {
        let keys = self.bucket.list(layout::GENERATIONS, None).await?;
        let parse = |key: &String| {
            let rebuilt = GenerationKey::parse(key).filter(|rebuilt| rebuilt.date == date)?;
            Some((rebuilt.account.to_owned(), ExportType::parse(rebuilt.of_type)?))
        };
        Ok(keys.iter().filter_map(parse).collect())
    }
}
