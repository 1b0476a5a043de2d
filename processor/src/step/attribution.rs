//! Which experiments a conversion carries, or why none.

use millrace_schemas::enriched::Unattributed;
use millrace_schemas::raw::{AttributionMode, AttributionRule, Settings};

use smallvec::SmallVec;

use super::assignment::{Assignment, Treatment};
use super::floors::Floors;
use super::held::Held;
use super::visitor::Visitor;
use crate::limits::EXPERIMENTS_BYTES_MAX;

/// A conversion's experiments, in the order their visitor first saw them, and why there are none.
pub(crate) struct Attribution<'a> {
    pub(crate) experiments: Few<&'a Treatment>,
    pub(crate) unattributed: Unattributed,
    /// How many were left out, as their record would be larger than the log takes.
    pub(crate) left_out: usize,
}

/// Most visitors are in few experiments: no allocation for those.
pub(crate) type Few<T> = SmallVec<[T; 8]>;

/// An experiment with its place in the order of first sight.
struct Placed<'a> {
    place: u64,
    treatment: &'a Treatment,
}

/// Whether a conversion's experiments depend on its visitor, and not on its own snapshot alone.
pub(crate) fn counts_visitor(held: &Held, settings: &Settings) -> bool {
    held.enrich && settings.attribution_mode() != AttributionMode::None
}

/// Attributes a conversion as its visitor stands now.
pub(crate) fn attribute<'a>(
    held: &'a Held,
    visitor: Option<&'a Visitor>,
    settings: &Settings,
    floors: &Floors,
) -> Attribution<'a> {
    if !counts_visitor(held, settings) {
        let own = held.snapshot.iter().map(|treatment| &**treatment).collect();
        return Attribution { experiments: own, unattributed: Unattributed::Not, left_out: 0 };
    }
    let rule = settings.attribution_rule();
    let mut placed: Few<Placed<'a>> = Few::new();
    for assignment in remembered(visitor, floors) {
        if let Some(treatment) = assignment.at(held.timestamp_ms, rule) {
            placed.push(Placed { place: u64::from(assignment.ordinal) * 2 + 1, treatment });
        }
    }
    add_own(held, rule, &mut placed);
    let unattributed = if placed.is_empty() { why_none(visitor, floors) } else { Unattributed::Not };
    placed.sort_by_key(|placed| placed.place);
    let left_out = too_many(&placed);
    let experiments = placed.into_iter().skip(left_out).map(|placed| placed.treatment).collect();
    Attribution { experiments, unattributed, left_out }
}

/// How many of the first have to be left out.
fn too_many(placed: &[Placed<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |placed: &&Placed<'_>| {
        bytes += placed.treatment.bytes();
        bytes <= EXPERIMENTS_BYTES_MAX
    };
    placed.len() - placed.iter().rev().take_while(fits).count()
}

fn remembered<'a>(visitor: Option<&'a Visitor>, floors: &Floors) -> impl Iterator<Item = &'a Assignment> {
    let floor = floors.assignment_ms;
    visitor.into_iter().flat_map(|visitor| &visitor.assignments).filter(move |assignment| assignment.made_ms >= floor)
}

/// The conversion's own snapshot counts as decisions made with it: seen after all its visitor had seen by then.
fn add_own<'a>(held: &'a Held, rule: AttributionRule, placed: &mut Few<Placed<'a>>) {
    for own in held.snapshot.iter().filter(|own| own.experiment_id.is_some()) {
        let same = placed.iter_mut().find(|placed| placed.treatment.experiment_id == own.experiment_id);
        match (same, rule) {
            (Some(placed), AttributionRule::Last) => placed.treatment = own,
            (Some(_), AttributionRule::First) => {}
            (None, _) => placed.push(Placed { place: u64::from(held.experiments_seen) * 2, treatment: own }),
        }
    }
}

fn why_none(visitor: Option<&Visitor>, floors: &Floors) -> Unattributed {
    if remembered(visitor, floors).next().is_some() {
        Unattributed::DecisionLater
    } else if visitor.is_some_and(|visitor| visitor.decided_ms > i64::MIN && visitor.decided_ms >= floors.decided_ms) {
        Unattributed::OutsideWindow
    } else {
        Unattributed::NoDecision
    }
}
