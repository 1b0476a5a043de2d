//! What the directory knows of each thing. No secret: at most its digest, and that only inside this crate.

use std::fmt;
use std::sync::Arc;

use crate::{AccountId, Digest, Profile, Role, Scopes};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When the log took its creation, ms since 1970: its first day is this one's.
    pub created_ms: i64,
    /// When the log took its closing, if it is closed: its last day is this one's.
    pub closed_ms: Option<i64>,
    /// The length of its slots in ms, if set for this account.
    pub slot_ms: Option<i64>,
    /// Origins browsers may send from.
    pub origins: Vec<String>,
}

/// A person.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: Arc<str>,
    /// The account the user belongs to.
    pub account: AccountId,
    /// Unique over all accounts, in small letters.
    pub username: String,
    /// Unique over all accounts, in small letters.
    pub email: String,
    /// The base role.
    pub role: Role,
    /// A deactivated user's tokens and sessions are refused.
    pub active: bool,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// When the log took the creation, ms since 1970.
    pub created_ms: i64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("username", &self.username)
            .field("email", &self.email)
            .field("role", &self.role)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The id; not a secret.
    pub id: Arc<str>,
    /// The account it belongs to.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What kind of key it is.
    pub profile: Profile,
    /// What it may do.
    pub scopes: Scopes,
    /// Whether it has been activated, or needs not be.
    pub active: bool,
    /// The first characters of its secret, after the prefix.
    pub hint: String,
    /// When the log took its creation, ms since 1970.
    pub created_ms: i64,
    /// When the log took its revocation.
    pub revoked_ms: Option<i64>,
    pub(crate) digest: Digest,
}

/// A personal access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The id; not a secret.
    pub id: Arc<str>,
    /// The owner's account.
    pub account: AccountId,
    /// The owner.
    pub user_id: Arc<str>,
    /// What people call it.
    pub name: String,
    /// The first characters of its secret, after the prefix.
    pub hint: String,
    /// When the log took its creation, ms since 1970.
    pub created_ms: i64,
    /// When the log took its revocation.
    pub revoked_ms: Option<i64>,
    pub(crate) digest: Digest,
}
