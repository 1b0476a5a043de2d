//! The server's keys: what makes and checks scoped credentials. They rotate with an overlap.
//!
//! As text, one key a line, the signing key first. The other lines are retired keys, still accepted until the last
//! credential they can have made is over, and at most one that is announced: accepted, and yet to sign.
//! ```text
//! <8 hex digits: id> <64 hex digits: secret> <-: signs; retired at, ms since 1970; or next>
//! ```

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use super::Lifetime;
use crate::limits::SERVER_KEYS_MAX;

/// The random bytes one server key takes: 4 name it, 32 are its secret.
pub const KEY_ENTROPY_BYTES: usize = 36;
/// How every access key id begins, so that a person sees whose it is.
const ACCESS_KEY_PREFIX: &str = "MR";

/// What [`ServerKey::retired_ms`] is of a key that is yet to sign: it is accepted for ever.
const ANNOUNCED_MS: i64 = i64::MAX;
/// And in text.
const ANNOUNCED: &str = "next";

type HmacSha256 = Hmac<Sha256>;

/// The keys in use: one signs, all are accepted.
#[derive(Debug)]
pub struct ServerKeys {
    signing: ServerKey,
    retired: Vec<ServerKey>,
}

/// One key. Never shown.
pub(super) struct ServerKey {
    id: String,
    secret: SecretBox<[u8; 32]>,
    retired_ms: Option<i64>,
}

/// Why keys were refused. Says the line, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There is no key.
    #[error("there is no server key")]
    None,
    /// The line has another form.
    #[error("server key {0}: expected an id of 8 hex digits, a secret of 64, and -, next, or when it retired")]
    Form(usize),
    /// The secret could be guessed.
    #[error("server key {0}: the secret is weak; make one from a random source")]
    Weak(usize),
    /// Two keys of one id.
    #[error("server key {0}: its id stands twice")]
    Twice(usize),
    /// Not exactly the first key is in use.
    #[error("server key {0}: the first key signs, the others are retired")]
    Order(usize),
    /// Two keys cannot both be next.
    #[error("a server key is announced already: let it sign first")]
    Announced,
    /// A key that some server does not know must not sign.
    #[error("no server key is announced: announce one, and give it to every server first")]
    NotAnnounced,
    /// More than can be meant.
    #[error("there are more than {SERVER_KEYS_MAX} server keys")]
    TooMany,
}

impl ServerKeys {
    /// One new key. `entropy` must come from a cryptographic source.
    ///
    /// # Errors
    /// The entropy is none.
    pub fn generate(entropy: [u8; KEY_ENTROPY_BYTES]) -> Result<Self, KeysError> {
        Ok(Self { signing: ServerKey::generate(entropy)?, retired: Vec::new() })
    }

    /// Adds a key that is accepted and does not sign yet. Once every server has it, [`ServerKeys::rotate`] may let it sign, and no
    /// server refuses what another made.
    ///
    /// # Errors
    /// One is announced already, or the entropy is none.
    pub fn announce(mut self, entropy: [u8; KEY_ENTROPY_BYTES]) -> Result<Self, KeysError> {
        if self.retired.iter().any(ServerKey::is_announced) {
            return Err(KeysError::Announced);
        }
        let announced = ServerKey { retired_ms: Some(ANNOUNCED_MS), ..ServerKey::generate(entropy)? };
        self.retired.insert(0, announced);
        self.retired.truncate(SERVER_KEYS_MAX - 1);
        Ok(self)
    }

    /// Lets the announced key sign; what the present key makes until `retired_ms` stays good until its own end. Keys whose
    /// credentials are all over at `now_ms` are dropped.
    ///
    /// # Errors
    /// None is announced.
    pub fn rotate(mut self, now_ms: i64, retired_ms: i64) -> Result<Self, KeysError> {
        let announced = self.retired.iter().position(ServerKey::is_announced).ok_or(KeysError::NotAnnounced)?;
        let signing = ServerKey { retired_ms: None, ..self.retired.remove(announced) };
        let mut retired = vec![ServerKey { retired_ms: Some(retired_ms), ..self.signing }];
        retired.extend(self.retired.into_iter().filter(|key| key.is_accepted(now_ms)));
        Ok(Self { signing, retired })
    }

    /// Reads keys from their text; see the module's page. Blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`KeysError`], with the number of the key (from 1).
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys: Vec<ServerKey> = Vec::new();
        for (number, line) in (1..).zip(lines) {
            let key = ServerKey::parse(number, line)?;
            if keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(KeysError::Twice(number));
            }
            if keys.is_empty() != key.retired_ms.is_none() {
                return Err(KeysError::Order(number));
            }
            keys.push(key);
        }
        if keys.len() > SERVER_KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let mut keys = keys.into_iter();
        Ok(Self { signing: keys.next().ok_or(KeysError::None)?, retired: keys.collect() })
    }

    /// The text [`ServerKeys::parse`] reads: secret, to be kept where only the server reads it.
    #[must_use]
    pub fn to_secret_text(&self) -> SecretString {
        let mut text = String::from("# Server keys. Whoever has these can read every export.\n");
        for key in std::iter::once(&self.signing).chain(&self.retired) {
            let retired = match key.retired_ms {
                None => "-".to_owned(),
                Some(ANNOUNCED_MS) => ANNOUNCED.to_owned(),
                Some(ms) => ms.to_string(),
            };
            text.push_str(&format!("{} {} {retired}\n", key.id, hex::encode(key.secret.expose_secret())));
        }
        text.into()
    }

    /// A tag that only these servers can make, over `text`, for one purpose: key id and 64 hex digits.
    #[must_use]
    pub fn tag(&self, purpose: &str, text: &[u8]) -> String {
        format!("{}{}", self.signing.id, hex::encode(self.signing.derive(purpose, text)))
    }

    /// Whether the tag is what one of the accepted keys makes for `purpose` and `text`.
    #[must_use]
    pub fn is_tag(&self, tag: &str, purpose: &str, text: &[u8], now_ms: i64) -> bool {
        let Some((id, digest)) = tag.split_at_checked(8) else { return false };
        let (Some(key), Ok(digest)) = (self.accepted(id, now_ms), hex::decode(digest)) else { return false };
        key.mac(purpose, text).verify_slice(&digest).is_ok()
    }

    pub(super) fn signing(&self) -> &ServerKey {
        &self.signing
    }

    /// The key of that id, unless it is too long retired.
    pub(super) fn accepted(&self, id: &str, now_ms: i64) -> Option<&ServerKey> {
        std::iter::once(&self.signing).chain(&self.retired).find(|key| key.id == id && key.is_accepted(now_ms))
    }

    /// The key that made the access key id.
    pub(super) fn of_access_key_id(&self, access_key_id: &str, now_ms: i64) -> Option<&ServerKey> {
        let id = access_key_id.strip_prefix(ACCESS_KEY_PREFIX)?.get(..8)?.to_ascii_lowercase();
        self.accepted(&id, now_ms)
    }
}

impl ServerKey {
    fn generate(entropy: [u8; KEY_ENTROPY_BYTES]) -> Result<Self, KeysError> {
        let (id, secret) = entropy.split_at(4);
        Self::new(1, hex::encode(id), secret, None)
    }

    fn parse(number: usize, line: &str) -> Result<Self, KeysError> {
        let form = || KeysError::Form(number);
        let mut words = line.split_whitespace();
        let (Some(id), Some(secret), Some(retired), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(form());
        };
        if hex::decode(id).map_err(|_| form())?.len() != 4 {
            return Err(form());
        }
        let retired_ms = match retired {
            "-" => None,
            ANNOUNCED => Some(ANNOUNCED_MS),
            ms => Some(ms.parse().map_err(|_| form())?),
        };
        Self::new(number, id.to_ascii_lowercase(), &hex::decode(secret).map_err(|_| form())?, retired_ms)
    }

    fn new(number: usize, id: String, secret: &[u8], retired_ms: Option<i64>) -> Result<Self, KeysError> {
        let secret = <[u8; 32]>::try_from(secret).map_err(|_| KeysError::Form(number))?;
        // 32 random bytes have some 30 different values; fewer than 16 does not happen by chance.
        let mut values = secret.to_vec();
        values.sort_unstable();
        values.dedup();
        if values.len() < 16 {
            return Err(KeysError::Weak(number));
        }
        Ok(Self { id, secret: SecretBox::new(Box::new(secret)), retired_ms })
    }

    fn is_accepted(&self, now_ms: i64) -> bool {
        self.retired_ms.is_none_or(|retired| now_ms < retired.saturating_add(Lifetime::MAX.as_ms()))
    }

    fn is_announced(&self) -> bool {
        self.retired_ms == Some(ANNOUNCED_MS)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// `MR`, the key's id, the name's bytes; upper-case hex.
    pub(super) fn access_key_id(&self, name: &[u8]) -> String {
        format!("{ACCESS_KEY_PREFIX}{}{}", self.id.to_ascii_uppercase(), hex::encode_upper(name))
    }

    pub(super) fn secret_access_key(&self, access_key_id: &str) -> SecretString {
        hex::encode(self.derive("secret-access-key", access_key_id.as_bytes())).into()
    }

    /// What session tokens are signed with.
    pub(super) fn token_key(&self) -> SecretBox<[u8; 32]> {
        SecretBox::new(Box::new(self.derive("session-token", b"")))
    }

    // One secret, one use each: no answer of one use says anything about another.
    fn derive(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        self.mac(purpose, text).finalize().into_bytes().into()
    }

    fn mac(&self, purpose: &str, text: &[u8]) -> HmacSha256 {
        let mut mac = HmacSha256::new_from_slice(self.secret.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text);
        mac
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey").field("id", &self.id).field("retired_ms", &self.retired_ms).finish_non_exhaustive()
    }
}
