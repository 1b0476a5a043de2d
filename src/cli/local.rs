//! Talks to a Millrace: to the process that has the data folder, through its control socket while it runs, else by opening
//! the folder; or to a cluster, as one more member that reads its log and appends to it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use clap::Args;
use http::{Method, Request, StatusCode};
use millrace_clock::{SharedClock, SystemClock};
use millrace_directory::{Node, SystemSecrets};
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_eventlog_kafka::KafkaLog;
use millrace_telemetry::Readiness;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{CommandFailure, with_causes};
use crate::cluster::Wholeness;
use crate::config::{Cluster, LogOptions, environment};
use crate::connect::Ground;
use crate::error::StartError;
use crate::folder::Folder;
use crate::limits::CONTROL_WAIT;
use crate::status::{Place, Sources};
use crate::{cluster, control, ground, host};

/// What a cluster's configuration must have for a command.
const CLUSTER_KEYS: [&str; 2] = ["kafka.bootstrap_servers", "store.bucket"];

/// The Millrace to talk to: a data folder; or a cluster, by its configuration file or by the environment alone.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The data folder of the Millrace to talk to [default: ./millrace-data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// The configuration file of the cluster to talk to, instead of a data folder; not needed where the environment has
    /// MILLRACE__KAFKA__BOOTSTRAP_SERVERS
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "data")]
    config: Option<PathBuf>,
}

/// Where this variable is set, commands are about a cluster unless they are told otherwise: in a role's container, say.
const OF_CLUSTER: &str = "MILLRACE__KAFKA__BOOTSTRAP_SERVERS";

impl Target {
    /// Connects to it.
    ///
    /// # Errors
    /// There is none, or it cannot be reached.
    pub(super) async fn open(&self) -> Result<Local, CommandFailure> {
        match (&self.data, &self.config) {
            (Some(data), _) => Local::open(&Folder::at(data)).await,
            (None, Some(config)) => Local::join(Some(config.as_path())).await,
            (None, None) if std::env::var_os(OF_CLUSTER).is_some() => Local::join(None).await,
            (None, None) => Local::open(&Folder::at("./millrace-data")).await,
        }
    }
}

/// A way to the routes below `/local`.
pub(super) enum Local {
    /// A process runs: its socket.
    Process(reqwest::Client),
    /// Nothing runs, or it is a cluster: the log itself, opened for the length of one command.
    Opened(Opened),
}

/// A log opened by this command.
pub(super) struct Opened {
    router: Router,
    node: Arc<Node>,
    log: OpenLog,
    stop: CancellationToken,
}

/// What has to be closed in the end.
enum OpenLog {
    Folder(Arc<EmbeddedLog>),
    Cluster(Arc<KafkaLog>),
}

impl Local {
    /// Connects to the running process, or opens the folder if nothing runs.
    ///
    /// # Errors
    /// There is no Millrace in the folder, or it cannot be opened.
    async fn open(folder: &Folder) -> Result<Self, CommandFailure> {
        let socket = folder.control();
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(_) => {
                let client = reqwest::Client::builder().unix_socket(socket).timeout(CONTROL_WAIT);
                let client = client.user_agent(operator()).build();
                client.map(Self::Process).map_err(CommandFailure::new)
            }
            // Refused: a socket left behind by a process that was killed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Opened::open(folder).await.map(Self::Opened)
            }
            Err(error) => Err(CommandFailure::new(format!("{}: {error}", socket.display()))),
        }
    }

    /// Joins a cluster for the length of one command.
    ///
    /// # Errors
    /// The configuration is wrong, or the cluster cannot be reached.
    async fn join(config: Option<&Path>) -> Result<Self, CommandFailure> {
        let environment = environment().map_err(StartError::from)?;
        let config = Cluster::load(config, environment, &[], &CLUSTER_KEYS).map_err(StartError::from)?;
        Opened::join(&config).await.map(Self::Opened)
    }

    /// Sends one request and answers with the body of its answer; ends the connection.
    ///
    /// # Errors
    /// The answer is an error: its text is what to print.
    pub(super) async fn call(self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CommandFailure> {
        let (status, body) = match self {
            Self::Process(client) => {
                // The host is never looked up: the client has the socket.
                let mut request = client.request(method.clone(), format!("http://localhost{path}"));
                if let Some(body) = body {
                    request = request.json(&body);
                }
                let answer = request.send().await.map_err(|error| unanswered(&method, &error))?;
                (answer.status(), answer.bytes().await.map_err(|error| unanswered(&method, &error))?)
            }
            Self::Opened(opened) => opened.call(method, path, body).await?,
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }
}

/// Who sends a command, for the audit trail.
fn operator() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let told = format!("millrace/{} {user}@{}", env!("CARGO_PKG_VERSION"), host::name());
    told.chars().map(|char| if char == ' ' || char.is_ascii_graphic() { char } else { '?' }).collect()
}

/// No answer, or half of one: what was asked for may have happened.
fn unanswered(method: &Method, error: &reqwest::Error) -> CommandFailure {
    let said = with_causes(error);
    if *method == Method::GET || error.is_connect() {
        return CommandFailure::new(said);
    }
    CommandFailure::new(format!("it is unknown whether the change was made, look before you try again: {said}"))
}

fn refused(status: StatusCode, body: &Value) -> CommandFailure {
    let detail = &body["detail"];
    let said = detail
        .as_str()
        .map(str::to_owned)
        .unwrap_or_else(|| if detail.is_null() { String::new() } else { detail.to_string() });
    if said.is_empty() { CommandFailure::new(status) } else { CommandFailure::new(said) }
}

impl Opened {
    async fn open(folder: &Folder) -> Result<Self, CommandFailure> {
        if !folder.log().is_dir() {
            return Err(CommandFailure::new(format!(
                "there is no Millrace in {}: name its folder with --data, or make one with `millrace run`",
                folder.path().display()
            )));
        }
        let clock = SystemClock::shared();
        let log = ground::open_log(folder, &LogOptions::default(), &clock).await?;
        let stop = CancellationToken::new();
        let store = ground::open_store(folder)?;
        let node = Node::start(log.clone(), clock.clone(), stop.clone()).await.map_err(CommandFailure::new)?;
        let place = Place::Folder { folder: folder.clone(), log: log.clone(), running: None };
        let ground = Ground { log: log.clone(), clock, secrets: Arc::new(SystemSecrets) };
        let router =
            control::router(Sources { place, ground, store, node: Arc::clone(&node), readiness: Readiness::new() });
        Ok(Self { router, node, log: OpenLog::Folder(log), stop })
    }

    async fn join(config: &Cluster) -> Result<Self, CommandFailure> {
        let clock = SystemClock::shared();
        let store = cluster::open_store(&config.store)?;
        let log = cluster::command_log(&config.kafka).await?;
        let stop = CancellationToken::new();
        let node = match Self::directory(&log, &clock, &stop).await {
            Ok(node) => node,
            Err(failure) => {
                log.close().await;
                return Err(failure);
            }
        };
        let place = Place::Cluster { brokers: config.kafka.bootstrap_servers.clone() };
        let ground = Ground { log: log.clone(), clock, secrets: Arc::new(SystemSecrets) };
        let router =
            control::router(Sources { place, ground, store, node: Arc::clone(&node), readiness: Readiness::new() });
        Ok(Self { router, node, log: OpenLog::Cluster(log), stop })
    }

    /// The directory of a log that is whole.
    async fn directory(
        log: &Arc<KafkaLog>,
        clock: &SharedClock,
        stop: &CancellationToken,
    ) -> Result<Arc<Node>, CommandFailure> {
        match cluster::whole_log(log.as_ref()).await.map_err(CommandFailure::new)? {
            Wholeness::Whole => {}
            Wholeness::NotYet { missing, .. } => {
                return Err(StartError::Topics(vec![format!("{missing}: run `millrace topics`")]).into());
            }
            Wholeness::MadeAnew(reason) => return Err(StartError::Topics(vec![reason]).into()),
        }
        Node::start(log.clone(), clock.clone(), stop.clone()).await.map_err(CommandFailure::new)
    }

    async fn call(
        self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, bytes::Bytes), CommandFailure> {
        let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
        let request = request.header("User-Agent", operator());
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).map_err(CommandFailure::new)?;
        let answered = match self.router.oneshot(request).await {
            Ok(answer) => {
                let status = answer.status();
                let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
                body.map(|body| (status, body)).map_err(CommandFailure::new)
            }
            Err(never) => match never {},
        };
        self.stop.cancel();
        self.node.finished().await;
        match self.log {
            OpenLog::Folder(log) => ground::close_log(log).await,
            OpenLog::Cluster(log) => log.close().await,
        }
        answered
    }
}
