//! The few settings whose defaults are not the same on one machine and in a cluster.

use std::time::Duration;

use super::Span;

/// What a key is unless it is set.
pub(super) struct Defaults {
    pub(super) log_filter: &'static str,
    pub(super) grace: Span,
    pub(super) tick_interval: Span,
    pub(super) seal_age: Span,
    /// `None`: each account's own, by the day's plan.
    pub(super) slot: Option<Span>,
}

/// One process, one disk: a tick a second costs nothing, files are cheap, and decisions do not come much later than their
/// conversions.
pub(super) const ONE_MACHINE: Defaults = Defaults {
    log_filter: "info,fjall=warn,lsm_tree=warn",
    grace: seconds(5),
    tick_interval: seconds(1),
    seal_age: seconds(2),
    slot: Some(seconds(10)),
};

/// Many senders (SDKs batch for up to 30 s), and an object store that is paid by the request.
pub(super) const CLUSTER: Defaults = Defaults {
    log_filter: "info,fjall=warn,lsm_tree=warn,librdkafka=warn",
    grace: seconds(60),
    tick_interval: seconds(5),
    seal_age: seconds(30),
    slot: None,
};

const fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}
