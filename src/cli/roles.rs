//! `millrace ingest`, `process`, `export`, `serve`: one role of a cluster each.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use millrace_clock::SystemClock;
use millrace_telemetry::start_logs;
use tokio_util::sync::CancellationToken;

use super::CommandFailure;
use super::signals::Signals;
use crate::app::bind;
use crate::cluster::{Role, run_role};
use crate::config::{Cluster, Flag, environment};
use crate::error::StartError;

pub(super) const INGEST_EXAMPLES: &str = "\
Examples:
  millrace ingest --config cluster.toml --listen 0.0.0.0:8080
  millrace ingest --config cluster.toml --instance ingest-2 --listen 127.0.0.1:8081

POST /v1/events, /api/v1/tracking/track and /batch. A 2xx means: in the log, on every in-sync broker. Put any number behind a load
balancer that asks /readyz. Before the first start: `millrace topics`, then `millrace accounts create`, `millrace keys create`.";

pub(super) const PROCESS_EXAMPLES: &str = "\
Examples:
  millrace process --config cluster.toml --listen 0.0.0.0:8082

The partitions of the log are shared among all that run. Its folder (processor.state) may be lost: that costs time, no row. It listens
for /livez, /readyz and /metrics.";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  millrace export --config cluster.toml --listen 0.0.0.0:8083

Makes Parquet in the bucket, at most one file of a name, whoever makes it. It keeps nothing on its disk, and listens for /livez, /readyz and
/metrics.";

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  millrace server-keys create /etc/millrace/server-keys
  millrace serve --config cluster.toml --listen 0.0.0.0:8080 --s3-listen 0.0.0.0:9000

GET /v2/export/credentials and /v2/export/status, and the S3 gateway. All that run need the same server keys.";

/// What all roles take.
#[derive(Debug, Args)]
pub(super) struct RoleArgs {
    /// The cluster's configuration file: examples/cluster.toml has every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where its HTTP side listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// What this process is called, after a restart too [default: host name and role]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// One broker is enough: what it loses is lost
    #[arg(long)]
    dev: bool,
    /// The form of log lines: auto (text on a terminal, else json), json or text
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// Where the S3 gateway listens [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    s3_listen: Option<SocketAddr>,
}

const LOG: &str = "kafka.bootstrap_servers";
const STORE: &str = "store.bucket";

impl RoleArgs {
    fn flags(&self) -> Vec<Flag> {
        [
            ("--listen", "listen.api", self.listen.map(|address| address.to_string())),
            ("--instance", "kafka.instance", self.instance.clone()),
            ("--dev", "kafka.dev", self.dev.then(|| "true".to_owned())),
            ("--log-format", "logs.format", self.log_format.clone()),
        ]
        .into_iter()
        .filter_map(|(name, key, value)| Some(Flag { name, key, value: value? }))
        .collect()
    }

    pub(super) async fn ingest(self) -> Result<(), CommandFailure> {
        self.run(&[LOG], Role::Ingest).await
    }

    pub(super) async fn process(self) -> Result<(), CommandFailure> {
        self.run(&[LOG, STORE], Role::Process).await
    }

    pub(super) async fn export(self) -> Result<(), CommandFailure> {
        self.run(&[LOG, STORE], Role::Export).await
    }

    async fn run(self, needed: &[&'static str], role: Role) -> Result<(), CommandFailure> {
        let environment = environment().map_err(StartError::from)?;
        let config =
            Cluster::load(self.config.as_deref(), environment, &self.flags(), needed).map_err(StartError::from)?;
        run(role, config).await
    }
}

impl ServeArgs {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let mut flags = self.role.flags();
        let s3_listen = self.s3_listen.map(|address| address.to_string());
        flags.extend(s3_listen.map(|value| Flag { name: "--s3-listen", key: "listen.s3", value }));
        let needed = [LOG, STORE, "serve.server_keys"];
        let environment = environment().map_err(StartError::from)?;
        let config =
            Cluster::load(self.role.config.as_deref(), environment, &flags, &needed).map_err(StartError::from)?;
        let gateway = bind(config.listen.s3, "--s3-listen").await?;
        let role = Role::serve(&config, gateway)?;
        run(role, config).await
    }
}

async fn run(role: Role, config: Cluster) -> Result<(), CommandFailure> {
    start_logs(config.logs.format, &config.logs.filter).map_err(CommandFailure::new)?;
    let signals = Signals::new()?;
    let api = bind(config.listen.api, "--listen").await?;
    let stop = CancellationToken::new();
    let stopping = tokio::spawn(signals.stop(stop.clone()));
    let ended = run_role(role, config, SystemClock::shared(), api, stop).await;
    stopping.abort();
    Ok(ended?)
}
