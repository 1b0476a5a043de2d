//! Talks to the Millrace that has a data folder: through its control socket while it runs, else by opening the folder.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use millrace_clock::SystemClock;
use millrace_directory::Node;
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_telemetry::Readiness;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::CommandFailure;
use crate::config::LogOptions;
use crate::connect::local_routes;
use crate::folder::Folder;
use crate::ground;
use crate::limits::CONTROL_WAIT;

/// A way to the routes below `/local`.
pub(super) enum Local {
    /// A process runs: its socket.
    Process(reqwest::Client),
    /// Nothing runs: the folder itself, opened for the length of one command.
    Folder(Opened),
}

/// A folder opened by this command.
pub(super) struct Opened {
    router: Router,
    node: Arc<Node>,
    log: Arc<EmbeddedLog>,
    stop: CancellationToken,
}

impl Local {
    /// Connects to the running process, or opens the folder if nothing runs.
    ///
    /// # Errors
    /// There is no Millrace in the folder, or it cannot be opened.
    pub(super) async fn open(folder: &Folder) -> Result<Self, CommandFailure> {
        let socket = folder.control();
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(_) => {
                let client = reqwest::Client::builder().unix_socket(socket).timeout(CONTROL_WAIT).build();
                client.map(Self::Process).map_err(CommandFailure::new)
            }
            // Refused: a socket left behind by a process that was killed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Opened::open(folder).await.map(Self::Folder)
            }
            Err(error) => Err(CommandFailure::new(format!("{}: {error}", socket.display()))),
        }
    }

    /// Sends one request and answers with the body of its answer; ends the connection.
    ///
    /// # Errors
    /// The answer is an error: its text is what to print.
    pub(super) async fn call(self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CommandFailure> {
        let (status, body) = match self {
            Self::Process(client) => {
                // The host is never looked up: the client has the socket.
                let mut request = client.request(method, format!("http://localhost{path}"));
                if let Some(body) = body {
                    request = request.json(&body);
                }
                let answer = request.send().await.map_err(CommandFailure::new)?;
                (answer.status(), answer.bytes().await.map_err(CommandFailure::new)?)
            }
            Self::Folder(opened) => opened.call(method, path, body).await?,
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }
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
        let router = local_routes(folder, &log, &store, &node, None, &Readiness::new(), clock);
        Ok(Self { router, node, log, stop })
    }

    async fn call(
        self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, bytes::Bytes), CommandFailure> {
        let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
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
        ground::close_log(self.log).await;
        answered
    }
}
