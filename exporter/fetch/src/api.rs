//! `/v2`: credentials for exports, and what is visible.

mod caller;
mod credentials;
mod error;
mod status;

use axum::Router;
use axum::routing::any;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::Services;
use error::ApiError;

/// `GET /v2/export/credentials`, `GET /v2/export/status`; every other path below `/v2` is answered with 404.
///
/// Errors are `{"code", "message", "messages", "uuid"}`. The peer's address is taken from
/// [`axum::extract::ConnectInfo`] where there is one.
#[must_use = "a router serves nothing until it is served"]
pub fn api_router(services: Services) -> Router {
    Router::new()
        .route("/v2/export/credentials", any(credentials::answer))
        .route("/v2/export/status", any(status::answer))
        .route("/v2", any(unknown))
        .route("/v2/", any(unknown))
        .route("/v2/{*rest}", any(unknown))
        .with_state(services)
}

/// What `/v2` answers while its process starts: 503.
#[must_use]
pub fn starting(request: &Parts) -> axum::response::Response {
    ApiError::Unavailable("starting".to_owned()).respond(request)
}

async fn unknown(parts: Parts) -> axum::response::Response {
    ApiError::NotFound.respond(&parts)
}

/// Only GET: a HEAD would mint too, and nobody would see what.
fn only_get(parts: &Parts) -> Result<(), ApiError> {
    if parts.method == Method::GET { Ok(()) } else { Err(ApiError::MethodNotAllowed) }
}

/// An answer nobody on the way may keep.
fn fresh_json(body: &impl serde::Serialize) -> axum::response::Response {
    use axum::response::IntoResponse;
    (StatusCode::OK, [(http::header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}
