//! The `millrace` command.

use std::process::ExitCode;

use clap::Parser;
use millrace::cli::Cli;

/// glibc keeps what many threads once used: at a steady load the process grew to half a gigabyte of free memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
