//! The command line: one file per command.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::StartError;
use crate::folder::Folder;

mod accounts;
mod directory;
mod keys;
mod load;
mod local;
mod run;
mod status;
mod table;
mod tokens;
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

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong; 3 the data folder is in use;
4 the log is damaged; 5 an address is in use; 6 the disk is full.";

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
    Status(status::StatusArgs),
    Load(load::Load),
    Accounts(accounts::Accounts),
    Users(users::Users),
    Keys(keys::Keys),
    Tokens(tokens::Tokens),
}

/// The data folder, for commands that talk to the process that has it.
#[derive(Debug, Clone, Args)]
struct DataFolder {
    /// The data folder of the Millrace to talk to
    #[arg(long, value_name = "DIR", default_value = "./millrace-data", global = true)]
    data: PathBuf,
}

impl DataFolder {
    fn folder(&self) -> Folder {
        Folder::at(&self.data)
    }
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

/// Writes to standard output. Whoever reads it may have heard enough (`millrace status | head`): that is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn fail(failure: &CommandFailure) -> ExitCode {
    eprintln!("millrace: {}", failure.message);
    ExitCode::from(failure.exit_code)
}
