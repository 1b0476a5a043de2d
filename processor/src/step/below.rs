//! What lies below memory: all of a partition's state, as of its last committed transaction.

use std::sync::Arc;

use super::assignment::Treatment;
use super::digest::Digest;
use super::seen::SeenHour;
use super::visitor::Visitor;

/// Gives the one copy of a treatment.
pub(crate) type Share<'a> = dyn FnMut(Treatment) -> Arc<Treatment> + 'a;

/// A partition's seen events and visitors. What is forgotten since may still be there.
pub(crate) trait Below: Send + Sync {
    /// The hour of log time in which an event was last seen for the first time.
    ///
    /// # Errors
    /// What is wrong with the store. Whether the event was seen is unknown.
    fn seen_hour(&self, event: &Digest) -> Result<Option<SeenHour>, String>;

    /// A visitor.
    ///
    /// # Errors
    /// What is wrong with the store. What is remembered of the visitor is unknown.
    fn visitor(&self, visitor: &Digest, share: &mut Share<'_>) -> Result<Option<Visitor>, String>;
}
