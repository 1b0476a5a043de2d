//! The kinds of credential: what they look like, how they are made, and what is kept of them.
//!
//! A secret is random (160 bits or more), so one SHA-256 of it is enough to store. It leaves the process once, in the
//! answer to the command that made it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::SecretString;
use sha2::Digest as _;
use subtle::ConstantTimeEq;

use crate::limits::HINT_CHARS;

/// A kind of credential that is looked up in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A personal access token: `2:` and 52 url-safe characters.
    Pat,
    /// An API key: `sk-live-` and 32 url-safe characters.
    ApiKey,
    /// An agent's token: `agt_` and 32 alphanumerics.
    AgentToken,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Pat, Self::ApiKey, Self::AgentToken];

    /// The word for it in the audit trail, metrics and `source` columns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::ApiKey => "key",
            Self::AgentToken => "agent",
        }
    }

    /// What each of its secrets begins with, so that a secret scanner finds leaks.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Pat => "2:",
            Self::ApiKey => "sk-live-",
            Self::AgentToken => "agt_",
        }
    }

    /// How many characters follow the prefix.
    fn random_chars(self) -> usize {
        match self {
            Self::Pat => 52,
            Self::ApiKey | Self::AgentToken => 32,
        }
    }

    fn allows(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || (self != Self::AgentToken && (byte == b'-' || byte == b'_'))
    }
}

/// The SHA-256 of a whole secret, prefix included. Compared in constant time; its `Debug` shows nothing.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(sha2::Sha256::digest(secret.as_bytes()).into())
    }

    /// A digest as it was stored; `None` if these are not its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, to store or to look up by.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}

/// What a caller presented. The secret itself is not kept, only its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// It has the form of a personal access token.
    Pat(Digest),
    /// It has the form of an API key.
    ApiKey(Digest),
    /// It has the form of an agent's token.
    AgentToken(Digest),
    /// It has the form of no credential we make.
    Unrecognised,
}

impl Presented {
    /// Tells the kind by its form. Never fails: what is no credential of ours is [`Presented::Unrecognised`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let has_form = |kind: &Kind| {
            text.strip_prefix(kind.prefix())
                .is_some_and(|rest| rest.len() == kind.random_chars() && rest.bytes().all(|byte| kind.allows(byte)))
        };
        match Kind::ALL.into_iter().find(has_form) {
            Some(Kind::Pat) => Self::Pat(Digest::of(text)),
            Some(Kind::ApiKey) => Self::ApiKey(Digest::of(text)),
            Some(Kind::AgentToken) => Self::AgentToken(Digest::of(text)),
            None => Self::Unrecognised,
        }
    }

    /// The kind; `None` if unrecognised.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Pat(_) => Some(Kind::Pat),
            Self::ApiKey(_) => Some(Kind::ApiKey),
            Self::AgentToken(_) => Some(Kind::AgentToken),
            Self::Unrecognised => None,
        }
    }

    /// The digest; `None` if unrecognised.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Pat(digest) | Self::ApiKey(digest) | Self::AgentToken(digest) => Some(digest),
            Self::Unrecognised => None,
        }
    }
}

/// Where secrets and ids come from. [`SystemSecrets`] in the binary; a test may hand in a predictable one.
pub trait SecretSource: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    /// The source has none to give; nothing was made.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), String>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSecrets;

impl SecretSource for SystemSecrets {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), String> {
        SysRng.try_fill_bytes(bytes).map_err(|error| format!("the system's random generator failed: {error}"))
    }
}

/// A secret just made, with what is kept of it.
pub(crate) struct Made {
    pub(crate) secret: SecretString,
    pub(crate) digest: Digest,
    pub(crate) hint: String,
}

/// Makes a secret of a kind whose random part is url-safe base64.
pub(crate) fn make(kind: Kind, source: &dyn SecretSource) -> Result<Made, String> {
    // Four characters carry three bytes: 39 bytes make 52 characters, 24 make 32.
    let mut bytes = vec![0; kind.random_chars() / 4 * 3];
    source.fill(&mut bytes)?;
    let random = URL_SAFE_NO_PAD.encode(&bytes);
    let secret = format!("{}{random}", kind.prefix());
    let hint = random[..HINT_CHARS].to_owned();
    Ok(Made { digest: Digest::of(&secret), secret: secret.into(), hint })
}

#[cfg(test)]
mod tests;
