//! The command line: one file per command.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::StartError;

mod accounts;
mod directory;
mod keys;
mod load;
mod local;
mod roles;
mod run;
mod server_keys;
mod signals;
mod status;
mod table;
mod tokens;
mod topics;
mod users;
mod welcome;

const ABOUT: &str = "Takes tracking and decision events in, gives enriched and duplicate-free Parquet out.";

const EXAMPLES: &str = "\
Begin here:
  millrace run                              everything on this machine, in ./millrace-data
  source millrace-data/demo.env             the demo account's credentials for this shell
  millrace status                           what is in the log, what is visible, how far behind
  millrace load --type events --date 2026-11-24 --output export

Operators:
  millrace accounts create --name Shop
  millrace keys create --account shop --name web --scope write
  millrace users create --account shop --username ann --email ann@shop.example --role analyst
  millrace tokens create --user ann --name laptop

Beyond one machine: Kafka, an S3 bucket, and any number of each role (docs/RUNNING_A_CLUSTER.md):
  millrace topics --config cluster.toml             makes the log; safe to run twice
  millrace server-keys create server-keys           what serve signs with
  millrace accounts create --name Shop --config cluster.toml
  millrace ingest | process | export | serve  --config cluster.toml --listen ADDR
  millrace status --config cluster.toml

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong; 3 the data folder is in use;
4 the log is damaged; 5 an address is in use; 6 the disk is full; 7 the topics are not there, or not as they must be;
8 the object store refuses.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about = ABOUT, after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    /// Run one role of a cluster: take events
    #[command(after_help = roles::INGEST_EXAMPLES)]
    Ingest(roles::RoleArgs),
    /// Run one role of a cluster: de-duplicate, sessionise and attribute events
    #[command(after_help = roles::PROCESS_EXAMPLES)]
    Process(roles::RoleArgs),
    /// Run one role of a cluster: make Parquet
    #[command(after_help = roles::EXPORT_EXAMPLES)]
    Export(roles::RoleArgs),
    /// Run one role of a cluster: hand out credentials and files
    #[command(after_help = roles::SERVE_EXAMPLES)]
    Serve(roles::ServeArgs),
    Topics(topics::TopicsArgs),
    ServerKeys(server_keys::ServerKeysArgs),
    Status(status::StatusArgs),
    Load(load::Load),
    Accounts(accounts::Accounts),
    Users(users::Users),
    Keys(keys::Keys),
    Tokens(tokens::Tokens),
}

/// Why a command failed: what to print, and the exit code.
#[derive(Debug)]
struct CommandFailure {
    message: String,
    exit_code: u8,
}

impl CommandFailure {
    fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), exit_code: 1 }
    }
}

impl From<StartError> for CommandFailure {
    fn from(error: StartError) -> Self {
        Self { message: error.to_string(), exit_code: error.exit_code() }
    }
}

impl From<std::io::Error> for CommandFailure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl Cli {
    /// Carries the command out. Says on standard error why, where it fails.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&CommandFailure::new(format!("no threads: {error}"))),
        };
        let outcome = runtime.block_on(async {
            match self.command {
                Command::Run(run) => run.run().await,
                Command::Ingest(role) => role.ingest().await,
                Command::Process(role) => role.process().await,
                Command::Export(role) => role.export().await,
                Command::Serve(role) => role.run().await,
                Command::Topics(topics) => topics.run().await,
                Command::ServerKeys(server_keys) => server_keys.run(),
                Command::Status(status) => status.run().await,
                Command::Load(load) => load.run().await,
                Command::Accounts(accounts) => accounts.run().await,
                Command::Users(users) => users.run().await,
                Command::Keys(keys) => keys.run().await,
                Command::Tokens(tokens) => tokens.run().await,
            }
        });
        // What still blocks (a look-up of a name, say) must not hold the exit up.
        runtime.shutdown_background();
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => fail(&failure),
        }
    }
}

/// An error with what it stems from: "connection refused" is never the outermost.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Writes to standard output. Whoever reads it may have heard enough (`millrace status | head`): that is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn fail(failure: &CommandFailure) -> ExitCode {
    eprintln!("millrace: {}", failure.message);
    ExitCode::from(failure.exit_code)
}
