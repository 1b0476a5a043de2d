//! What can be changed in the directory, and what comes of it.

use std::sync::Arc;

use secrecy::SecretString;

use crate::{AccountId, Directory, Profile, Role, Scopes};

/// A wish to change the directory. Its texts are not validated yet: [`crate::Node::execute`] does that.
///
/// Holds no secret in clear text: those are made by `execute`, and passwords come as hashes.
#[derive(Clone)]
pub enum Command {
    /// Make an account.
    CreateAccount {
        /// Its id; made if absent.
        account_id: Option<AccountId>,
        /// What people call it.
        name: String,
    },
    /// Close an account: its credentials are refused, its last day is this one.
    CloseAccount {
        /// The account.
        account_id: AccountId,
    },
    /// Change an account's settings; `None` leaves one as it is.
    ChangeAccount {
        /// The account.
        account_id: AccountId,
        /// The length of its slots in ms; 0: chosen by the day's plan.
        slot_ms: Option<i64>,
        /// Origins browsers may send from.
        origins: Option<Vec<String>>,
    },
    /// Make a user.
    CreateUser {
        /// The account the user belongs to.
        account_id: AccountId,
        /// Unique over all accounts; letter case does not count.
        username: String,
        /// Unique over all accounts; letter case does not count.
        email: String,
        /// The base role.
        role: Role,
        /// argon2id, PHC string.
        password_hash: String,
    },
    /// Change a user; `None` leaves a property as it is.
    ChangeUser {
        /// The user.
        user_id: String,
        /// The base role.
        role: Option<Role>,
        /// Whether the user may do anything.
        active: Option<bool>,
        /// argon2id, PHC string.
        password_hash: Option<String>,
    },
    /// Make an API key.
    CreateKey {
        /// The account it belongs to.
        account_id: AccountId,
        /// What people call it.
        name: String,
        /// What it is for.
        description: String,
        /// What kind of key it is.
        profile: Profile,
        /// What it may do.
        scopes: Scopes,
    },
    /// Revoke an API key, for ever.
    RevokeKey {
        /// The key.
        key_id: String,
    },
    /// Make a personal access token.
    CreateToken {
        /// The owner.
        user_id: String,
        /// What people call it.
        name: String,
    },
    /// Revoke a personal access token, for ever.
    RevokeToken {
        /// The token.
        token_id: String,
    },
}

/// A command that was carried out: its fact is applied, durable, and folded on this node.
#[derive(Debug)]
pub struct Done {
    /// The id of the account, user, key or token that was made or changed.
    pub id: String,
    /// The secret of the key or token that was made. There is no other way to it, now or later.
    pub secret: Option<SecretString>,
    /// A directory that holds the change.
    pub directory: Arc<Directory>,
}

/// Why a command was not carried out, by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Mend the input. Nothing changed.
    #[error("{field}: {reason}")]
    Invalid {
        /// What is wrong.
        field: &'static str,
        /// The rule it breaks, as a text for people.
        reason: String,
    },
    /// What the command names does not exist (or is revoked already). Nothing changed.
    #[error("{what} not found")]
    NotFound {
        /// `Account`, `User`, `API key`, `Token`.
        what: &'static str,
    },
    /// It contradicts what stands, or others changed the same things three times in between. Nothing changed.
    #[error("{reason}")]
    Conflict {
        /// What stands in the way, as a text for people.
        reason: String,
    },
    /// Try again later. Nothing changed.
    #[error("the directory cannot be changed now: {reason}")]
    Unavailable {
        /// What an operator should look at.
        reason: String,
    },
    /// The change may be made or not: look before trying again.
    #[error("it is unknown whether the change was made: {reason}")]
    Unknown {
        /// What an operator should look at.
        reason: String,
    },
    /// The change is made; its audit entry could not be written. A secret that was made is lost: revoke it.
    #[error("the change was made ({id}), but its audit entry could not be written: {reason}")]
    Unaudited {
        /// What was made or changed.
        id: String,
        /// What an operator should look at.
        reason: String,
    },
}
