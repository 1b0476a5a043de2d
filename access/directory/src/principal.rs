//! Who is calling, once a credential has been found good.

use std::sync::Arc;

use serde::Serialize;

use crate::{AccountId, Kind, Role};

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes {
    /// Queries and exports.
    pub read: bool,
    /// Sending events, evaluating flags.
    pub write: bool,
}

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true };

    /// The scopes of these names.
    ///
    /// # Errors
    /// The first name that is no scope.
    pub fn parse<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let mut scopes = Self::default();
        for name in names {
            match name.as_ref() {
                "read" => scopes.read = true,
                "write" => scopes.write = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(scopes)
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [(self.read, "read"), (self.write, "write")].into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }

    /// Whether the single scope is `write`: such a key may stand in a query string, public by nature.
    #[must_use]
    pub fn is_write_only(self) -> bool {
        self.write && !self.read
    }
}

/// What kind of API key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// With the scopes it lists. Active at once.
    Platform,
    /// Every scope, once activated.
    Admin,
    /// The scopes it lists, once activated.
    Integrations,
    /// Read and write, once activated.
    Transactional,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Platform, Self::Admin, Self::Integrations, Self::Transactional];

    /// The profile's name in JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Admin => "admin",
            Self::Integrations => "integrations",
            Self::Transactional => "transactional",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Whether a new key of this profile works without being activated.
    #[must_use]
    pub fn active_at_once(self) -> bool {
        self == Self::Platform
    }

    /// What a key of this profile may do, given the scopes it lists.
    #[must_use]
    pub fn scopes(self, listed: Scopes) -> Scopes {
        match self {
            Self::Platform | Self::Integrations => listed,
            Self::Admin | Self::Transactional => Scopes::ALL,
        }
    }
}

/// The owner of a credential that was found good, as of the directory it was looked up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An API key.
    ApiKey {
        /// The key.
        key_id: Arc<str>,
        /// The account it belongs to.
        account: AccountId,
        /// What kind of key it is.
        profile: Profile,
        /// What it may do.
        scopes: Scopes,
    },
    /// A personal access token. It has its owner's permissions at this moment.
    Pat {
        /// The token.
        token_id: Arc<str>,
        /// Its owner, who is active.
        user_id: Arc<str>,
        /// The owner's account.
        account: AccountId,
        /// The owner's role.
        role: Role,
    },
}

impl Principal {
    /// The account the caller belongs to.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        match self {
            Self::ApiKey { account, .. } | Self::Pat { account, .. } => account,
        }
    }

    /// The kind of credential.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::ApiKey { .. } => Kind::ApiKey,
            Self::Pat { .. } => Kind::Pat,
        }
    }

    /// The id of the credential.
    #[must_use]
    pub fn credential_id(&self) -> &Arc<str> {
        match self {
            Self::ApiKey { key_id, .. } => key_id,
            Self::Pat { token_id, .. } => token_id,
        }
    }

    /// The credential as kept with what it sent: `key:<id>`, `pat:<id>`.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}:{}", self.kind().name(), self.credential_id())
    }
}

/// Why a credential was not accepted. No variant holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such credential, as of the log's end when the request came. Refuse.
    #[error("unknown credential")]
    Unknown {
        /// Its kind, by its form; `None` if it has the form of none.
        kind: Option<Kind>,
    },
    /// The credential exists and may not be used: revoked, not activated, its owner deactivated, its account closed.
    /// Refuse, with the same answer as for an unknown one.
    #[error("inactive credential: {reason}")]
    Inactive {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Arc<str>,
        /// The account it belongs to.
        account: AccountId,
        /// For the audit trail: `revoked`, `not activated`, `user deactivated`, `account closed`.
        reason: &'static str,
    },
    /// It cannot be told now whether the credential is good. Answer 503; the caller may try again.
    #[error("the directory is not up to date: {0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Scopes = Scopes { read: true, write: false };
    const WRITE: Scopes = Scopes { read: false, write: true };

    #[test]
    fn scopes_read_back_and_an_unknown_one_is_named() {
        for scopes in [Scopes::default(), READ, WRITE, Scopes::ALL] {
            assert_eq!(Scopes::parse(scopes.names()), Ok(scopes));
        }
        assert_eq!(Scopes::parse(["read", "admin"]), Err("admin".to_owned()));
        assert!(WRITE.is_write_only() && !READ.is_write_only() && !Scopes::ALL.is_write_only());
    }

    #[test]
    fn a_profile_has_its_own_scopes_or_those_it_lists() {
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.name()), Some(profile));
            let expected = match profile {
                Profile::Platform | Profile::Integrations => READ,
                Profile::Admin | Profile::Transactional => Scopes::ALL,
            };
            assert_eq!(profile.scopes(READ), expected, "{profile:?}");
        }
    }
}
