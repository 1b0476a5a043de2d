//! One partition this process owns: its committed state, and the open transaction over it.

use std::time::Duration;

use millrace_eventlog::{Committed, NewRecord, Offset, Partition, Record, Topic, Transaction};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, Watermark, enriched_record};
use millrace_schemas::topics;

use crate::contradiction::Contradiction;
use crate::limits::TRANSACTION_BYTES_MAX;
use crate::progress::PartitionProgress;
use crate::recover::settings_first;
use crate::step::{Body, Changes, Counts, Head, Input, Newer, Outcomes, Overlay, State, Swept, fold, release};

const ENRICHED: Topic = Topic(topics::ENRICHED);

/// A partition with its state.
pub(crate) struct Owned {
    pub(crate) partition: Partition,
    state: State,
    open: Option<Open>,
    /// Elapsed time of the clock when it last delivered a record, or was ticked.
    pub(crate) last_heard: Duration,
    /// Everything in it has been delivered.
    pub(crate) at_end: bool,
    /// It holds a record of a later release: nothing more is folded.
    pub(crate) stopped: bool,
}

struct Open {
    overlay: Overlay,
    outcomes: Outcomes,
    records: u64,
    bytes: usize,
    only_ticks: bool,
}

/// Whether a record was taken.
pub(crate) enum Taken {
    /// It is in the open transaction.
    Folded,
    /// The transaction is full: commit it and give the same record again.
    Full,
}

/// Why a record was not taken.
pub(crate) enum Refused {
    /// It was written by a later release.
    Newer(Newer),
    /// It cannot be where it is.
    Wrong(Contradiction),
    /// The state it meets cannot be read.
    Unreadable(String),
}

/// What a committed transaction means for the store and the metrics.
pub(crate) struct Applied {
    pub(crate) changes: Changes,
    pub(crate) swept: Swept,
    pub(crate) counts: Counts,
    pub(crate) records: u64,
    pub(crate) outcomes: u64,
}

impl Owned {
    pub(crate) fn new(partition: Partition, state: State, last_heard: Duration) -> Self {
        Self { partition, state, open: None, last_heard, at_end: false, stopped: false }
    }

    /// The position the committed state is folded to.
    pub(crate) fn folded(&self) -> Offset {
        self.state.head().folded
    }

    pub(crate) fn head(&self) -> &Head {
        self.state.head()
    }

    /// Whether the passing of time is of interest: not before the settings, which come first, nor once it has stopped.
    pub(crate) fn is_ticked(&self) -> bool {
        !self.stopped && self.head().settings.version > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The larger of what the open transaction has read and what it will write, in bytes.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes.max(open.outcomes.bytes()))
    }

    /// Nothing waits to be seen by anybody: no outcome, no record but ticks.
    pub(crate) fn only_ticks(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.only_ticks && open.outcomes.is_empty())
    }

    /// Takes a record into the open transaction.
    pub(crate) fn take(&mut self, record: &Record, log_id: &str) -> Result<Taken, Refused> {
        let input = Input::read(record).map_err(Refused::Newer)?;
        let open = self.open.get_or_insert_with(|| Open {
            overlay: Overlay::on(&self.state),
            outcomes: Outcomes::default(),
            records: 0,
            bytes: 0,
            only_ticks: true,
        });
        settings_first(log_id, self.partition, open.overlay.head(), &input).map_err(Refused::Wrong)?;
        let is_released = release(&self.state, &mut open.overlay, &input, &mut open.outcomes, TRANSACTION_BYTES_MAX);
        open.overlay.is_whole().map_err(Refused::Unreadable)?;
        if !is_released {
            return Ok(Taken::Full);
        }
        open.records += 1;
        open.bytes += record.value.len();
        open.only_ticks &= matches!(input.body, Body::Tick);
        fold(&self.state, &mut open.overlay, input, &mut open.outcomes, Offset::MIN);
        open.overlay.is_whole().map_err(Refused::Unreadable)?;
        Ok(Taken::Folded)
    }

    /// Everything before `next` has been taken.
    pub(crate) fn taken_to(&mut self, next: Offset) {
        if let Some(open) = &mut self.open {
            open.overlay.folded_to(next);
        }
    }

    /// Adds the open transaction's outcomes, its watermark record and its position.
    pub(crate) fn add_to(&self, transaction: &mut Transaction) {
        let Some(open) = &self.open else { return };
        let partition = self.partition;
        let outcomes = open.outcomes.records().iter().map(|emitted| NewRecord {
            partition,
            version: EnrichedRecord::VERSION,
            key: emitted.key.clone(),
            value: emitted.value.clone(),
        });
        transaction.outputs.extend(outcomes.map(|record| (ENRICHED, record)));
        let head = open.overlay.head();
        let watermark = Watermark {
            log_time_ms: head.log_time_ms,
            watermark_ms: open.overlay.watermark_ms(&self.state),
            folded: head.folded,
            released: open.overlay.released(&self.state),
            settings_version: head.settings.version,
            settings: Some(head.settings),
        };
        let metadata = format!("released={}", watermark.released);
        transaction.inputs.push((partition, Committed { next: watermark.folded, metadata }));
        let value = EnrichedRecord { body: Some(enriched_record::Body::Watermark(watermark)) }.to_bytes();
        let record = NewRecord { partition, version: EnrichedRecord::VERSION, key: bytes::Bytes::new(), value };
        transaction.outputs.push((ENRICHED, record));
    }

    /// The open transaction was committed: its changes are the state's now.
    pub(crate) fn apply(&mut self) -> Option<Applied> {
        let open = self.open.take()?;
        let changes = Changes::of(&self.state, &open.overlay);
        let counts = open.overlay.counts();
        let swept = self.state.apply(open.overlay);
        Some(Applied { changes, swept, counts, records: open.records, outcomes: open.outcomes.len() as u64 })
    }

    /// The open transaction was aborted: it leaves no trace.
    pub(crate) fn discard(&mut self) {
        self.open = None;
        self.at_end = false;
    }

    pub(crate) fn progress(&self) -> PartitionProgress {
        PartitionProgress {
            log_time_ms: self.state.head().log_time_ms,
            watermark_ms: self.state.watermark_ms(),
            folded: self.state.head().folded,
            released: self.state.released(),
            held: self.state.held(),
            settings_version: self.state.head().settings.version,
        }
    }

    /// Seen events and visitors in memory.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        self.state.sizes()
    }
}
