//! Validates a command against a directory, and writes it down as the fact that would carry it out.

use millrace_schemas::access::{self, Fact, Version, fact};

use crate::change::{profile_in_fact, role_in_fact};
use crate::limits::{KEYS_PER_ACCOUNT_MAX, TOKENS_PER_USER_MAX, USERS_PER_ACCOUNT_MAX};
use crate::subject::Subject;
use crate::{Account, AccountId, Command, CommandError, Directory, Profile, Role, Scopes, User, texts};

type Planned = Result<(AccountId, fact::Change), CommandError>;

/// A valid command, as of one directory.
pub(crate) struct Plan {
    /// The account it concerns.
    pub(crate) account: AccountId,
    /// The fact, without `id`, `made_ms` and `actor`.
    pub(crate) fact: Fact,
}

/// Validates a command.
///
/// # Errors
/// [`CommandError::Invalid`], [`CommandError::NotFound`], [`CommandError::Conflict`]: as of this directory.
pub(crate) fn plan(command: &Command, subject: &Subject, directory: &Directory) -> Result<Plan, CommandError> {
    let mut draft = Draft { directory, relied: Vec::new(), writes: Vec::new() };
    let id = subject.id.as_str();
    let (account, change) = match command {
        Command::CreateAccount { name, .. } => draft.create_account(id, name),
        Command::CloseAccount { account_id } => draft.close_account(account_id),
        Command::ChangeAccount { account_id, slot_ms, origins } => {
            draft.change_account(account_id, *slot_ms, origins.as_deref())
        }
        Command::CreateUser { account_id, username, email, role, password_hash } => {
            draft.create_user(account_id, id, (username, email), *role, password_hash)
        }
        Command::ChangeUser { role, active, password_hash, .. } => {
            draft.change_user(id, *role, *active, password_hash.as_deref())
        }
        Command::CreateKey { account_id, name, description, profile, scopes } => {
            draft.create_key(account_id, subject, (name, description), *profile, *scopes)
        }
        Command::RevokeKey { .. } => draft.revoke_key(id),
        Command::CreateToken { user_id, name } => draft.create_token(user_id, subject, name),
        Command::RevokeToken { .. } => draft.revoke_token(id),
    }?;
    let fact = Fact { relied: draft.relied, writes: draft.writes, change: Some(change), ..Fact::default() };
    Ok(Plan { account, fact })
}

fn not_found<T>(what: &'static str) -> Result<T, CommandError> {
    Err(CommandError::NotFound { what })
}

fn conflict<T>(reason: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Conflict { reason: reason.into() })
}

/// A fact being written. Whatever the validation looks at is relied on.
struct Draft<'a> {
    directory: &'a Directory,
    relied: Vec<Version>,
    writes: Vec<String>,
}

impl<'a> Draft<'a> {
    fn relies(&mut self, kind: &str, id: &str) -> String {
        let entity = format!("{kind}/{id}");
        if !self.relied.iter().any(|relied| relied.entity == entity) {
            self.relied.push(Version { version: self.directory.version(&entity), entity: entity.clone() });
        }
        entity
    }

    fn writes(&mut self, kind: &str, id: &str) {
        let entity = self.relies(kind, id);
        self.writes.push(entity);
    }

    fn open_account(&mut self, id: &AccountId) -> Result<&'a Account, CommandError> {
        self.relies("account", id.as_str());
        match self.directory.account(id) {
            Some(account) if account.closed_ms.is_none() => Ok(account),
            Some(_) => conflict(format!("account {id} is closed")),
            None => not_found("Account"),
        }
    }

    fn present_user(&mut self, id: &str) -> Result<&'a User, CommandError> {
        self.relies("user", id);
        self.directory.user(id).map_or_else(|| not_found("User"), Ok)
    }

    fn create_account(&mut self, id: &str, name: &str) -> Planned {
        texts::name(name)?;
        let Some(account) = AccountId::parse(id) else {
            return Err(CommandError::Invalid { field: "account_id", reason: "is not an account id".into() });
        };
        if self.directory.account(&account).is_some() {
            return conflict(format!("account {id} exists already"));
        }
        self.writes("account", id);
        let created = access::AccountCreated { account_id: id.to_owned(), name: name.to_owned() };
        Ok((account, fact::Change::AccountCreated(created)))
    }

    fn close_account(&mut self, id: &AccountId) -> Planned {
        self.open_account(id)?;
        self.writes("account", id.as_str());
        let closed = access::AccountClosed { account_id: id.to_string() };
        Ok((id.clone(), fact::Change::AccountClosed(closed)))
    }

    fn change_account(&mut self, id: &AccountId, slot_ms: Option<i64>, origins: Option<&[String]>) -> Planned {
        if slot_ms.is_none() && origins.is_none() {
            return Err(CommandError::Invalid { field: "account", reason: "nothing to change".into() });
        }
        slot_ms.map_or(Ok(()), texts::slot_ms)?;
        origins.map_or(Ok(()), texts::origins)?;
        self.open_account(id)?;
        self.writes("account", id.as_str());
        let origins = origins.map(|origins| origins.join(" "));
        let changed = access::AccountChanged { account_id: id.to_string(), slot_ms, origins };
        Ok((id.clone(), fact::Change::AccountChanged(changed)))
    }

    fn create_user(
        &mut self,
        account: &AccountId,
        id: &str,
        (username, email): (&str, &str),
        role: Role,
        password_hash: &str,
    ) -> Planned {
        let (username, email) = (texts::username(username)?, texts::email(email)?);
        texts::password_hash(password_hash)?;
        self.open_account(account)?;
        for (name, what) in [(&username, "username"), (&email, "e-mail address")] {
            if self.directory.user_named(name).is_some() {
                return conflict(format!("the {what} {name} is taken"));
            }
            self.writes("name", name);
        }
        if self.directory.user_count_of(account) >= USERS_PER_ACCOUNT_MAX {
            return conflict(format!("an account has at most {USERS_PER_ACCOUNT_MAX} users"));
        }
        self.writes("user", id);
        let mut created = access::UserCreated {
            user_id: id.to_owned(),
            account_id: account.to_string(),
            username,
            email,
            password_hash: password_hash.to_owned(),
            ..Default::default()
        };
        created.set_role(role_in_fact(role));
        Ok((account.clone(), fact::Change::UserCreated(created)))
    }

    fn change_user(
        &mut self,
        id: &str,
        role: Option<Role>,
        active: Option<bool>,
        password_hash: Option<&str>,
    ) -> Planned {
        if role.is_none() && active.is_none() && password_hash.is_none() {
            return Err(CommandError::Invalid { field: "user", reason: "nothing to change".into() });
        }
        password_hash.map_or(Ok(()), texts::password_hash)?;
        let user = self.present_user(id)?;
        self.open_account(&user.account)?;
        let stays_admin = role.unwrap_or(user.role) == Role::Admin && active.unwrap_or(user.active);
        if is_active_admin(user) && !stays_admin {
            if !self.directory.users_of(&user.account).any(|other| other.id != user.id && is_active_admin(other)) {
                return conflict("the account's last active ADMIN must remain");
            }
            // The rule is about all users of the account: of two such facts at once only one may stand.
            self.writes("account", user.account.as_str());
        }
        self.writes("user", id);
        let mut changed = access::UserChanged {
            user_id: id.to_owned(),
            active,
            password_hash: password_hash.map(str::to_owned),
            ..Default::default()
        };
        if let Some(role) = role {
            changed.set_role(role_in_fact(role));
        }
        Ok((user.account.clone(), fact::Change::UserChanged(changed)))
    }

    fn create_key(
        &mut self,
        account: &AccountId,
        subject: &Subject,
        (name, description): (&str, &str),
        profile: Profile,
        scopes: Scopes,
    ) -> Planned {
        texts::name(name)?;
        texts::description(description)?;
        let scopes = profile.scopes(scopes);
        if scopes == Scopes::default() {
            return Err(CommandError::Invalid { field: "scopes", reason: "at least one of read, write".into() });
        }
        self.open_account(account)?;
        if self.directory.keys_of(account).filter(|key| key.revoked_ms.is_none()).count() >= KEYS_PER_ACCOUNT_MAX {
            return conflict(format!("an account has at most {KEYS_PER_ACCOUNT_MAX} keys that are not revoked"));
        }
        self.writes("key", &subject.id);
        let (secret_hash, hint) = subject.kept();
        let mut created = access::KeyCreated {
            key_id: subject.id.clone(),
            account_id: account.to_string(),
            name: name.to_owned(),
            description: description.to_owned(),
            scopes: scopes.names().into_iter().map(str::to_owned).collect(),
            secret_hash,
            hint,
            ..Default::default()
        };
        created.set_profile(profile_in_fact(profile));
        Ok((account.clone(), fact::Change::KeyCreated(created)))
    }

    fn revoke_key(&mut self, id: &str) -> Planned {
        let Some(key) = self.directory.key(id).filter(|key| key.revoked_ms.is_none()) else {
            return not_found("API key");
        };
        self.writes("key", id);
        let revoked = access::KeyRevoked { key_id: id.to_owned() };
        Ok((key.account.clone(), fact::Change::KeyRevoked(revoked)))
    }

    fn create_token(&mut self, user_id: &str, subject: &Subject, name: &str) -> Planned {
        texts::name(name)?;
        let user = self.present_user(user_id)?;
        self.open_account(&user.account)?;
        if !user.active {
            return conflict(format!("user {} is deactivated", user.username));
        }
        let of_user = |token: &&crate::Token| token.user_id == user.id && token.revoked_ms.is_none();
        if self.directory.tokens_of(&user.account).filter(of_user).count() >= TOKENS_PER_USER_MAX {
            return conflict(format!("a user has at most {TOKENS_PER_USER_MAX} tokens that are not revoked"));
        }
        self.writes("token", &subject.id);
        let (secret_hash, hint) = subject.kept();
        let created = access::TokenCreated {
            token_id: subject.id.clone(),
            account_id: user.account.to_string(),
            user_id: user.id.to_string(),
            name: name.to_owned(),
            secret_hash,
            hint,
        };
        Ok((user.account.clone(), fact::Change::TokenCreated(created)))
    }

    fn revoke_token(&mut self, id: &str) -> Planned {
        let Some(token) = self.directory.token(id).filter(|token| token.revoked_ms.is_none()) else {
            return not_found("Token");
        };
        self.writes("token", id);
        let revoked = access::TokenRevoked { token_id: id.to_owned() };
        Ok((token.account.clone(), fact::Change::TokenRevoked(revoked)))
    }
}

fn is_active_admin(user: &User) -> bool {
    user.active && user.role == Role::Admin
}

#[cfg(test)]
mod tests;
