//! `millrace accounts`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandFailure;
use super::directory::{Directory, Kind, Output};
use super::local::Target;
use crate::config::Span;

const EXAMPLES: &str = "\
Examples:
  millrace accounts create --name Shop
  millrace accounts create --id shop --name Shop
  millrace accounts change shop --origin https://shop.example --origin https://www.shop.example
  millrace accounts list --json
  millrace accounts revoke shop

Revoking closes an account: its keys and tokens are refused at once, its last day is today, its files stay.";

/// Make, change, list and close accounts
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
    /// Change an account's settings; what is not named stays
    #[command(group = clap::ArgGroup::new("changes").required(true).multiple(true))]
    Change {
        /// The account's id
        id: String,
        /// An origin browsers may send JSON from, like https://shop.example; repeat it for all there are to be
        #[arg(long = "origin", value_name = "ORIGIN", group = "changes")]
        origins: Vec<String>,
        /// Browsers may send JSON from no other origin than the API's own
        #[arg(long, group = "changes", conflicts_with = "origins")]
        no_origins: bool,
        /// How much log time becomes visible at once, from the next day on: 10s, 1m, 5m, 15m, 1h or 6h; 0s: the plan's choice
        #[arg(long, value_name = "DURATION", group = "changes")]
        slot: Option<Span>,
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
    columns: &["id", "name", "created_at", "closed_at", "origins"],
    secret: None,
    revoked: "closed",
};

impl Accounts {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let directory = Directory::new(&KIND, self.target, self.output);
        match self.action {
            Action::Create { name, id } => directory.create(json!({"name": name, "id": id})).await,
            Action::Change { id, origins, no_origins, slot } => {
                let origins = (no_origins || !origins.is_empty()).then_some(origins);
                let slot_ms = slot.map(|Span(slot)| i64::try_from(slot.as_millis()).unwrap_or(i64::MAX));
                directory.change(&id, json!({"origins": origins, "slot_ms": slot_ms})).await
            }
            Action::List => directory.list(None).await,
            Action::Revoke { id } => directory.revoke(&id).await,
        }
    }
}
