//! Names of the processor's metrics. All carry `partition` unless said.

use crate::owned::{Applied, Owned};

/// Gauge: wall clock minus watermark, in seconds. The alarm of the whole pipeline. Below zero where log time is ahead of the clock.
pub(crate) const WATERMARK_LAG: &str = "millrace_watermark_lag_seconds";
/// Gauge: conversions that wait for their decisions.
pub(crate) const HELD: &str = "millrace_processor_held";
/// Gauge: visitors in memory.
pub(crate) const VISITORS: &str = "millrace_processor_visitors";
/// Gauge: seen events in memory.
pub(crate) const SEEN: &str = "millrace_processor_seen_events";
/// Counter: raw records folded.
pub(crate) const FOLDED: &str = "millrace_processor_folded_total";
/// Counter: outcomes committed.
pub(crate) const OUTCOMES: &str = "millrace_processor_outcomes_total";
/// Counter: events and rejects seen before.
pub(crate) const DUPLICATES: &str = "millrace_processor_duplicates_total";
/// Counter: events beyond their visitor's rate.
pub(crate) const OVER_RATE: &str = "millrace_processor_over_rate_total";
/// Counter: records that did not decode.
pub(crate) const DEAD: &str = "millrace_processor_dead_letters_total";
/// Counter: assignments dropped because their visitor had too many.
pub(crate) const ASSIGNMENTS_DROPPED: &str = "millrace_processor_assignments_dropped_total";
/// Counter, no labels: transactions that were aborted or fenced.
pub(crate) const ABORTED: &str = "millrace_processor_transactions_aborted_total";
/// Counter, no labels: ticks the log did not take.
pub(crate) const TICKS_FAILED: &str = "millrace_processor_ticks_failed_total";
/// Counter, no labels: snapshots in the object store.
pub(crate) const SNAPSHOTS: &str = "millrace_processor_snapshots_total";
/// Counter, no labels: snapshots that could not be taken, to be tried again.
pub(crate) const SNAPSHOTS_FAILED: &str = "millrace_processor_snapshots_failed_total";
/// Counter, no labels: snapshots that were of no use when they were needed.
pub(crate) const SNAPSHOTS_SKIPPED: &str = "millrace_processor_snapshots_skipped_total";
/// Gauge: log time of the newest snapshot, in seconds since 1970.
pub(crate) const SNAPSHOT_TIME: &str = "millrace_processor_snapshot_log_time_seconds";

/// Reports a committed transaction.
pub(crate) fn measure(owned: &Owned, change: &Applied, now_ms: i64) {
    let partition = owned.partition.to_string();
    let labels = [("partition", partition)];
    let progress = owned.progress();
    let (seen, visitors) = owned.sizes();
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        let lag_ms = now_ms - progress.watermark_ms;
        ::metrics::gauge!(WATERMARK_LAG, &labels).set(lag_ms as f64 / 1000.0);
        ::metrics::gauge!(HELD, &labels).set(progress.held as f64);
        ::metrics::gauge!(SEEN, &labels).set(seen as f64);
        ::metrics::gauge!(VISITORS, &labels).set(visitors as f64);
    }
    ::metrics::counter!(FOLDED, &labels).increment(change.records);
    ::metrics::counter!(OUTCOMES, &labels).increment(change.outcomes);
    ::metrics::counter!(DUPLICATES, &labels).increment(change.counts.duplicates);
    ::metrics::counter!(OVER_RATE, &labels).increment(change.counts.over_rate);
    ::metrics::counter!(DEAD, &labels).increment(change.counts.dead);
    ::metrics::counter!(ASSIGNMENTS_DROPPED, &labels).increment(change.counts.assignments_dropped);
}
