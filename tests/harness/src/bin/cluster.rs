//! A cluster on this machine, to look at: `tests/cluster` builds and runs it.
//!
//! What `docker-compose.yml` starts in containers is started as plain processes: three brokers, an S3 server, every role. Ctrl-C ends all.

#![allow(clippy::expect_used, reason = "a cluster that cannot start says so and ends")]

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use millrace_harness::Deployment;
use millrace_harness::deployment::Size;

/// Starts brokers, a store and every role, and prints how to use them.
#[derive(Parser)]
struct Args {
    /// The binary to run.
    #[arg(long, default_value = "target/release/millrace")]
    binary: String,
    /// The repository's folder of tests, where `tests/services/install` has put brokers and store.
    #[arg(long, default_value = "tests")]
    tests: PathBuf,
    /// Where everything is kept; the system's temporary folder unless given, and then it goes at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Brokers: one, or three.
    #[arg(long, default_value_t = 3)]
    brokers: usize,
    /// Processes of each role.
    #[arg(long, default_value_t = 1)]
    of_each: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let home: &Path = args.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(home).with_context(|| home.display().to_string())?;
    let size = Size { brokers: args.brokers, partitions: 8, of_each: args.of_each };
    let deployment = Deployment::start(&args.binary, &args.tests, home, size).await.context("see above")?;
    println!("# The cluster is up; its configuration is {}. For another shell:", deployment.config().display());
    for (name, value) in deployment.team(0).all().filter(|(name, _)| *name != "MILLRACE_API") {
        println!("export {name}='{value}'");
    }
    println!("# Events go to ingest, credentials come from serve:");
    for role in &deployment.roles {
        println!("# {:10} {}", role.name(), role.api());
    }
    println!("# Ctrl-C ends it.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
