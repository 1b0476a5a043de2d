//! Why something sent could not be used: the words in `rejected/` rows, manifests and metrics. Only ever added to.

/// A required field is absent.
pub const MISSING_FIELD: &str = "missing_field";
/// A field has another JSON type than asked for, or stands twice.
pub const WRONG_TYPE: &str = "wrong_type";
/// A value breaks its bound.
pub const OUT_OF_RANGE: &str = "out_of_range";
/// An event is larger than one may be.
pub const TOO_LARGE: &str = "too_large";
/// A decision event with no decision, or with several of which none matches.
pub const DECISION_WITHOUT_MATCH: &str = "decision_without_match";
/// The visitor sent more events in one minute than one may.
pub const VISITOR_RATE: &str = "visitor_rate";

/// All of them.
pub const ALL: &[&str] = &[MISSING_FIELD, WRONG_TYPE, OUT_OF_RANGE, TOO_LARGE, DECISION_WITHOUT_MATCH, VISITOR_RATE];
