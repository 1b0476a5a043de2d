//! `millrace run`: everything in one process.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use millrace_clock::SystemClock;
use millrace_telemetry::start_logs;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{CommandFailure, say, welcome};
use crate::app::{App, Listeners};
use crate::config::{Config, Flag, Span, environment};
use crate::error::StartError;
use crate::folder::Folder;

const EXAMPLES: &str = "\
Examples:
  millrace run
  millrace run --data /var/lib/millrace --listen 0.0.0.0:8080 --s3-listen 0.0.0.0:9000
  millrace run --config millrace.toml
  MILLRACE__EXPORT__SLOT=1m millrace run

Settings: a TOML file (--config; examples/millrace.toml has every key), environment variables MILLRACE__SECTION__KEY
over it, flags over both. SIGTERM or Ctrl-C finishes what was taken and stops; a second one stops at once.";

/// Run everything in one process, on an embedded log and a local folder
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for log, state and export [default: ./millrace-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the S3 gateway listens [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    s3_listen: Option<SocketAddr>,
    /// How much log time becomes visible at once [default: 10s]
    #[arg(long, value_name = "DURATION")]
    slot: Option<Span>,
    /// How long a conversion waits for its decision [default: 5s]; kept in the log
    #[arg(long, value_name = "DURATION")]
    grace: Option<Span>,
    /// How long rows wait before they are sealed [default: 2s]
    #[arg(long, value_name = "DURATION")]
    seal_age: Option<Span>,
    /// The form of log lines: auto (text on a terminal, else json), json or text
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// You have looked: the machine's clock is right, however far it is from the log's last record
    #[arg(long)]
    confirm_clock: bool,
}

impl Run {
    fn flags(&self) -> Vec<Flag> {
        let text = |value: &Option<Span>| value.map(|span| span.to_string());
        let address = |value: &Option<SocketAddr>| value.map(|address| address.to_string());
        [
            ("--data", "data", self.data.as_ref().map(|path| path.display().to_string())),
            ("--listen", "listen.api", address(&self.listen)),
            ("--s3-listen", "listen.s3", address(&self.s3_listen)),
            ("--slot", "export.slot", text(&self.slot)),
            ("--grace", "attribution.grace", text(&self.grace)),
            ("--seal-age", "export.seal_age", text(&self.seal_age)),
            ("--log-format", "logs.format", self.log_format.clone()),
        ]
        .into_iter()
        .filter_map(|(name, key, value)| Some(Flag { name, key, value: value? }))
        .collect()
    }

    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let environment = environment().map_err(StartError::from)?;
        let mut config = Config::load(self.config.as_deref(), environment, &self.flags()).map_err(StartError::from)?;
        config.log.confirm_clock = self.confirm_clock;
        start_logs(config.logs.format, &config.logs.filter).map_err(CommandFailure::new)?;
        let signals = Signals::new()?;
        let listeners = Listeners::bind(&config.listen).await?;
        let folder = Folder::at(&config.data);
        let stop = CancellationToken::new();
        let stopping = tokio::spawn(signals.stop(stop.clone()));
        let app = App::start(config, SystemClock::shared(), listeners, stop).await?;
        say(&welcome::text(&app, &folder));
        let ended = app.finished().await;
        stopping.abort();
        ended.map_err(CommandFailure::new)
    }
}
