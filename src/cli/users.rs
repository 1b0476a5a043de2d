//! `millrace users`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandFailure;
use super::directory::{Directory, Kind, Output};
use super::local::Target;

const EXAMPLES: &str = "\
Examples:
  millrace users create --account shop --username ann --email ann@shop.example --role analyst
  millrace users list --account shop
  millrace users revoke USER_ID

A password is made and shown once. Roles: viewer, analyst (fetches exports), developer (makes keys), admin. Revoking deactivates
a user: their tokens are refused at once.";

/// Make, list and deactivate users
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Users {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a user; shows the password, once
    Create {
        /// The account the user belongs to
        #[arg(long, value_name = "ID")]
        account: String,
        /// Unique over all accounts
        #[arg(long)]
        username: String,
        /// Unique over all accounts
        #[arg(long)]
        email: String,
        /// What the user may do
        #[arg(long, default_value = "viewer", value_parser = ["viewer", "analyst", "developer", "admin"])]
        role: String,
    },
    /// List users
    List {
        /// Those of one account
        #[arg(long, value_name = "ID")]
        account: Option<String>,
    },
    /// Deactivate a user
    Revoke {
        /// The user's id
        id: String,
    },
}

const KIND: Kind = Kind {
    path: "/local/users",
    list: "users",
    columns: &["id", "account_id", "username", "email", "role", "is_active", "created_at"],
    secret: Some(("password", "the password")),
    revoked: "deactivated",
};

impl Users {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let directory = Directory::new(&KIND, self.target, self.output);
        match self.action {
            Action::Create { account, username, email, role } => {
                let user = json!({"account_id": account, "username": username, "email": email, "role": role});
                directory.create(user).await
            }
            Action::List { account } => directory.list(account.as_deref()).await,
            Action::Revoke { id } => directory.revoke(&id).await,
        }
    }
}
