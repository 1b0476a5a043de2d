//! `millrace status`: what is in the log, what is visible, how far behind.

use clap::Args;
use http::Method;
use indicatif::{BinaryBytes, HumanCount};

use super::local::Target;
use super::table::table;
use super::{CommandFailure, say};
use crate::status::{AccountStatus, PartitionStatus, Status, TopicStatus};

const EXAMPLES: &str = "\
Examples:
  millrace status
  millrace status --json | jq .lag_ms
  millrace status --config cluster.toml

It asks the running process; if none runs, it opens the folder to look. Of a cluster it tells what log and store say; how its processes
are, each says at /readyz. complete_through is the instant up to which everything an account sent is in its export.
Exit codes: 0 ready (or nothing runs); 1 not ready, or it cannot be told.";

/// Show what is in the log, what is visible, and how far behind it is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: Target,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let local = self.target.open().await?;
        let answer = local.call(Method::GET, "/local/status", None).await?;
        if self.json {
            say(&format!("{answer}\n"));
        }
        let status: Status = serde_json::from_value(answer).map_err(CommandFailure::new)?;
        if !self.json {
            say(&text(&status));
        }
        match (status.running, status.ready, status.not_ready.is_empty()) {
            (Some(true), Some(false), _) => Err(CommandFailure::new("not ready")),
            (None, _, false) => Err(CommandFailure::new("not everything can be told")),
            _ => Ok(()),
        }
    }
}

fn text(status: &Status) -> String {
    let state = match (status.running, status.ready) {
        (None, _) => "",
        (Some(false), _) => ": nothing runs",
        (Some(true), Some(true)) => ": ready",
        (Some(true), _) => ": NOT READY",
    };
    let mut text = format!("Millrace {} on {}{state}\n", status.release, status.data);
    for wrong in &status.not_ready {
        text += &format!("  {}: {}\n", wrong.part, wrong.reason);
    }
    let log = &status.log;
    text += &format!("\nLog {}", log.id);
    if let (Some(bytes), Some(free_bytes)) = (log.bytes, log.free_bytes) {
        text += &format!(": {} on disk, {} free", BinaryBytes(bytes), BinaryBytes(free_bytes));
    }
    text += "\n";
    if let Some(trouble) = &log.trouble {
        text += &format!("  trouble: {trouble}\n");
    }
    text += &topics(&log.topics);
    if let Some(events) = &status.events {
        let [accepted, duplicate, rejected] =
            [events.accepted, events.duplicate, events.rejected].map(|count| HumanCount(count).to_string());
        text += &format!("\nEvents of {}, as far as sealed: {accepted} accepted, ", events.date);
        text += &format!("{duplicate} duplicate, {rejected} rejected\n");
    }
    text += "\n";
    text += &table(&["account", "name", "complete through", "behind"], &accounts(status));
    if !status.partitions.is_empty() {
        text += "\n";
        text += &table(&["partition", "unfolded", "held", "unsealed", "behind the log's time"], &partitions(status));
    }
    text
}

/// In a cluster nobody knows how many of the positions are records, nor when the last one was appended.
fn topics(topics: &[TopicStatus]) -> String {
    let dated = topics.iter().any(|topic| topic.last_append.is_some());
    let row = |topic: &TopicStatus| {
        let mut row = vec![topic.topic.clone(), topic.partitions.to_string(), HumanCount(topic.records).to_string()];
        row.extend(dated.then(|| topic.last_append.clone().unwrap_or_default()));
        row
    };
    let headings: &[&str] = &["topic", "partitions", "records", "last append"];
    table(&headings[..if dated { 4 } else { 3 }], &topics.iter().map(row).collect::<Vec<_>>())
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
            partition.held.map(|held| held.to_string()).unwrap_or_default(),
            partition.enriched_end.saturating_sub(partition.sealed).to_string(),
            seconds(partition.log_time_ms - partition.sealed_watermark_ms),
        ]
    };
    status.partitions.iter().map(row).collect()
}

fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}
