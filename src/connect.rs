//! Connects the services of one process: each gets the log, the store and the directory, and none gets another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use futures::FutureExt;
use millrace_clock::SharedClock;
use millrace_directory::audit::Auditor;
use millrace_directory::mint::ServerKeys;
use millrace_directory::{Node, SecretSource};
use millrace_eventlog::{Log, Topic};
use millrace_schemas::topics;
use object_store::ObjectStore;
use tokio::net::TcpListener;

use crate::demo::Urls;
use crate::error::StartError;
use crate::parts::{Parts, Stage};
use crate::status::Running;

/// What every service stands on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: SharedClock,
    pub(crate) secrets: Arc<dyn SecretSource>,
}

/// A service, with what it needs beside the ground. A process has any of them: `millrace run` all, a role its own.
pub(crate) enum Service {
    /// Segments and Parquet.
    Export { config: millrace_exporter_write::Config, store: Arc<dyn ObjectStore>, node: Arc<Node> },
    /// Outcomes.
    Process { config: millrace_processor::Config, store: Arc<dyn ObjectStore>, state: PathBuf },
    /// Events in.
    Ingest { config: millrace_ingest::Config, node: Arc<Node> },
    /// Credentials, and the gateway.
    Fetch {
        config: millrace_exporter_fetch::Config,
        store: Arc<dyn ObjectStore>,
        node: Arc<Node>,
        keys: ServerKeys,
        gateway: TcpListener,
    },
}

/// Starts the services in the order given: whoever reads should be there before whoever writes. Answers with the routes of the
/// API.
///
/// # Errors
/// The system has no random bytes. What runs already is the caller's to stop.
pub(crate) fn connect(
    ground: &Ground,
    services: Vec<Service>,
    running: &Running,
    parts: &mut Parts,
) -> Result<Router, StartError> {
    let mut api = Router::new();
    for service in services {
        match service {
            Service::Export { config, store, node } => start_exporter(ground, config, store, node, running, parts)?,
            Service::Process { config, store, state } => start_processor(ground, config, state, store, running, parts),
            Service::Ingest { config, node } => {
                let (log, clock) = (Arc::clone(&ground.log), Arc::clone(&ground.clock));
                api = api.merge(millrace_ingest::router(millrace_ingest::Services { log, node, clock, config }));
            }
            Service::Fetch { config, store, node, keys, gateway } => {
                let services = millrace_exporter_fetch::Services {
                    node,
                    auditor: Arc::new(Auditor::new(Arc::clone(&ground.log), Arc::clone(&ground.clock))),
                    store,
                    keys: Arc::new(keys),
                    secrets: Arc::clone(&ground.secrets),
                    clock: Arc::clone(&ground.clock),
                    log_id: ground.log.id().into(),
                    shards: ground.log.partitions(Topic(topics::ENRICHED)),
                    config,
                };
                api = api.merge(millrace_exporter_fetch::api_router(services.clone()));
                let serving = millrace_exporter_fetch::serve_gateway(gateway, services, parts.stop_of(Stage::Doors));
                parts.spawn("gateway", Stage::Doors, serving.map(Ok));
            }
        }
    }
    Ok(api)
}

/// Folds the directory, and follows it until the end.
///
/// # Errors
/// The access topic cannot be read, now or ever.
pub(crate) async fn start_directory(
    ground: &Ground,
    parts: &mut Parts,
) -> Result<Arc<Node>, millrace_directory::StartError> {
    let stop = parts.stop_of(Stage::Ground);
    let node = Node::start(Arc::clone(&ground.log), Arc::clone(&ground.clock), stop.clone()).await?;
    let fresh = Arc::clone(&node);
    parts.readiness().probe("directory", move || fresh.fresh());
    let running = Arc::clone(&node);
    parts.spawn("directory", Stage::Ground, async move {
        tokio::select! {
            () = stop.cancelled() => {}
            // Whom to let in is not known any more, and will not be.
            reason = running.halted() => return Err(reason),
        }
        running.finished().await;
        Ok(())
    });
    Ok(node)
}

fn start_exporter(
    ground: &Ground,
    config: millrace_exporter_write::Config,
    store: Arc<dyn ObjectStore>,
    node: Arc<Node>,
    running: &Running,
    parts: &mut Parts,
) -> Result<(), StartError> {
    let mut writer_id = [0; 16];
    ground.secrets.fill(&mut writer_id).map_err(StartError::Other)?;
    let services = millrace_exporter_write::Services {
        log: Arc::clone(&ground.log),
        store,
        accounts: node,
        clock: Arc::clone(&ground.clock),
        config,
        readiness: parts.readiness(),
        writer_id,
    };
    let (progress, stop) = (Arc::clone(&running.exporter), parts.stop_of(Stage::Exporter));
    parts.spawn(millrace_exporter_write::PART, Stage::Exporter, async move {
        millrace_exporter_write::run(services, progress, stop).await.map_err(|error| error.to_string())
    });
    Ok(())
}

fn start_processor(
    ground: &Ground,
    config: millrace_processor::Config,
    state_dir: PathBuf,
    store: Arc<dyn ObjectStore>,
    running: &Running,
    parts: &mut Parts,
) {
    let services = millrace_processor::Services {
        log: Arc::clone(&ground.log),
        clock: Arc::clone(&ground.clock),
        state_dir,
        store,
        config,
        readiness: parts.readiness(),
    };
    let (progress, stop) = (Arc::clone(&running.processor), parts.stop_of(Stage::Processor));
    let running = millrace_processor::run(services, progress, stop);
    parts.spawn(
        millrace_processor::PART,
        Stage::Processor,
        running.map(|ended| ended.map_err(|error| error.to_string())),
    );
}

/// Clients are sent to the gateway's own address unless another is configured (a proxy's, say).
pub(crate) fn with_own_address(
    mut config: millrace_exporter_fetch::Config,
    gateway: SocketAddr,
) -> millrace_exporter_fetch::Config {
    if config.s3_url.is_empty() {
        config.s3_url = Urls::of(gateway, gateway).s3;
    }
    config
}
