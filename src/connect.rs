//! Connects the services of one process: each gets the log, the store and the directory, and none gets another.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::FutureExt;
use millrace_access_api::local_router;
use millrace_clock::SharedClock;
use millrace_directory::audit::Auditor;
use millrace_directory::{Node, SecretSource, SystemSecrets};
use millrace_eventlog::embedded::EmbeddedLog;
use millrace_eventlog::{Log, Topic};
use millrace_schemas::topics;
use millrace_telemetry::{Readiness, Recorder, Requests, ops_router, request_layer};
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::app::{Listeners, Started};
use crate::config::Config;
use crate::demo::{self, Urls};
use crate::error::StartError;
use crate::folder::Folder;
use crate::parts::{Parts, Stage};
use crate::serve::serve;
use crate::status::{Running, Sources};
use crate::trim::Trimming;
use crate::{control, ground, server_keys, settings};

/// What the services share.
struct Shared {
    folder: Folder,
    log: Arc<EmbeddedLog>,
    store: Arc<dyn ObjectStore>,
    node: Arc<Node>,
    auditor: Arc<Auditor>,
    secrets: Arc<dyn SecretSource>,
    clock: SharedClock,
    readiness: Readiness,
}

/// Starts the services in the order in which data walks backwards: whoever reads is there before whoever writes. The doors
/// open last, so the first request finds everything in place.
///
/// # Errors
/// By what the operator does next; parts that run already are the caller's to stop.
pub(crate) async fn connect(
    config: Config,
    folder: Folder,
    log: Arc<EmbeddedLog>,
    clock: SharedClock,
    listeners: Listeners,
    parts: &mut Parts,
) -> Result<Started, StartError> {
    let recorder = Recorder::installed().map_err(|error| StartError::Other(error.to_string()))?;
    let upkeep = recorder.clone().keep_up(Arc::clone(&clock), parts.stop_of(Stage::Ground));
    parts.spawn("metrics", Stage::Ground, upkeep.map(Ok));
    let urls = urls(&listeners)?;
    let store = ground::open_store(&folder)?;
    let node = start_directory(&log, &clock, parts).await?;
    let trouble = Arc::clone(&log);
    parts.readiness().probe("log", move || trouble.trouble().map_or(Ok(()), Err));
    let shared = Shared {
        auditor: Arc::new(Auditor::new(log.clone(), Arc::clone(&clock))),
        secrets: Arc::new(SystemSecrets),
        readiness: parts.readiness(),
        folder,
        log,
        store,
        node,
        clock,
    };
    settings::prepare(shared.log.as_ref(), shared.clock.as_ref(), &config.rules).await?;
    let running = Arc::new(Running::default());
    start_exporter(&shared, config.export, &running, parts)?;
    start_processor(&shared, config.processor, &running, parts);
    start_trimming(&shared, config.raw_retention, &running, parts);
    let bucket = config.fetch.bucket.clone();
    let demo = demo::prepare(&shared.folder, &shared.node, &shared.secrets, &bucket, &urls).await?;
    open_doors(&shared, listeners, recorder, config.ingest, fetch_config(config.fetch, &urls), running, parts)?;
    Ok(Started { urls, demo, store: shared.store })
}

fn urls(listeners: &Listeners) -> Result<Urls, StartError> {
    let unknown = |error: std::io::Error| StartError::Other(format!("a listener without an address: {error}"));
    let api = listeners.api.local_addr().map_err(unknown)?;
    let s3 = listeners.s3.local_addr().map_err(unknown)?;
    Ok(Urls::of(api, s3))
}

async fn start_directory(
    log: &Arc<EmbeddedLog>,
    clock: &SharedClock,
    parts: &mut Parts,
) -> Result<Arc<Node>, StartError> {
    let stop = parts.stop_of(Stage::Ground);
    let node = Node::start(log.clone(), Arc::clone(clock), stop.clone())
        .await
        .map_err(|error| StartError::Other(format!("the directory cannot be folded: {error}")))?;
    let fresh = Arc::clone(&node);
    parts.readiness().probe("directory", move || fresh.fresh());
    let running = Arc::clone(&node);
    parts.spawn("directory", Stage::Ground, async move {
        stop.cancelled().await;
        running.finished().await;
        Ok(())
    });
    Ok(node)
}

fn start_exporter(
    shared: &Shared,
    config: millrace_exporter_write::Config,
    running: &Running,
    parts: &mut Parts,
) -> Result<(), StartError> {
    let mut writer_id = [0; 16];
    shared.secrets.fill(&mut writer_id).map_err(StartError::Other)?;
    let services = millrace_exporter_write::Services {
        log: shared.log.clone(),
        store: Arc::clone(&shared.store),
        accounts: shared.node.clone(),
        clock: Arc::clone(&shared.clock),
        config,
        readiness: shared.readiness.clone(),
        writer_id,
    };
    let (progress, stop) = (Arc::clone(&running.exporter), parts.stop_of(Stage::Exporter));
    parts.spawn(millrace_exporter_write::PART, Stage::Exporter, async move {
        millrace_exporter_write::run(services, progress, stop).await.map_err(|error| error.to_string())
    });
    Ok(())
}

fn start_processor(shared: &Shared, config: millrace_processor::Config, running: &Running, parts: &mut Parts) {
    let services = millrace_processor::Services {
        log: shared.log.clone(),
        clock: Arc::clone(&shared.clock),
        state_dir: shared.folder.state(),
        store: Arc::clone(&shared.store),
        config,
        readiness: shared.readiness.clone(),
    };
    let (progress, stop) = (Arc::clone(&running.processor), parts.stop_of(Stage::Processor));
    let running = millrace_processor::run(services, progress, stop);
    parts.spawn(
        millrace_processor::PART,
        Stage::Processor,
        running.map(|ended| ended.map_err(|error| error.to_string())),
    );
}

fn start_trimming(shared: &Shared, raw_retention: Duration, running: &Arc<Running>, parts: &mut Parts) {
    let (log, clock) = (Arc::clone(&shared.log), Arc::clone(&shared.clock));
    let trimming = Trimming { log, raw_retention, running: Arc::clone(running), clock };
    let stop = parts.stop_of(Stage::Ground);
    parts.spawn("retention", Stage::Ground, trimming.run(stop).map(Ok));
}

fn open_doors(
    shared: &Shared,
    listeners: Listeners,
    recorder: Recorder,
    ingest: millrace_ingest::Config,
    fetch: millrace_exporter_fetch::Config,
    running: Arc<Running>,
    parts: &mut Parts,
) -> Result<(), StartError> {
    let keys = server_keys::load_or_make(&shared.folder.server_keys(), shared.secrets.as_ref())?;
    let (log, clock) = (shared.log.clone(), Arc::clone(&shared.clock));
    let ingest = millrace_ingest::Services { log, node: Arc::clone(&shared.node), clock, config: ingest };
    let fetch = millrace_exporter_fetch::Services {
        node: shared.node.clone(),
        auditor: Arc::clone(&shared.auditor),
        store: Arc::clone(&shared.store),
        keys: Arc::new(keys),
        secrets: Arc::clone(&shared.secrets),
        clock: Arc::clone(&shared.clock),
        log_id: shared.log.id().into(),
        shards: shared.log.partitions(Topic(topics::ENRICHED)),
        config: fetch,
    };
    let api = millrace_ingest::router(ingest)
        .merge(millrace_exporter_fetch::api_router(fetch.clone()))
        .merge(ops_router(shared.readiness.clone(), recorder))
        .layer(from_fn_with_state(Requests::new(Arc::clone(&shared.clock), "api"), request_layer));
    let stop = parts.stop_of(Stage::Doors);
    let serving = serve(listeners.api, api, stop.clone());
    parts.spawn("api", Stage::Doors, serving.map(Ok));
    let gateway = millrace_exporter_fetch::serve_gateway(listeners.s3, fetch, stop);
    parts.spawn("gateway", Stage::Doors, gateway.map(Ok));

    let socket = control::bind(&shared.folder)?;
    let router = local_routes(
        &shared.folder,
        &shared.log,
        &shared.store,
        &shared.node,
        Some(running),
        &shared.readiness,
        Arc::clone(&shared.clock),
    );
    let serving = control::serve(socket, router, shared.folder.clone(), parts.stop_of(Stage::Ground));
    parts.spawn("control", Stage::Ground, serving);
    Ok(())
}

/// Clients are sent to the gateway's own address unless another is configured (a proxy's, say).
fn fetch_config(mut config: millrace_exporter_fetch::Config, urls: &Urls) -> millrace_exporter_fetch::Config {
    if config.s3_url.is_empty() {
        config.s3_url.clone_from(&urls.s3);
    }
    config
}

/// The routes of the control socket; commands that find nothing running call them without a socket, `running` is `None` then.
pub(crate) fn local_routes(
    folder: &Folder,
    log: &Arc<EmbeddedLog>,
    store: &Arc<dyn ObjectStore>,
    node: &Arc<Node>,
    running: Option<Arc<Running>>,
    readiness: &Readiness,
    clock: SharedClock,
) -> Router {
    let auditor = Arc::new(Auditor::new(log.clone(), Arc::clone(&clock)));
    let sources = Sources {
        folder: folder.clone(),
        log: Arc::clone(log),
        store: Arc::clone(store),
        node: Arc::clone(node),
        running,
        readiness: readiness.clone(),
        clock: Arc::clone(&clock),
        stop: CancellationToken::new(),
    };
    control::router(local_router(Arc::clone(node), auditor), sources, clock)
}
