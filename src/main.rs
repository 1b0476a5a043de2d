//! The `millrace` command.

use std::process::ExitCode;

use clap::Parser;
use millrace::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
