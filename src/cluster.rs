//! A process of a cluster: it has one role, and shares nothing with the others but the log and the object store.
//!
//! | file | does |
//! |---|---|
//! | `role` | which roles there are |
//! | `brokers` | opens the log, makes its topics |
//! | `bucket` | opens the object store, and looks whether it lets us in |
//! | `whole` | looks whether every topic is the one the log was made with |
//! | `watched` | what the object store last failed at |

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use millrace_clock::SharedClock;
use millrace_directory::{Node, SystemSecrets};
use millrace_eventlog::ReadError;
use millrace_eventlog_kafka::limits::CLOSE_TIMEOUT;
use millrace_eventlog_kafka::{KafkaLog, OpenError};
use millrace_telemetry::{Readiness, Requests};
use object_store::ObjectStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Cluster;
use crate::connect::{Ground, Service, connect, start_directory, with_own_address};
use crate::door::Door;
use crate::error::StartError;
use crate::limits::WAIT_PAUSE;
use crate::parts::{Parts, Stage};
use crate::serve::serve;
use crate::settings;
use crate::status::Running;

mod brokers;
mod bucket;
mod role;
mod watched;
mod whole;

pub(crate) use brokers::{command_log, make_topics, topics_now};
pub(crate) use bucket::open_store;
pub use role::Role;
pub(crate) use whole::{Wholeness, finish_log, whole_log};

use bucket::Refusal;
use watched::Watched;

/// In `/readyz`: a process that still waits for something.
const START: &str = "start";
/// In `/readyz`: the log.
const LOG: &str = "log";
/// In `/readyz`: the object store.
const STORE: &str = "store";

/// Runs a role until `stop`. It answers `/livez` and `/readyz` from the first moment. Brokers or a store that cannot be reached
/// yet are waited for; what an operator must mend is told at once.
///
/// After `stop` it takes no more requests, finishes what it took, commits, and ends within the configured deadline.
///
/// # Errors
/// By what the operator does next.
pub async fn run_role(
    role: Role,
    config: Cluster,
    clock: SharedClock,
    api: TcpListener,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let deadline = config.stop.deadline;
    let instance = brokers::instance(&config.kafka, role.name());
    let mut parts = Parts::new(Readiness::new());
    let recorder = parts.keep_metrics(&clock)?;
    let door = Door::new(Requests::new(Arc::clone(&clock), "api"));
    parts.readiness().report(START, Err("starting".to_owned()));
    let serving = serve(api, door.router(parts.readiness(), recorder), parts.stop_of(Stage::Doors));
    parts.spawn("api", Stage::Doors, serving.map(Ok));
    tracing::info!(role = role.name(), instance, "starting");
    let starting = start(role, config, instance, clock, &door, &mut parts);
    match stop.run_until_cancelled(starting).await {
        Some(Ok(log)) => {
            let closing = CLOSE_TIMEOUT.min(deadline / 2);
            let ended = parts.run(stop, deadline - closing).await;
            close(log, closing).await;
            Ok(ended?)
        }
        Some(Err(error)) => {
            parts.abandon(deadline).await;
            Err(error)
        }
        None => {
            parts.abandon(deadline).await;
            Ok(())
        }
    }
}

/// Closes the log and lets go of it. What takes longer is left to the process's end.
async fn close(log: Arc<KafkaLog>, at_most: Duration) {
    let closing = async {
        log.close().await;
        // Letting go of its clients blocks.
        let _ = tokio::task::spawn_blocking(move || drop(log)).await;
    };
    if tokio::time::timeout(at_most, closing).await.is_err() {
        tracing::warn!("the log was not closed in time");
    }
}

/// Waits for what the role needs, starts its services, and opens the door.
async fn start(
    role: Role,
    config: Cluster,
    instance: String,
    clock: SharedClock,
    door: &Door,
    parts: &mut Parts,
) -> Result<Arc<KafkaLog>, StartError> {
    let readiness = parts.readiness();
    let log = reach_log(&config, &instance, &clock, &readiness).await?;
    let ground = Ground { log: log.clone(), clock, secrets: Arc::new(SystemSecrets) };
    reach_whole(&ground, &readiness).await?;
    let service = match role {
        Role::Ingest => Service::Ingest { config: config.ingest, node: reach_directory(&ground, parts).await? },
        Role::Process => {
            settings::warn_of_differences(Arc::clone(&ground.log), config.rules);
            let store = reach_store(&config.store, &ground.clock, &readiness).await?;
            Service::Process { config: config.processor, store, state: config.state.join(&instance) }
        }
        Role::Export => Service::Export {
            config: config.export,
            store: reach_store(&config.store, &ground.clock, &readiness).await?,
            node: reach_directory(&ground, parts).await?,
        },
        Role::Serve { gateway, keys } => {
            let address = gateway.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
            let store = reach_store(&config.store, &ground.clock, &readiness).await?;
            Service::Fetch {
                config: with_own_address(config.fetch, address),
                store: watched(store, &ground.clock, &readiness),
                node: reach_directory(&ground, parts).await?,
                keys,
                gateway,
            }
        }
    };
    let api = connect(&ground, vec![service], &Running::default(), parts)?;
    door.open(api);
    readiness.report(START, Ok(()));
    Ok(log)
}

async fn reach_log(
    config: &Cluster,
    instance: &str,
    clock: &SharedClock,
    readiness: &Readiness,
) -> Result<Arc<KafkaLog>, StartError> {
    // The first answer, or that there is none, takes its time.
    readiness.report(LOG, Err("waiting: no broker has answered yet".to_owned()));
    loop {
        match brokers::open_log(&config.kafka, instance).await {
            Ok(log) => {
                let trouble = Arc::clone(&log);
                readiness.probe(LOG, move || trouble.trouble().map_or(Ok(()), Err));
                return Ok(log);
            }
            // A cluster that is new, or comes up: whoever starts first waits.
            Err(error @ (OpenError::Unreachable(_) | OpenError::NoLog)) => {
                readiness.report(LOG, Err(format!("waiting: {error}")));
            }
            Err(error) => return Err(error.into()),
        }
        clock.sleep(WAIT_PAUSE).await;
    }
}

/// A log that is not made to the end would be folded with other settings than it is meant to; one with a topic that was made anew
/// lacks what others count on.
async fn reach_whole(ground: &Ground, readiness: &Readiness) -> Result<(), StartError> {
    loop {
        let waiting = match whole_log(ground.log.as_ref()).await {
            Ok(Wholeness::Whole) => return Ok(()),
            Ok(Wholeness::NotYet { missing, .. }) => format!("{missing}: run `millrace topics`"),
            Ok(Wholeness::MadeAnew(reason)) => return Err(StartError::Topics(vec![reason])),
            Err(error) => error.to_string(),
        };
        readiness.report(START, Err(format!("waiting for the log: {waiting}")));
        ground.clock.sleep(WAIT_PAUSE).await;
    }
}

async fn reach_directory(ground: &Ground, parts: &mut Parts) -> Result<Arc<Node>, StartError> {
    loop {
        match start_directory(ground, parts).await {
            Ok(node) => return Ok(node),
            Err(millrace_directory::StartError::Read(ReadError::Unavailable(reason))) => {
                parts.readiness().report(START, Err(format!("waiting for the log: {reason}")));
            }
            Err(error) => return Err(StartError::Other(format!("the directory cannot be folded: {error}"))),
        }
        ground.clock.sleep(WAIT_PAUSE).await;
    }
}

/// Opens the bucket, and waits until it lets us in.
async fn reach_store(
    config: &crate::config::Store,
    clock: &SharedClock,
    readiness: &Readiness,
) -> Result<Arc<dyn ObjectStore>, StartError> {
    let store = open_store(config)?;
    readiness.report(STORE, Err("waiting: it has not answered yet".to_owned()));
    loop {
        match bucket::look(store.as_ref()).await {
            Ok(()) => break,
            Err(Refusal::Mend(reason)) => return Err(StartError::Store(bucket::told(config, &reason))),
            Err(Refusal::Wait(reason)) => {
                readiness.report(STORE, Err(format!("waiting: {}", bucket::told(config, &reason))));
            }
        }
        clock.sleep(WAIT_PAUSE).await;
    }
    readiness.report(STORE, Ok(()));
    Ok(store)
}

/// The store of a role that answers its clients with what the store says, and waits for nothing.
fn watched(store: Arc<dyn ObjectStore>, clock: &SharedClock, readiness: &Readiness) -> Arc<dyn ObjectStore> {
    let store = Arc::new(Watched::new(store, Arc::clone(clock)));
    let trouble = Arc::clone(&store);
    readiness.probe(STORE, move || trouble.trouble().map_or(Ok(()), Err));
    store
}
