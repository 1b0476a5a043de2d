//! What a user's role allows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A user's base role. Ordered: each may at least what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads approved experiments.
    Viewer,
    /// Reads everything but settings, fetches exports.
    Analyst,
    /// Makes experiments, keys and agent tokens.
    Developer,
    /// Everything within the account.
    Admin,
}

impl Role {
    /// Every role, lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Analyst, Self::Developer, Self::Admin];

    /// The role's name in JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }

    /// The role of that name, in any letter case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(name))
    }

    /// Whether the role allows the action.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        self >= action.lowest_role()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something a role may allow. Where the matrix says *own* and *all*, these are two actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See experiments that are approved.
    ViewApprovedExperiments,
    /// See all experiments.
    ViewExperiments,
    /// Fetch exports: mint credentials.
    FetchExports,
    /// Create or update one's own experiments and flags.
    ChangeOwnExperiments,
    /// Create or update anybody's experiments and flags.
    ChangeAnyExperiment,
    /// Create API keys and agent tokens.
    CreateKeys,
    /// Make, list and revoke one's own personal access tokens.
    OwnTokens,
    /// Make, list and revoke anybody's personal access tokens.
    AnyTokens,
    /// View the audit log.
    ViewAudit,
    /// Export the compliance report.
    ExportCompliance,
    /// Manage users and roles.
    ManageUsers,
    /// View one's own permissions.
    ViewOwnPermissions,
    /// View anybody's permissions.
    ViewAnyPermissions,
}

impl Action {
    fn lowest_role(self) -> Role {
        match self {
            Self::ViewApprovedExperiments | Self::OwnTokens | Self::ViewOwnPermissions => Role::Viewer,
            Self::ViewExperiments | Self::FetchExports | Self::ViewAudit => Role::Analyst,
            Self::ChangeOwnExperiments | Self::CreateKeys => Role::Developer,
            Self::ChangeAnyExperiment
            | Self::AnyTokens
            | Self::ExportCompliance
            | Self::ManageUsers
            | Self::ViewAnyPermissions => Role::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of the access rules, a row an action: viewer, analyst, developer, admin.
    const MATRIX: [(Action, [bool; 4]); 13] = [
        (Action::ViewApprovedExperiments, [true, true, true, true]),
        (Action::ViewExperiments, [false, true, true, true]),
        (Action::FetchExports, [false, true, true, true]),
        (Action::ChangeOwnExperiments, [false, false, true, true]),
        (Action::ChangeAnyExperiment, [false, false, false, true]),
        (Action::CreateKeys, [false, false, true, true]),
        (Action::OwnTokens, [true, true, true, true]),
        (Action::AnyTokens, [false, false, false, true]),
        (Action::ViewAudit, [false, true, true, true]),
        (Action::ExportCompliance, [false, false, false, true]),
        (Action::ManageUsers, [false, false, false, true]),
        (Action::ViewOwnPermissions, [true, true, true, true]),
        (Action::ViewAnyPermissions, [false, false, false, true]),
    ];

    #[test]
    fn roles_allow_what_the_matrix_says() {
        for (action, allowed) in MATRIX {
            assert_eq!(Role::ALL.map(|role| role.may(action)), allowed, "{action:?}");
        }
    }

    #[test]
    fn a_roles_name_reads_back_in_any_letter_case() {
        for role in Role::ALL {
            assert_eq!(Role::parse(&role.to_string().to_uppercase()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
