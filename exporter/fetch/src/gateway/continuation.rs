//! Continuation tokens: where a listing goes on, tagged so that nobody can make or move one.
//!
//! A token is bound to the scope, not to the credential, so that a listing goes on after credentials were refreshed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_directory::mint::ServerKeys;
use millrace_directory::scope::{AllowedPrefix, Scope};

use crate::limits::CONTINUATION_BYTES_MAX;
use crate::listing::After;

const PURPOSE: &str = "continuation";
const TAG_BYTES: usize = 72;

/// The listing a token belongs to.
pub(super) struct Listing<'a> {
    pub(super) bucket: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) prefix: &'a AllowedPrefix,
    pub(super) delimiter: Option<&'a str>,
}

impl Listing<'_> {
    /// The token of a position.
    pub(super) fn token(&self, after: &After, keys: &ServerKeys) -> String {
        let (kind, text) = match after {
            After::Start => ("s", ""),
            After::Key(key) => ("k", key.as_str()),
            After::Group(group) => ("g", group.as_str()),
        };
        let position = format!("{kind}{text}");
        let tag = keys.tag(PURPOSE, &self.bound(&position));
        URL_SAFE_NO_PAD.encode(format!("{tag}{position}"))
    }

    /// The position a token of this listing says; `None` for any other text.
    pub(super) fn position(&self, token: &str, keys: &ServerKeys, now_ms: i64) -> Option<After> {
        if token.len() > CONTINUATION_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (tag, position) = text.split_at_checked(TAG_BYTES)?;
        if !keys.is_tag(tag, PURPOSE, &self.bound(position), now_ms) {
            return None;
        }
        let (kind, text) = position.split_at_checked(1)?;
        match kind {
            "s" => Some(After::Start),
            "k" => Some(After::Key(text.to_owned())),
            "g" => Some(After::Group(text.to_owned())),
            _ => None,
        }
    }

    // Lengths before texts, so that no two listings give the same bytes.
    fn bound(&self, position: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let days = self.scope.days().unwrap_or_default();
        let scope = self.scope.prefix();
        for text in [self.bucket, &scope, &days, self.prefix.as_str(), self.delimiter.unwrap_or_default(), position] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}
