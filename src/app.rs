//! The whole of Millrace in one process: opened, connected, watched and stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use millrace_clock::SharedClock;
use millrace_directory::SystemSecrets;
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_telemetry::{Readiness, Requests};
use object_store::ObjectStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listen};
use crate::connect::{Ground, Service, connect, start_directory, with_own_address};
use crate::demo::{Demo, Urls};
use crate::door::Door;
use crate::error::{Failure, StartError};
use crate::folder::Folder;
use crate::parts::{Parts, Stage};
use crate::serve::serve;
use crate::status::{Place, Running, Sources};
use crate::trim::Trimming;
use crate::{control, demo, ground, server_keys, settings};

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
    pub async fn bind(listen: &Listen) -> Result<Self, StartError> {
        let api = bind(listen.api, "--listen").await?;
        let s3 = bind(listen.s3, "--s3-listen").await?;
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

    fn addresses(&self) -> Result<(SocketAddr, SocketAddr), StartError> {
        let unknown = |error: std::io::Error| StartError::Other(format!("a listener without an address: {error}"));
        Ok((self.api.local_addr().map_err(unknown)?, self.s3.local_addr().map_err(unknown)?))
    }
}

/// Binds one address; `flag` is what sets it.
pub(crate) async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address, flag },
        _ => StartError::Other(format!("cannot listen on {address} ({flag}): {error}")),
    })
}

/// What a start leaves for the process's owner to know.
struct Started {
    urls: Urls,
    demo: Option<Demo>,
    store: Arc<dyn ObjectStore>,
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
        match start_all(config, folder, Arc::clone(&log), clock, listeners, &mut parts).await {
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

/// Starts everything. The door opens last, so the first request finds everything in place.
async fn start_all(
    config: Config,
    folder: Folder,
    log: Arc<EmbeddedLog>,
    clock: SharedClock,
    listeners: Listeners,
    parts: &mut Parts,
) -> Result<Started, StartError> {
    let recorder = parts.keep_metrics(&clock)?;
    let (api_address, s3_address) = listeners.addresses()?;
    let urls = Urls::of(api_address, s3_address);
    let trouble = Arc::clone(&log);
    parts.readiness().probe("log", move || trouble.trouble().map_or(Ok(()), Err));
    let ground = Ground { log: log.clone(), clock: Arc::clone(&clock), secrets: Arc::new(SystemSecrets) };
    let store = ground::open_store(&folder)?;
    let node = start_directory(&ground, parts)
        .await
        .map_err(|error| StartError::Other(format!("the directory cannot be folded: {error}")))?;
    settings::prepare(log.as_ref(), clock.as_ref(), &config.rules).await?;
    let bucket = config.fetch.bucket.clone();
    let services = vec![
        Service::Export { config: config.export, store: Arc::clone(&store), node: Arc::clone(&node) },
        Service::Process { config: config.processor, store: Arc::clone(&store), state: folder.state() },
        Service::Ingest { config: config.ingest, node: Arc::clone(&node) },
        Service::Fetch {
            config: with_own_address(config.fetch, s3_address),
            store: Arc::clone(&store),
            node: Arc::clone(&node),
            keys: server_keys::load_or_make(&folder.server_keys(), ground.secrets.as_ref())?,
            gateway: listeners.s3,
        },
    ];
    let running = Arc::new(Running::default());
    let api = connect(&ground, services, &running, parts)?;
    let trimming = Trimming {
        log: Arc::clone(&log),
        raw_retention: config.raw_retention,
        running: Arc::clone(&running),
        clock: Arc::clone(&clock),
    };
    parts.spawn("retention", Stage::Ground, trimming.run(parts.stop_of(Stage::Ground)).map(Ok));
    let demo = demo::prepare(&folder, &node, &ground.secrets, &bucket, &urls).await?;

    let door = Door::new(Requests::new(Arc::clone(&clock), "api"));
    door.open(api);
    let serving = serve(listeners.api, door.router(parts.readiness(), recorder), parts.stop_of(Stage::Doors));
    parts.spawn("api", Stage::Doors, serving.map(Ok));
    let socket = control::bind(&folder)?;
    let place = Place::Folder { folder: folder.clone(), log, running: Some(running) };
    let sources = Sources { place, ground, store: Arc::clone(&store), node, readiness: parts.readiness() };
    // Before the directory stops: a command under way is to hear what became of it.
    let serving = control::serve(socket, control::router(sources), folder, parts.stop_of(Stage::Exporter));
    parts.spawn("control", Stage::Exporter, serving);
    Ok(Started { urls, demo, store })
}
