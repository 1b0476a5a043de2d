//! `millrace tokens`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandFailure;
use super::directory::{Directory, Kind, Output};
use super::local::Target;

const EXAMPLES: &str = "\
Examples:
  millrace tokens create --user ann --name laptop
  millrace tokens list --account shop --json
  millrace tokens revoke TOKEN_ID

A personal access token buys export credentials, with its owner's permissions at that moment.";

/// Make, list and revoke personal access tokens
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Tokens {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; shows it, once
    Create {
        /// The owner: id, username or e-mail address
        #[arg(long)]
        user: String,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// List tokens, never their secrets
    List {
        /// Those of one account
        #[arg(long, value_name = "ID")]
        account: Option<String>,
    },
    /// Revoke a token, for ever
    Revoke {
        /// The token's id
        id: String,
    },
}

const KIND: Kind = Kind {
    path: "/local/tokens",
    list: "tokens",
    columns: &["id", "account_id", "user_id", "name", "hint", "is_active", "created_at"],
    secret: Some(("token", "the token")),
    revoked: "revoked",
};

impl Tokens {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let directory = Directory::new(&KIND, self.target, self.output);
        match self.action {
            Action::Create { user, name } => directory.create(json!({"user": user, "name": name})).await,
            Action::List { account } => directory.list(account.as_deref()).await,
            Action::Revoke { id } => directory.revoke(&id).await,
        }
    }
}
