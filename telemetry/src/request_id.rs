//! The id a request is known by: in its answer, in the log, and in the records it makes.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::REQUEST_ID_BYTES_MAX;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: 1 to [`REQUEST_ID_BYTES_MAX`] visible ASCII characters. The request layer puts it into the
/// request's extensions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's own id if its header has a usable one, else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match sent {
            Some(text) if is_usable(text) => Self(text.into()),
            _ => Self(uuid::Uuid::new_v4().hyphenated().to_string().into()),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_usable(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(sent.as_bytes()).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_usable_id_is_echoed_up_to_its_bound() {
        assert_eq!(id_for("abc-1").as_str(), "abc-1");
        let longest = "x".repeat(REQUEST_ID_BYTES_MAX);
        assert_eq!(id_for(&longest).as_str(), longest);
    }

    #[test]
    fn an_unusable_id_is_replaced_by_a_new_one() {
        let too_long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
        for sent in ["", "with space", "näme", &too_long] {
            let made = id_for(sent);
            assert_ne!(made.as_str(), sent);
            assert!(is_usable(made.as_str()), "{made}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
