//! Conditions of a read, in the order of RFC 9110, section 13.2.2.

use http::{HeaderMap, HeaderValue, header};
use object_store::ObjectMeta;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::answer::refused;

/// What a client made its read depend on.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// Whether there is nothing to check.
    pub(super) fn is_empty(&self) -> bool {
        self.if_match.is_none()
            && self.if_none_match.is_none()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
    }

    /// Whether the object may be sent.
    ///
    /// # Errors
    /// `304 Not Modified` or `412 Precondition Failed`.
    pub(super) fn check(&self, meta: &ObjectMeta) -> S3Result<()> {
        let tag = etag(meta);
        // HTTP dates have whole seconds.
        let modified = timestamp(meta, true);
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(wanted) => tag.as_ref().is_some_and(|tag| tag.value() == wanted.value()),
        };
        let unwanted = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => !is(condition),
            (None, Some(since)) => modified > *since,
            (None, None) => false,
        };
        if unwanted {
            return Err(refused(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions did not hold."));
        }
        let known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => is(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if known { Err(not_modified(tag)) } else { Ok(()) }
    }
}

/// The object's entity tag; stores write it with and without quotes.
pub(super) fn etag(meta: &ObjectMeta) -> Option<ETag> {
    let text = meta.e_tag.as_deref()?;
    Some(ETag::Strong(text.trim_start_matches("W/").trim_matches('"').to_owned()))
}

/// When the object was made.
pub(super) fn timestamp(meta: &ObjectMeta, whole_seconds: bool) -> Timestamp {
    let made = meta.last_modified;
    let made =
        if whole_seconds { chrono::DateTime::from_timestamp_secs(made.timestamp()).unwrap_or(made) } else { made };
    Timestamp::from(std::time::SystemTime::from(made))
}

fn not_modified(tag: Option<ETag>) -> S3Error {
    let mut answer = S3Error::new(S3ErrorCode::NotModified);
    let value = tag.and_then(|tag| HeaderValue::try_from(format!("\"{}\"", tag.value())).ok());
    answer.set_headers(value.into_iter().map(|value| (header::ETAG, value)).collect::<HeaderMap>());
    answer
}
