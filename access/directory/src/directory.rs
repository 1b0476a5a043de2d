//! The projection: what exists, as of one position of the access topic.

use std::sync::Arc;

use millrace_eventlog::Offset;

use crate::shards::Shards;
use crate::{Account, AccountId, ApiKey, AuthError, Kind, Presented, Principal, Token, User};

/// Accounts, users, keys and tokens as of one position of the access topic. Immutable; cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct Directory {
    pub(crate) position: Offset,
    pub(crate) versions: Shards<Arc<str>, u64>,
    pub(crate) accounts: Shards<AccountId, Arc<Account>>,
    pub(crate) users: Shards<Arc<str>, Arc<User>>,
    pub(crate) keys: Shards<Arc<str>, Arc<ApiKey>>,
    pub(crate) tokens: Shards<Arc<str>, Arc<Token>>,
    /// Usernames and e-mail addresses, in small letters. A username holds no `@`, an address does: they never meet.
    pub(crate) names: Shards<Arc<str>, Arc<str>>,
    pub(crate) credentials: Shards<[u8; 32], Credential>,
    pub(crate) holdings: Shards<AccountId, Holdings>,
}

/// What a digest belongs to.
#[derive(Clone, PartialEq)]
pub(crate) enum Credential {
    Key(Arc<str>),
    Token(Arc<str>),
}

/// The ids of what an account has, in the order of creation.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Holdings {
    pub(crate) users: Arc<Vec<Arc<str>>>,
    pub(crate) keys: Arc<Vec<Arc<str>>>,
    pub(crate) tokens: Arc<Vec<Arc<str>>>,
}

impl Directory {
    /// Everything before this offset of the access topic is in this directory.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Every account, closed ones included, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().map(|(_, account)| account.as_ref())
    }

    /// How many accounts there are, closed ones included.
    #[must_use]
    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// The account of that id.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id).map(Arc::as_ref)
    }

    /// The user of that id.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.get(id).map(Arc::as_ref)
    }

    /// The user of that username or e-mail address, in any letter case.
    #[must_use]
    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.user(self.names.get(name.to_lowercase().as_str())?)
    }

    /// The key of that id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<&ApiKey> {
        self.keys.get(id).map(Arc::as_ref)
    }

    /// The token of that id.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<&Token> {
        self.tokens.get(id).map(Arc::as_ref)
    }

    /// The account's users, oldest first.
    pub fn users_of<'a>(&'a self, account: &AccountId) -> impl Iterator<Item = &'a User> + use<'a> {
        let holdings = self.holdings.get(account).into_iter();
        holdings.flat_map(|holdings| holdings.users.iter()).filter_map(|id| self.user(id))
    }

    /// How many users the account has, deactivated ones included.
    pub(crate) fn user_count_of(&self, account: &AccountId) -> usize {
        self.holdings.get(account).map_or(0, |holdings| holdings.users.len())
    }

    /// The account's keys, oldest first, revoked ones included.
    pub fn keys_of<'a>(&'a self, account: &AccountId) -> impl Iterator<Item = &'a ApiKey> + use<'a> {
        let holdings = self.holdings.get(account).into_iter();
        holdings.flat_map(|holdings| holdings.keys.iter()).filter_map(|id| self.key(id))
    }

    /// The account's tokens, oldest first, revoked ones included.
    pub fn tokens_of<'a>(&'a self, account: &AccountId) -> impl Iterator<Item = &'a Token> + use<'a> {
        let holdings = self.holdings.get(account).into_iter();
        holdings.flat_map(|holdings| holdings.tokens.iter()).filter_map(|id| self.token(id))
    }

    /// The present version of an entity; 0 if it does not exist.
    pub(crate) fn version(&self, entity: &str) -> u64 {
        self.versions.get(entity).copied().unwrap_or_default()
    }

    /// Who presented the credential, as of this directory.
    ///
    /// # Errors
    /// [`AuthError::Unknown`] or [`AuthError::Inactive`], as of this directory; a later one may know the credential.
    pub fn look_up(&self, presented: &Presented) -> Result<Principal, AuthError> {
        let unknown = || AuthError::Unknown { kind: presented.kind() };
        let (digest, credential) = match presented.digest() {
            Some(digest) => (digest, self.credentials.get(digest.as_bytes()).ok_or_else(unknown)?),
            None => return Err(unknown()),
        };
        // The map found it by the digest; comparing the kept one decides, in constant time.
        match (presented.kind(), credential) {
            (Some(Kind::ApiKey), Credential::Key(id)) => {
                let key = self.key(id).filter(|key| key.digest == *digest).ok_or_else(unknown)?;
                self.principal_of_key(key)
            }
            (Some(Kind::Pat), Credential::Token(id)) => {
                let token = self.token(id).filter(|token| token.digest == *digest).ok_or_else(unknown)?;
                self.principal_of_token(token)
            }
            _ => Err(unknown()),
        }
    }

    fn principal_of_key(&self, key: &ApiKey) -> Result<Principal, AuthError> {
        let inactive = |reason| AuthError::Inactive {
            kind: Kind::ApiKey,
            id: key.id.clone(),
            account: key.account.clone(),
            reason,
        };
        if key.revoked_ms.is_some() {
            return Err(inactive("revoked"));
        }
        if !key.active {
            return Err(inactive("not activated"));
        }
        if !self.is_open(&key.account) {
            return Err(inactive("account closed"));
        }
        Ok(Principal::ApiKey {
            key_id: key.id.clone(),
            account: key.account.clone(),
            profile: key.profile,
            scopes: key.profile.scopes(key.scopes),
        })
    }

    fn principal_of_token(&self, token: &Token) -> Result<Principal, AuthError> {
        let inactive = |reason| AuthError::Inactive {
            kind: Kind::Pat,
            id: token.id.clone(),
            account: token.account.clone(),
            reason,
        };
        if token.revoked_ms.is_some() {
            return Err(inactive("revoked"));
        }
        let Some(user) = self.user(&token.user_id).filter(|user| user.active) else {
            return Err(inactive("user deactivated"));
        };
        if !self.is_open(&user.account) {
            return Err(inactive("account closed"));
        }
        Ok(Principal::Pat {
            token_id: token.id.clone(),
            user_id: user.id.clone(),
            account: user.account.clone(),
            role: user.role,
        })
    }

    fn is_open(&self, account: &AccountId) -> bool {
        self.account(account).is_some_and(|account| account.closed_ms.is_none())
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("position", &self.position)
            .field("accounts", &self.accounts.len())
            .field("users", &self.users.len())
            .field("keys", &self.keys.len())
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}
