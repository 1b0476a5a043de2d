//! `millrace keys`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandFailure;
use super::directory::{Directory, Kind, Output};
use super::local::Target;

const EXAMPLES: &str = "\
Examples:
  millrace keys create --account shop --name web --scope write
  millrace keys create --account shop --name etl --scope read --description 'nightly load' --json
  millrace keys list --account shop
  millrace keys revoke KEY_ID

A key whose single scope is write may stand in a page's source: it sends events and does nothing else.";

/// Make, list and revoke API keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; shows it, once
    Create {
        /// The account it belongs to
        #[arg(long, value_name = "ID")]
        account: String,
        /// What people call it
        #[arg(long)]
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// What it may do: write (send events), read (fetch exports); may be given twice
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = ["read", "write"])]
        scopes: Vec<String>,
    },
    /// List keys, never their secrets
    List {
        /// Those of one account
        #[arg(long, value_name = "ID")]
        account: Option<String>,
    },
    /// Revoke a key, for ever
    Revoke {
        /// The key's id
        id: String,
    },
}

const KIND: Kind = Kind {
    path: "/local/keys",
    list: "keys",
    columns: &["id", "account_id", "name", "scopes", "hint", "is_active", "created_at"],
    secret: Some(("key", "the key")),
    revoked: "revoked",
};

impl Keys {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let directory = Directory::new(&KIND, self.target, self.output);
        match self.action {
            Action::Create { account, name, description, scopes } => {
                let mut key = json!({"account_id": account, "name": name, "scopes": scopes});
                if let Some(description) = description {
                    key["description"] = description.into();
                }
                directory.create(key).await
            }
            Action::List { account } => directory.list(account.as_deref()).await,
            Action::Revoke { id } => directory.revoke(&id).await,
        }
    }
}
