//! `millrace status`: what is in the log, what is visible, how far behind.

use clap::Args;
use http::Method;
use indicatif::{BinaryBytes, HumanCount};

use super::local::Local;
use super::table::table;
use super::{CommandFailure, DataFolder, say};
use crate::status::{AccountStatus, PartitionStatus, Status};

const EXAMPLES: &str = "\
Examples:
  millrace status
  millrace status --json | jq .lag_ms

It asks the running process; if none runs, it opens the folder to look. complete_through is the instant up to which everything an account
sent is in its export. Exit codes: 0 ready (or nothing runs); 1 not ready, or it cannot be told.";

/// Show what is in the log, what is visible, and how far behind it is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    data: DataFolder,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let local = Local::open(&self.data.folder()).await?;
        let answer = local.call(Method::GET, "/local/status", None).await?;
        if self.json {
            say(&format!("{answer}\n"));
        }
        let status: Status = serde_json::from_value(answer).map_err(CommandFailure::new)?;
        if !self.json {
            say(&text(&status));
        }
        if status.ready || !status.running { Ok(()) } else { Err(CommandFailure::new("not ready")) }
    }
}

fn text(status: &Status) -> String {
    let state = match (status.running, status.ready) {
        (false, _) => "nothing runs",
        (true, true) => "ready",
        (true, false) => "NOT READY",
    };
    let mut text = format!("Millrace {} on {}: {state}\n", status.release, status.data);
    for wrong in &status.not_ready {
        text += &format!("  {}: {}\n", wrong.part, wrong.reason);
    }
    let log = &status.log;
    text += &format!("\nLog {}: {} on disk, {} free\n", log.id, BinaryBytes(log.bytes), BinaryBytes(log.free_bytes));
    if let Some(trouble) = &log.trouble {
        text += &format!("  it takes no records: {trouble}\n");
    }
    let topics = log.topics.iter().map(|topic| {
        let last = topic.last_append.clone().unwrap_or_default();
        vec![topic.topic.clone(), topic.partitions.to_string(), HumanCount(topic.records).to_string(), last]
    });
    text += &table(&["topic", "partitions", "records", "last append"], &topics.collect::<Vec<_>>());
    text += "\n";
    text += &table(&["account", "name", "complete through", "behind"], &accounts(status));
    if !status.partitions.is_empty() {
        text += "\n";
        text += &table(&["partition", "unfolded", "held", "unsealed", "behind the log's time"], &partitions(status));
    }
    text
}

fn accounts(status: &Status) -> Vec<Vec<String>> {
    let row = |account: &AccountStatus| {
        let through = account.complete_through.clone().unwrap_or_else(|| "nothing is visible yet".to_owned());
        let behind = account.lag_ms.map(seconds).unwrap_or_default();
        vec![account.account.clone(), account.name.clone(), through, behind]
    };
    status.accounts.iter().map(row).collect()
}

fn partitions(status: &Status) -> Vec<Vec<String>> {
    let row = |partition: &PartitionStatus| {
        vec![
            partition.partition.to_string(),
            partition.raw_end.saturating_sub(partition.folded).to_string(),
            partition.held.to_string(),
            partition.enriched_end.saturating_sub(partition.sealed).to_string(),
            seconds(partition.log_time_ms - partition.sealed_watermark_ms),
        ]
    };
    status.partitions.iter().map(row).collect()
}

fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}
