//! The processor: raw topic in, enriched topic out.
//!
//! It de-duplicates events, puts them into sessions, and gives every conversion the experiments its visitor had been assigned
//! to. Each raw event or reject becomes exactly one outcome.
//!
//! - [`step`] is the fold: pure, and the only place that decides what a row says.
//! - [`run`] keeps it going: recovery, transactions, ticks. A transaction holds the outcomes of every partition it touched, and
//!   per partition one watermark record with the raw positions *folded* and *released*; state is changed only once it is
//!   committed, and the local store after that. Each hour of log time the local store's contents go to the object store, so
//!   that state outlives its machine.
//! - [`create_settings`] and [`change_settings`] put the values that change rows into the log.
//! - [`Progress`] says how far each partition of this process is, [`last_committed`] how far any is.

mod contradiction;
pub mod limits;
mod member;
mod metrics;
mod owned;
mod progress;
mod recover;
mod run;
mod settings;
mod snapshot;
pub mod step;
mod store;
mod ticks;

pub use contradiction::{Contradiction, Witness};
pub use progress::{PartitionProgress, Progress};
pub use recover::last_committed;
pub use run::{Config, Error, GROUP, PART, Services, run};
pub use settings::{SettingsError, change_settings, create_settings, partitions_without_settings, settings_in_force};

// The builders of the tests from outside serve those from inside as well.
#[cfg(test)]
extern crate self as millrace_processor;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
