//! What an account, a user, a key and a token look like in JSON. Times are ISO 8601 in UTC. No digests, no hashes; a secret
//! only beside what was just made.

use chrono::{DateTime, SecondsFormat};
use millrace_directory::{Account, ApiKey, ExposeSecret, SecretString, Token, User};
use serde::{Serialize, Serializer};

/// An instant, ms since 1970, shown as text.
pub(crate) struct Instant(i64);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let instant = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[derive(Serialize)]
pub(crate) struct ShownAccount<'a> {
    id: &'a str,
    name: &'a str,
    created_at: Instant,
    closed_at: Option<Instant>,
    slot_ms: Option<i64>,
    origins: &'a [String],
}

impl<'a> From<&'a Account> for ShownAccount<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id.as_str(),
            name: &account.name,
            created_at: Instant(account.created_ms),
            closed_at: account.closed_ms.map(Instant),
            slot_ms: account.slot_ms,
            origins: &account.origins,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ShownUser<'a> {
    id: &'a str,
    account_id: &'a str,
    username: &'a str,
    email: &'a str,
    role: &'static str,
    is_active: bool,
    created_at: Instant,
}

impl<'a> From<&'a User> for ShownUser<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: &user.id,
            account_id: user.account.as_str(),
            username: &user.username,
            email: &user.email,
            role: user.role.name(),
            is_active: user.active,
            created_at: Instant(user.created_ms),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ShownKey<'a> {
    id: &'a str,
    account_id: &'a str,
    name: &'a str,
    description: &'a str,
    profile: &'static str,
    scopes: Vec<&'static str>,
    is_active: bool,
    hint: &'a str,
    created_at: Instant,
    revoked_at: Option<Instant>,
}

impl<'a> From<&'a ApiKey> for ShownKey<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self {
            id: &key.id,
            account_id: key.account.as_str(),
            name: &key.name,
            description: &key.description,
            profile: key.profile.name(),
            scopes: key.scopes.names(),
            is_active: key.active && key.revoked_ms.is_none(),
            hint: &key.hint,
            created_at: Instant(key.created_ms),
            revoked_at: key.revoked_ms.map(Instant),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ShownToken<'a> {
    id: &'a str,
    account_id: &'a str,
    user_id: &'a str,
    name: &'a str,
    is_active: bool,
    hint: &'a str,
    created_at: Instant,
    revoked_at: Option<Instant>,
}

impl<'a> From<&'a Token> for ShownToken<'a> {
    fn from(token: &'a Token) -> Self {
        Self {
            id: &token.id,
            account_id: token.account.as_str(),
            user_id: &token.user_id,
            name: &token.name,
            is_active: token.revoked_ms.is_none(),
            hint: &token.hint,
            created_at: Instant(token.created_ms),
            revoked_at: token.revoked_ms.map(Instant),
        }
    }
}

/// What was just made, with its secret under the name its kind has: `key`, `token`, `password`.
#[derive(Serialize)]
pub(crate) struct WithSecret<T> {
    #[serde(flatten)]
    pub(crate) made: T,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_clear")]
    pub(crate) key: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_clear")]
    pub(crate) token: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_clear")]
    pub(crate) password: Option<SecretString>,
}

impl<T> WithSecret<T> {
    /// What was made, without any secret yet.
    pub(crate) fn of(made: T) -> Self {
        Self { made, key: None, token: None, password: None }
    }
}

/// The one place where a secret becomes text again: the answer to the request that made it.
fn in_clear<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
}
