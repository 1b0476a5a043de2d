//! `millrace server-keys`: the file that every `serve` of a cluster signs with.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use millrace_clock::SystemClock;
use millrace_directory::mint::{KEY_ENTROPY_BYTES, ServerKeys};
use millrace_directory::{ExposeSecret, SecretSource, SystemSecrets};

use super::{CommandFailure, say};
use crate::folder::write_private;
use crate::limits::SERVER_KEYS_ROLL_OUT;
use crate::server_keys::load;

const EXAMPLES: &str = "\
Examples:
  millrace server-keys create /etc/millrace/server-keys

Every serve reads the same file, at its start. To change the key without refusing anybody:
  millrace server-keys announce FILE     adds a key that is accepted and does not sign yet
  (give the file to every serve, and restart them one by one)
  millrace server-keys rotate FILE       it signs; the one before is accepted until its last credential is over
  (give the file to every serve, and restart them one by one)

Whoever has the file can read every export. If it leaked: `create` a new one, and restart all at once; credentials that are out end.";

/// Make and change the keys that sign export credentials
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServerKeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a file with one key; a file that is there is left alone
    Create {
        /// The file
        file: PathBuf,
    },
    /// Add a key that is accepted and does not sign yet
    Announce {
        /// The file
        file: PathBuf,
    },
    /// Let the announced key sign
    Rotate {
        /// The file
        file: PathBuf,
    },
}

impl ServerKeysArgs {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        match self.action {
            Action::Create { file } => {
                if file.exists() {
                    let file = file.display();
                    return Err(CommandFailure::new(format!("{file} is there already: it may be in use; it stays")));
                }
                let keys = ServerKeys::generate(entropy()?).map_err(CommandFailure::new)?;
                write(&file, &keys, "has one key, which signs")
            }
            Action::Announce { file } => {
                let keys = load(&file)?.announce(entropy()?).map_err(CommandFailure::new)?;
                write(&file, &keys, "has a key more, which is accepted and does not sign yet")
            }
            Action::Rotate { file } => {
                let keys = {
                    let now_ms = SystemClock::shared().now_ms();
                    let retired_ms = now_ms + i64::try_from(SERVER_KEYS_ROLL_OUT.as_millis()).unwrap_or(i64::MAX);
                    load(&file)?.rotate(now_ms, retired_ms).map_err(CommandFailure::new)?
                };
                write(&file, &keys, "signs with the announced key")
            }
        }
    }
}

fn entropy() -> Result<[u8; KEY_ENTROPY_BYTES], CommandFailure> {
    let mut entropy = [0; KEY_ENTROPY_BYTES];
    SystemSecrets.fill(&mut entropy).map_err(CommandFailure::new)?;
    Ok(entropy)
}

fn write(file: &Path, keys: &ServerKeys, done: &str) -> Result<(), CommandFailure> {
    write_private(file, keys.to_secret_text().expose_secret().as_bytes())
        .map_err(|error| CommandFailure::new(format!("{}: {error}", file.display())))?;
    say(&format!("{} {done}. Whoever has it can read every export.\n", file.display()));
    Ok(())
}
