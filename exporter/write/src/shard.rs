//! What a shard's owner knows of it: how far it is published, which segments hold rows that are not, and the day's counts and
//! files. All of it can be read again from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use chrono::NaiveDate;
use millrace_eventlog::{Offset, Partition};
use millrace_schemas::export::Plan;
use millrace_schemas::layout::{AccountId, Slot, date_of, start_of};

use crate::day_files::DayFiles;
use crate::limits;
use crate::metrics;
use crate::progress::Counted;
use crate::rows::day_number;
use crate::segment::{AccountPart, Block, DayCounts, Footer};

pub(crate) struct Shard {
    pub(crate) number: u32,
    /// Every slot that ends at or before is out; 0 if nothing is.
    pub(crate) through_ms: i64,
    /// Of the day at hand.
    pub(crate) plan: Option<Plan>,
    /// Of the day at hand.
    pub(crate) files: DayFiles,
    live: BTreeMap<(Partition, Offset), Live>,
    /// By day number and account; of days that are not closed.
    counts: BTreeMap<(i32, String), DayCounts>,
    /// The highest settings version by day number.
    settings: BTreeMap<i32, u64>,
}

/// A segment with rows that are not published.
struct Live {
    blocks: Arc<[Block]>,
    accounts: BTreeMap<String, Extent>,
}

/// Where an account's rows lie in a segment, in blocks and in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) first_block: u32,
    pub(crate) last_block: u32,
}

/// An account's part of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Index in [`Work::segments`].
    pub(crate) segment: usize,
    pub(crate) extent: Extent,
}

/// What is to be published up to some instant.
#[derive(Default)]
pub(crate) struct Work {
    /// Partition, start and blocks of the segments with rows of it, in the order that decides between equal keys.
    pub(crate) segments: Vec<(Partition, Offset, Arc<[Block]>)>,
    /// By account: the window of log time, and where its rows may lie.
    pub(crate) accounts: BTreeMap<AccountId, (Range<i64>, Vec<Piece>)>,
}

impl Work {
    /// What all its rows take once they are decoded, about.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.accounts.values().flat_map(|(_, pieces)| pieces);
        let blocks = pieces.flat_map(|piece| {
            let (first, last) = (piece.extent.first_block as usize, piece.extent.last_block as usize);
            self.segments[piece.segment].2.get(first..=last).unwrap_or_default()
        });
        blocks.map(|block| block.raw_bytes as usize).sum()
    }
}

impl Shard {
    pub(crate) fn new(number: u32, through_ms: i64, plan: Option<Plan>, settings_version: u64) -> Self {
        let settings = BTreeMap::from([(day_number(through_ms), settings_version)]);
        // Within a day others may be recorded already; at its beginning there is none.
        let begins = start_of(date_of(through_ms)) == through_ms;
        let files = if begins { DayFiles::none() } else { DayFiles::Recorded };
        let (live, counts) = (BTreeMap::new(), BTreeMap::new());
        Self { number, through_ms, plan, files, live, counts, settings }
    }

    /// Takes note of a segment.
    pub(crate) fn see(&mut self, footer: &Footer, blocks: &Arc<[Block]>) {
        for (day, version) in &footer.settings {
            let known = self.settings.entry(*day).or_default();
            *known = version.max(known).to_owned();
        }
        let Some(part) = footer.shards.iter().find(|part| part.shard == self.number) else { return };
        let today = day_number(self.through_ms);
        let mut accounts = BTreeMap::new();
        for account in &part.accounts {
            if AccountId::parse(&account.account).is_none() {
                ::metrics::counter!(metrics::UNADDRESSED).increment(1);
                tracing::warn!(account = account.account, "outcomes of what is no account are not published");
                continue;
            }
            for (day, counts) in account.days.range(today..) {
                self.counts.entry((*day, account.account.clone())).or_default().add(counts);
            }
            if account.rows > 0 && account.max_ms >= self.slot_start(&account.account, self.through_ms) {
                accounts.insert(account.account.clone(), Extent::of(account));
            }
        }
        if !accounts.is_empty() {
            self.live.insert((footer.partition, footer.start), Live { blocks: Arc::clone(blocks), accounts });
        }
    }

    /// The log time of the first row that is not published.
    pub(crate) fn first_row_ms(&self) -> Option<i64> {
        let extents = self.live.values().flat_map(|live| live.accounts.values());
        extents.map(|extent| extent.min_ms.max(self.through_ms)).min()
    }

    /// What is to be published once every slot that ends at or before `to_ms` may be, within the day of `from_ms`.
    pub(crate) fn work(&self, plan: &Plan, from_ms: i64, to_ms: i64) -> Work {
        let mut work = Work::default();
        for ((partition, start), live) in &self.live {
            let mut used = false;
            for (account, extent) in &live.accounts {
                let slot_ms = plan.slot_ms(account);
                let window = Slot::of(from_ms, slot_ms).start_ms..Slot::of(to_ms, slot_ms).start_ms;
                let Some(id) = AccountId::parse(account) else { continue };
                // Within a long slot no slot of the account ends: an empty window has no rows.
                if !window.is_empty() && extent.min_ms < window.end && extent.max_ms >= window.start {
                    let piece = Piece { segment: work.segments.len(), extent: *extent };
                    work.accounts.entry(id).or_insert_with(|| (window, Vec::new())).1.push(piece);
                    used = true;
                }
            }
            if used {
                work.segments.push((*partition, *start, Arc::clone(&live.blocks)));
            }
        }
        work
    }

    /// Everything up to `through_ms` is out.
    pub(crate) fn published(&mut self, through_ms: i64) {
        self.through_ms = through_ms;
        let today = day_number(through_ms);
        if self.plan.as_ref().is_some_and(|plan| start_of(plan.date) + limits::DAY_MS <= through_ms) {
            self.plan = None;
            self.files = DayFiles::none();
        }
        self.counts = self.counts.split_off(&(today, String::new()));
        let mut live = std::mem::take(&mut self.live);
        for segment in live.values_mut() {
            segment.accounts.retain(|account, extent| extent.max_ms >= self.slot_start(account, through_ms));
        }
        live.retain(|_, segment| !segment.accounts.is_empty());
        self.live = live;
        let version = self.settings_through(date_of(through_ms));
        self.settings = self.settings.split_off(&today);
        self.settings.entry(today).or_insert(version);
    }

    /// What was counted of a day, by account.
    pub(crate) fn counts_of(&self, date: NaiveDate) -> BTreeMap<&str, &DayCounts> {
        let day = day_number(start_of(date));
        let counted = self.counts.range((day, String::new())..(day + 1, String::new()));
        counted.map(|((_, account), counts)| (account.as_str(), counts)).collect()
    }

    /// What was counted of the newest day there is something of.
    pub(crate) fn counted(&self) -> Option<Counted> {
        let (newest, _) = self.counts.keys().next_back()?;
        let date = date_of(i64::from(*newest) * limits::DAY_MS);
        let mut counted = Counted { date, accepted: 0, duplicate: 0, rejected: 0 };
        for counts in self.counts_of(date).values() {
            counted.accepted += counts.decision_events + counts.conversions;
            counted.duplicate += counts.decision_duplicates + counts.conversion_duplicates + counts.reject_duplicates;
            counted.rejected += counts.dead + counts.rejected.values().sum::<u64>();
        }
        Some(counted)
    }

    /// The highest settings version that was in force by the end of a day.
    pub(crate) fn settings_through(&self, date: NaiveDate) -> u64 {
        self.settings.range(..=day_number(start_of(date))).map(|(_, version)| *version).max().unwrap_or_default()
    }

    /// Ends, after `watermark_ms`, of slots that have rows.
    pub(crate) fn waiting(&self, watermark_ms: i64, default_slot_ms: i64) -> BTreeSet<i64> {
        let mut ends = BTreeSet::new();
        for (account, extent) in self.live.values().flat_map(|live| &live.accounts) {
            for time_ms in [extent.min_ms, extent.max_ms] {
                let planned = self.plan.as_ref().filter(|plan| plan.date == date_of(time_ms));
                let slot_ms = planned.map_or(default_slot_ms, |plan| plan.slot_ms(account));
                ends.insert(Slot::of(time_ms, slot_ms).end_ms());
            }
        }
        ends.split_off(&(watermark_ms + 1))
    }

    /// The start of the account's slot that holds `time_ms`; without a plan nothing before is known to be out.
    fn slot_start(&self, account: &str, time_ms: i64) -> i64 {
        let planned = self.plan.as_ref().filter(|plan| plan.date == date_of(time_ms));
        planned.map_or(start_of(date_of(time_ms)), |plan| Slot::of(time_ms, plan.slot_ms(account)).start_ms)
    }
}

impl Extent {
    fn of(part: &AccountPart) -> Self {
        let AccountPart { min_ms, max_ms, first_block, last_block, .. } = *part;
        Self { min_ms, max_ms, first_block, last_block }
    }
}
