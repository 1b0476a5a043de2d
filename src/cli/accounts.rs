//! `millrace accounts`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandFailure;
use super::directory::{Directory, Kind, Output};
use super::local::Target;

const EXAMPLES: &str = "\
Examples:
  millrace accounts create --name Shop
  millrace accounts create --id shop --name Shop
  millrace accounts list --json
  millrace accounts revoke shop

Revoking closes an account: its keys and tokens are refused at once, its last day is today, its files stay.";

/// Make, list and close accounts
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Accounts {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an account
    Create {
        /// What people call it
        #[arg(long)]
        name: String,
        /// Its id: letters, digits, - and _; made if not given
        #[arg(long)]
        id: Option<String>,
    },
    /// List all accounts
    List,
    /// Close an account, for ever
    Revoke {
        /// The account's id
        id: String,
    },
}

const KIND: Kind = Kind {
    path: "/local/accounts",
    list: "accounts",
    columns: &["id", "name", "created_at", "closed_at"],
    secret: None,
    revoked: "closed",
};

impl Accounts {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let directory = Directory::new(&KIND, self.target, self.output);
        match self.action {
            Action::Create { name, id } => directory.create(json!({"name": name, "id": id})).await,
            Action::List => directory.list(None).await,
            Action::Revoke { id } => directory.revoke(&id).await,
        }
    }
}
