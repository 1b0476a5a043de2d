//! The decision: may this caller read this scope, now?

use millrace_schemas::layout::ExportType;

use crate::scope::Scope;
use crate::{Action, Principal, Profile};

/// A scope that somebody may read. Made only by [`Grant::authorise`]; good for one minting.
#[derive(Debug)]
pub struct Grant {
    scope: Scope,
}

/// Why a caller may not read a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The scope is another account's.
    #[error("the credential belongs to another account")]
    OtherAccount,
    /// The owner's role does not fetch exports.
    #[error("the user's role may not fetch exports")]
    Role,
    /// The owner's role, or the key, does not see this type.
    #[error("the credential may not read this type")]
    Type,
    /// The API key's scopes do not hold `read`.
    #[error("the API key does not have the scope read")]
    KeyWithoutRead,
}

impl Grant {
    /// Allows or denies, by what the caller is at this moment: their own account only; people whose role fetches
    /// exports, keys that have `read`; the audit trail only to roles that view it and to keys of the profile admin.
    ///
    /// # Errors
    /// [`Denied`] says why.
    pub fn authorise(scope: Scope, principal: &Principal) -> Result<Self, Denied> {
        if scope.account() != principal.account() {
            return Err(Denied::OtherAccount);
        }
        let is_audit = scope.export() == Some(ExportType::Audit);
        match principal {
            Principal::Pat { role, .. } if !role.may(Action::FetchExports) => Err(Denied::Role),
            Principal::Pat { role, .. } if is_audit && !role.may(Action::ViewAudit) => Err(Denied::Type),
            Principal::ApiKey { scopes, .. } if !scopes.read => Err(Denied::KeyWithoutRead),
            Principal::ApiKey { profile, .. } if is_audit && *profile != Profile::Admin => Err(Denied::Type),
            Principal::Pat { .. } | Principal::ApiKey { .. } => Ok(Self { scope }),
        }
    }

    /// What is granted.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn into_scope(self) -> Scope {
        self.scope
    }
}
