//! Freeing what state has forgotten: not entry by entry, but whenever the store rewrites the table it is in.
//!
//! What is freed cannot be read again, not even by a state that is folded anew from an earlier position. So the store frees
//! only what is forgotten as of a position that is safe on disk.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use fjall::{PersistMode, Slice};
use millrace_eventlog::Partition;

use super::{EVENTS, Store, StoreError, VISITORS, hour_in};
use crate::step::{HOUR_MS, Head, Unreadable, hour_key, stored_visitor};

/// For each partition the numbers of a state that is safe on disk: they rise with log time, and may be behind; then less is freed.
#[derive(Debug, Default)]
pub(super) struct Forgotten(RwLock<BTreeMap<Partition, Head>>);

impl Forgotten {
    /// The partition is folded anew, from an earlier position: nothing of it is forgotten for now.
    pub(super) fn nothing_of(&self, partition: Partition) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    fn is_behind(&self, partition: Partition, head: &Head) -> bool {
        let heads = self.0.read().unwrap_or_else(PoisonError::into_inner);
        heads.get(&partition).is_none_or(|before| head.log_time_ms.saturating_sub(before.log_time_ms) >= HOUR_MS)
    }
}

impl Store {
    /// Lets what a stored state has forgotten be freed; once an hour of log time, as the state has to be safe on disk first.
    pub(super) fn forget(&self, partition: Partition, head: &Head) -> Result<(), StoreError> {
        if self.forgotten.is_behind(partition, head) {
            self.db.persist(PersistMode::SyncAll)?;
            self.forgotten.0.write().unwrap_or_else(PoisonError::into_inner).insert(partition, *head);
        }
        Ok(())
    }
}

/// Gives a keyspace, by its name, what filters its compactions.
type Filtering = dyn Fn(&str) -> Option<Arc<dyn Factory>> + Send + Sync;

/// What frees the entries that do not count.
pub(super) fn filters(forgotten: &Arc<Forgotten>) -> Arc<Filtering> {
    let forgotten = Arc::clone(forgotten);
    Arc::new(move |keyspace| {
        let counts = match keyspace {
            EVENTS => event_counts,
            VISITORS => visitor_counts,
            _ => return None,
        };
        Some(Arc::new(Filters { forgotten: Arc::clone(&forgotten), counts }) as Arc<dyn Factory>)
    })
}

/// Whether a stored value still says something to a state with these numbers, or to any later one. A value that does not decode is kept, to be found.
type Counts = fn(&Slice, &Head) -> bool;

fn event_counts(value: &Slice, head: &Head) -> bool {
    hour_in(value).is_none_or(|hour| hour >= hour_key(head.floors.seen_hour))
}

fn visitor_counts(value: &Slice, head: &Head) -> bool {
    is_remembered(value, head).unwrap_or(true)
}

/// Whether a state with these numbers remembers anything of a stored visitor.
pub(super) fn is_remembered(visitor: &[u8], head: &Head) -> Result<bool, Unreadable> {
    let mut visitor = stored_visitor(visitor, &mut Arc::new)?;
    visitor.forget(&head.floors);
    Ok(!visitor.is_blank(head.log_time_ms))
}

struct Filters {
    forgotten: Arc<Forgotten>,
    counts: Counts,
}

impl Factory for Filters {
    fn name(&self) -> &str {
        "forgotten"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let heads = self.forgotten.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::new(Filter { heads, counts: self.counts })
    }
}

struct Filter {
    heads: BTreeMap<Partition, Head>,
    counts: Counts,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let partition = item.key().first_chunk().map_or(Partition::MAX, |prefix| Partition::from_be_bytes(*prefix));
        let Some(head) = self.heads.get(&partition) else { return Ok(Verdict::Keep) };
        // An older value of the same key, which may come to light again, says even less.
        Ok(if (self.counts)(&item.value()?, head) { Verdict::Keep } else { Verdict::Destroy })
    }
}
