//! A fact as the fold understands it: read once from its record, into types that cannot be wrong.

use std::sync::Arc;

use bytes::Bytes;
use millrace_schemas::access::{self, Fact, fact};
use millrace_schemas::codec::{DecodeError, Versioned};

use crate::{AccountId, Digest, Profile, Role, Scopes};

/// What a fact changes.
///
/// What counts as readable is part of the format, for ever: a fact that one release applies and another calls
/// unreadable would split the nodes. A new kind of change, role or profile therefore raises the version.
pub(crate) enum Change {
    AccountCreated { id: AccountId, name: String },
    AccountClosed { id: AccountId },
    AccountChanged { id: AccountId, slot_ms: Option<i64>, origins: Option<Vec<String>> },
    UserCreated(NewUser),
    UserChanged { id: Arc<str>, role: Option<Role>, active: Option<bool>, password_hash: Option<String> },
    KeyCreated(NewKey),
    KeyRevoked { id: Arc<str> },
    TokenCreated(NewToken),
    TokenRevoked { id: Arc<str> },
    LogBegun { log_id: String },
}

pub(crate) struct NewUser {
    pub(crate) id: Arc<str>,
    pub(crate) account: AccountId,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) password_hash: String,
}

pub(crate) struct NewKey {
    pub(crate) id: Arc<str>,
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) profile: Profile,
    pub(crate) scopes: Scopes,
    pub(crate) digest: Digest,
    pub(crate) hint: String,
}

pub(crate) struct NewToken {
    pub(crate) id: Arc<str>,
    pub(crate) account: AccountId,
    pub(crate) user_id: Arc<str>,
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) hint: String,
}

/// Reads a record of the access topic.
///
/// # Errors
/// [`DecodeError::Newer`]: the fold must stop. [`DecodeError::Dead`]: the fact is void; the reason holds no content.
pub(crate) fn decode(version: u32, value: Bytes) -> Result<(Fact, Change), DecodeError> {
    let mut fact = Fact::from_versioned(version, value)?;
    let change = fact.change.take().and_then(understand).ok_or(DecodeError::Dead {
        version,
        reason: "no change this version knows, or one with an impossible field".into(),
    })?;
    Ok((fact, change))
}

fn understand(change: fact::Change) -> Option<Change> {
    Some(match change {
        fact::Change::AccountCreated(created) => {
            Change::AccountCreated { id: AccountId::parse(&created.account_id)?, name: created.name }
        }
        fact::Change::AccountClosed(closed) => Change::AccountClosed { id: AccountId::parse(&closed.account_id)? },
        fact::Change::AccountChanged(changed) => Change::AccountChanged {
            id: AccountId::parse(&changed.account_id)?,
            slot_ms: changed.slot_ms,
            origins: changed.origins.map(|origins| origins.split_ascii_whitespace().map(str::to_owned).collect()),
        },
        fact::Change::UserCreated(created) => Change::UserCreated(new_user(created)?),
        fact::Change::UserChanged(changed) => Change::UserChanged {
            id: changed.user_id.into(),
            role: match changed.role {
                Some(role) => Some(role_of(role)?),
                None => None,
            },
            active: changed.active,
            password_hash: changed.password_hash,
        },
        fact::Change::KeyCreated(created) => Change::KeyCreated(new_key(created)?),
        fact::Change::KeyRevoked(revoked) => Change::KeyRevoked { id: revoked.key_id.into() },
        fact::Change::TokenCreated(created) => Change::TokenCreated(new_token(created)?),
        fact::Change::TokenRevoked(revoked) => Change::TokenRevoked { id: revoked.token_id.into() },
        fact::Change::LogBegun(begun) => Change::LogBegun { log_id: begun.log_id },
    })
}

fn new_user(created: access::UserCreated) -> Option<NewUser> {
    Some(NewUser {
        role: role_of(created.role)?,
        account: AccountId::parse(&created.account_id)?,
        id: created.user_id.into(),
        username: created.username,
        email: created.email,
        password_hash: created.password_hash,
    })
}

fn new_key(created: access::KeyCreated) -> Option<NewKey> {
    Some(NewKey {
        profile: profile_of(created.profile)?,
        account: AccountId::parse(&created.account_id)?,
        scopes: Scopes::parse(&created.scopes).ok()?,
        digest: Digest::from_bytes(&created.secret_hash)?,
        id: created.key_id.into(),
        name: created.name,
        description: created.description,
        hint: created.hint,
    })
}

fn new_token(created: access::TokenCreated) -> Option<NewToken> {
    Some(NewToken {
        account: AccountId::parse(&created.account_id)?,
        digest: Digest::from_bytes(&created.secret_hash)?,
        id: created.token_id.into(),
        user_id: created.user_id.into(),
        name: created.name,
        hint: created.hint,
    })
}

fn role_of(role: i32) -> Option<Role> {
    Some(match access::Role::try_from(role).ok()? {
        access::Role::Viewer => Role::Viewer,
        access::Role::Analyst => Role::Analyst,
        access::Role::Developer => Role::Developer,
        access::Role::Admin => Role::Admin,
    })
}

fn profile_of(profile: i32) -> Option<Profile> {
    Some(match access::Profile::try_from(profile).ok()? {
        access::Profile::Platform => Profile::Platform,
        access::Profile::Admin => Profile::Admin,
        access::Profile::Integrations => Profile::Integrations,
        access::Profile::Transactional => Profile::Transactional,
    })
}

/// The role as a fact names it.
pub(crate) fn role_in_fact(role: Role) -> access::Role {
    match role {
        Role::Viewer => access::Role::Viewer,
        Role::Analyst => access::Role::Analyst,
        Role::Developer => access::Role::Developer,
        Role::Admin => access::Role::Admin,
    }
}

/// The profile as a fact names it.
pub(crate) fn profile_in_fact(profile: Profile) -> access::Profile {
    match profile {
        Profile::Platform => access::Profile::Platform,
        Profile::Admin => access::Profile::Admin,
        Profile::Integrations => access::Profile::Integrations,
        Profile::Transactional => access::Profile::Transactional,
    }
}
