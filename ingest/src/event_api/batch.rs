//! What a body says. Everything is borrowed from it; lists stand flat in one vector per kind, and each part knows its range.

use std::ops::Range;

use millrace_schemas::raw_encode::{AttributeRef, DecisionRef};

use crate::problem::Problems;

/// A whole body. Its own fields are good; its parts may have problems.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) project_id: Option<&'a str>,
    pub(crate) revision: Option<&'a str>,
    pub(crate) client_name: Option<&'a str>,
    pub(crate) client_version: Option<&'a str>,
    pub(crate) anonymize_ip: bool,
    pub(crate) enrich_decisions: bool,
    pub(crate) visitors: Vec<Visitor<'a>>,
    pub(crate) lists: Lists<'a>,
    pub(crate) unknown: Vec<Unknown<'a>>,
}

/// The parts of all visitors, flat.
#[derive(Debug, Default)]
pub(crate) struct Lists<'a> {
    pub(crate) snapshots: Vec<Snapshot<'a>>,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) attributes: Vec<AttributeRef<'a>>,
    pub(crate) decisions: Vec<DecisionRef<'a>>,
    /// Tags and properties.
    pub(crate) pairs: Vec<(&'a str, &'a str)>,
    pub(crate) visitor_unknown: Vec<Unknown<'a>>,
    pub(crate) snapshot_unknown: Vec<Unknown<'a>>,
    pub(crate) event_unknown: Vec<Unknown<'a>>,
}

/// A part of one of the [`Lists`].
pub(crate) type Part = Range<usize>;

/// A visitor and the range of its snapshots.
#[derive(Debug, Default)]
pub(crate) struct Visitor<'a> {
    /// As sent.
    pub(crate) original: &'a str,
    pub(crate) problems: Problems,
    /// "" where it did not parse.
    pub(crate) visitor_id: &'a str,
    /// `None` for absent, "" and AUTO.
    pub(crate) session_id: Option<&'a str>,
    /// The value of `$opt_user_agent`.
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) attributes: Part,
    pub(crate) snapshots: Part,
    pub(crate) unknown: Part,
}

/// A snapshot and the ranges of its decisions and events.
#[derive(Debug, Default)]
pub(crate) struct Snapshot<'a> {
    /// As sent.
    pub(crate) original: &'a str,
    pub(crate) problems: Problems,
    pub(crate) decisions: Part,
    pub(crate) events: Part,
    pub(crate) unknown: Part,
}

/// An event. With a problem, its fields are what could be read.
#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    /// As sent.
    pub(crate) original: &'a str,
    pub(crate) problems: Problems,
    pub(crate) uuid: Option<&'a str>,
    pub(crate) timestamp_ms: i64,
    pub(crate) entity_id: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) revenue: Option<i64>,
    pub(crate) value: Option<f64>,
    pub(crate) quantity: Option<i64>,
    pub(crate) tags: Part,
    pub(crate) properties: Part,
    pub(crate) unknown: Part,
}

/// A field Millrace does not know, kept as sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unknown<'a> {
    /// Which list item it stands in: `decisions[2]`'s number, or an attribute's; `None`: the part itself.
    pub(crate) within: Option<Within>,
    pub(crate) name: &'a str,
    /// JSON text.
    pub(crate) value: &'a str,
}

/// An item of a list inside a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    Attribute(usize),
    Decision(usize),
    Metadata(usize),
}
