//! The one entity a command is about: its kind, its id, and its secret if the command makes one.

use bytes::Bytes;
use secrecy::SecretString;

use crate::credential::{self, Made};
use crate::{AccountId, Command, Directory, Kind, SecretSource};

/// The entity a command is about. Made once, however often the command is validated.
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    made: Option<Made>,
}

impl Subject {
    /// Names the entity: the one the command names, or a new one.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub(crate) fn of(command: &Command, source: &dyn SecretSource) -> Result<Self, String> {
        let (kind, id, secret) = match command {
            Command::CreateAccount { account_id: None, .. } => ("account", account_id(source)?, None),
            Command::CreateAccount { account_id: Some(id), .. }
            | Command::CloseAccount { account_id: id }
            | Command::ChangeAccount { account_id: id, .. } => ("account", id.to_string(), None),
            Command::CreateUser { .. } => ("user", unique_id(source)?, None),
            Command::ChangeUser { user_id, .. } => ("user", user_id.clone(), None),
            Command::CreateKey { .. } => ("key", unique_id(source)?, Some(Kind::ApiKey)),
            Command::RevokeKey { key_id } => ("key", key_id.clone(), None),
            Command::CreateToken { .. } => ("token", unique_id(source)?, Some(Kind::Pat)),
            Command::RevokeToken { token_id } => ("token", token_id.clone(), None),
        };
        let made = secret.map(|kind| credential::make(kind, source)).transpose()?;
        Ok(Self { kind, id, made })
    }

    /// What is kept of the secret: its digest and its hint. Empty if the command makes none.
    pub(crate) fn kept(&self) -> (Bytes, String) {
        match &self.made {
            Some(made) => (Bytes::copy_from_slice(made.digest.as_bytes()), made.hint.clone()),
            None => (Bytes::new(), String::new()),
        }
    }

    /// The id, and the secret in clear.
    pub(crate) fn into_parts(self) -> (String, Option<SecretString>) {
        (self.id, self.made.map(|made| made.secret))
    }
}

/// What the command does, as the audit trail names it.
pub(crate) fn action(command: &Command) -> &'static str {
    match command {
        Command::CreateAccount { .. } => "account.create",
        Command::CloseAccount { .. } => "account.close",
        Command::ChangeAccount { .. } => "account.change",
        Command::CreateUser { .. } => "user.create",
        Command::ChangeUser { .. } => "user.change",
        Command::CreateKey { .. } => "key.create",
        Command::RevokeKey { .. } => "key.revoke",
        Command::CreateToken { .. } => "token.create",
        Command::RevokeToken { .. } => "token.revoke",
    }
}

/// The account a command concerns, for the audit trail of one that was refused; `None` if nothing tells.
pub(crate) fn account_of(command: &Command, directory: &Directory) -> Option<AccountId> {
    match command {
        Command::CreateAccount { account_id, .. } => account_id.clone(),
        Command::CloseAccount { account_id }
        | Command::ChangeAccount { account_id, .. }
        | Command::CreateUser { account_id, .. }
        | Command::CreateKey { account_id, .. } => Some(account_id.clone()),
        Command::ChangeUser { user_id, .. } | Command::CreateToken { user_id, .. } => {
            directory.user(user_id).map(|user| user.account.clone())
        }
        Command::RevokeKey { key_id } => directory.key(key_id).map(|key| key.account.clone()),
        Command::RevokeToken { token_id } => directory.token(token_id).map(|token| token.account.clone()),
    }
}

/// A random id: a version 4 UUID.
pub(crate) fn unique_id(source: &dyn SecretSource) -> Result<String, String> {
    let mut bytes = [0; 16];
    source.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// A new account's id: eleven digits, as the SDKs' data files carry them. Should it exist, the command says so.
fn account_id(source: &dyn SecretSource) -> Result<String, String> {
    let mut bytes = [0; 8];
    source.fill(&mut bytes)?;
    Ok((10_000_000_000 + u64::from_le_bytes(bytes) % 90_000_000_000).to_string())
}

/// What was asked for, in words, for the audit trail: the properties that matter to who may do what.
pub(crate) fn detail(command: &Command) -> String {
    match command {
        Command::CreateUser { role, .. } => format!("role={role}"),
        Command::ChangeUser { role, active, password_hash, .. } => {
            let role = role.map(|role| format!("role={role}"));
            let active = active.map(|active| format!("active={active}"));
            let password = password_hash.as_ref().map(|_| "password".to_owned());
            [role, active, password].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Command::CreateKey { profile, scopes, .. } => {
            format!("profile={} scopes={}", profile.name(), profile.scopes(*scopes).names().join(","))
        }
        Command::CreateToken { user_id, .. } => format!("user={user_id}"),
        Command::ChangeAccount { slot_ms, origins, .. } => {
            let slot = slot_ms.map(|slot_ms| format!("slot_ms={slot_ms}"));
            let origins = origins.as_ref().map(|origins| format!("origins={}", origins.join(",")));
            [slot, origins].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Command::CreateAccount { .. }
        | Command::CloseAccount { .. }
        | Command::RevokeKey { .. }
        | Command::RevokeToken { .. } => String::new(),
    }
}
