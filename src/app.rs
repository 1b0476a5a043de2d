//! The whole of Millrace in one process: opened, connected, watched and stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_telemetry::Readiness;
use object_store::ObjectStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connect::connect;
use crate::demo::{Demo, Urls};
use crate::error::{Failure, StartError};
use crate::folder::Folder;
use crate::ground;
use crate::parts::Parts;

/// Where Millrace listens. Bound by the caller, so that a test can have any free port.
#[derive(Debug)]
pub struct Listeners {
    /// For the API.
    pub api: TcpListener,
    /// For the S3 gateway.
    pub s3: TcpListener,
}

impl Listeners {
    /// Binds the configured addresses.
    ///
    /// # Errors
    /// [`StartError::AddressInUse`], or whatever else the system says.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let api = bind(config.listen.api, "--listen").await?;
        let s3 = bind(config.listen.s3, "--s3-listen").await?;
        Ok(Self { api, s3 })
    }

    /// Binds two free ports of the loopback interface.
    ///
    /// # Errors
    /// The system's.
    pub async fn on_free_ports() -> std::io::Result<Self> {
        let free = "127.0.0.1:0";
        Ok(Self { api: TcpListener::bind(free).await?, s3: TcpListener::bind(free).await? })
    }
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address, flag },
        _ => StartError::Other(format!("cannot listen on {address} ({flag}): {error}")),
    })
}

/// What [`connect`] leaves for the process's owner to know.
pub(crate) struct Started {
    pub(crate) urls: Urls,
    pub(crate) demo: Option<Demo>,
    pub(crate) store: Arc<dyn ObjectStore>,
}

/// A running Millrace. Dropped, it goes on; cancel the stop signal it was started with to end it.
pub struct App {
    started: Started,
    readiness: Readiness,
    running: JoinHandle<Result<(), Failure>>,
}

impl App {
    /// Starts everything in the configured data folder; returns once requests are answered.
    ///
    /// After `stop` it takes no more requests, finishes what it took, commits, and lets go of the folder; wait for that
    /// with [`App::finished`].
    ///
    /// # Errors
    /// By what the operator does next. What had been started is stopped.
    pub async fn start(
        config: Config,
        clock: SharedClock,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let folder = Folder::at(&config.data);
        let deadline = config.stop.deadline;
        let readiness = Readiness::new();
        let log = ground::open_log(&folder, &config.log, &clock).await?;
        let mut parts = Parts::new(readiness.clone());
        match connect(config, folder, Arc::clone(&log), clock, listeners, &mut parts).await {
            Ok(started) => {
                let running = tokio::spawn(async move {
                    let ended = parts.run(stop, deadline).await;
                    ground::close_log(log).await;
                    ended
                });
                Ok(Self { started, readiness, running })
            }
            Err(error) => {
                parts.abandon(deadline).await;
                ground::close_log(log).await;
                Err(error)
            }
        }
    }

    /// Where API and gateway are reached from this machine.
    #[must_use]
    pub fn urls(&self) -> &Urls {
        &self.started.urls
    }

    /// The demo account's credentials, if this start made them.
    #[must_use]
    pub fn demo(&self) -> Option<&Demo> {
        self.started.demo.as_ref()
    }

    /// Which parts work.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The object store: segments and exported files.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.started.store
    }

    /// Returns once everything has stopped and the folder is free.
    ///
    /// # Errors
    /// A part failed, or did not stop in time.
    pub async fn finished(self) -> Result<(), Failure> {
        let broken = |error: tokio::task::JoinError| Failure::Part { part: "process", reason: error.to_string() };
        self.running.await.map_err(broken)?
    }
}
