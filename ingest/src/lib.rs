//! HTTP in, raw records out.
//!
//! Every request takes the same walk, in [`intake`]: who sends it ([`caller`]), room for it ([`room`]), its bytes
//! ([`body`]), its records, the log. What lies between bytes and records is the route's own: [`event_api`] or [`tracking`].
//! A 2xx is sent only once every record of the request is durable; everything that ends the walk early is a [`refusal`].
//!
//! | file | does |
//! |---|---|
//! | [`intake`] | the walk; waiting before refusing; the append |
//! | [`caller`], [`address`], [`cors`](mod@cors) | whose key it is, from where it came, which pages may send |
//! | [`room`], [`body`] | bounds on memory and time |
//! | [`json`], [`problem`] | reading in one pass, without losing the rest to one bad field |
//! | [`event_api`], [`tracking`] | from a body to events and rejects |
//! | [`records`] | events and rejects to bytes |
//! | [`refusal`] | the one map from reasons to statuses |
#![allow(rustdoc::private_intra_doc_links, reason = "this page leads through the crate's own files")]

mod address;
mod body;
mod caller;
mod config;
mod cors;
pub mod event_api;
mod intake;
mod json;
pub mod limits;
pub mod metrics;
mod pairs;
mod problem;
mod records;
mod refusal;
mod room;
mod tracking;
mod unknown_fields;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::post;
use millrace_clock::SharedClock;
use millrace_directory::Node;
use millrace_eventlog::Log;
use millrace_telemetry::RequestId;

pub use config::{Config, Network};

use cors::{Origins, cors};
use intake::Intake;
use refusal::Refusal;

/// What ingest needs.
pub struct Services {
    /// Takes the records; has the topic [`millrace_schemas::topics::RAW`].
    pub log: Arc<dyn Log>,
    /// Knows the keys and accounts.
    pub node: Arc<Node>,
    /// Time.
    pub clock: SharedClock,
    /// What an operator can set.
    pub config: Config,
}

/// The routes: `/v1/events`, `/api/v1/tracking/track`, `/api/v1/tracking/batch`.
///
/// Requests should carry their peer's address as [`axum::extract::ConnectInfo`]; without it events have no `user_ip`.
pub fn router(services: Services) -> Router {
    let Services { log, node, clock, config } = services;
    let origins = Arc::new(Origins::new(Arc::clone(&node)));
    let intake = Arc::new(Intake::new(log, node, clock, config));
    Router::new()
        .route("/v1/events", post(events).fallback(wrong_method))
        .route("/api/v1/tracking/track", post(track).fallback(wrong_method))
        .route("/api/v1/tracking/batch", post(track_batch).fallback(wrong_method))
        .layer(from_fn_with_state(origins, cors))
        .with_state(intake)
}

async fn events(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    intake.take(request, "events", event_api::make).await
}

async fn track(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    intake.take(request, "tracking", tracking::make_one).await
}

async fn track_batch(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    intake.take(request, "tracking", tracking::make_batch).await
}

async fn wrong_method(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::of(&parts.headers));
    intake.turn_away(&Refusal::Method, &parts.headers, body, &id).await
}
