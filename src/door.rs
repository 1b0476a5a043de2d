//! The door of the API: answers for the process itself from the first moment, and for its services once they are there.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use millrace_telemetry::{Readiness, Recorder, Requests, ops_router, request_layer};
use serde_json::json;
use tower::ServiceExt;

use crate::limits::STARTING_RETRY_AFTER_S;

/// What is behind the API's listener.
#[derive(Clone)]
pub(crate) struct Door {
    services: Arc<OnceLock<Router>>,
    requests: Requests,
}

impl Door {
    /// A door that is shut.
    pub(crate) fn new(requests: Requests) -> Self {
        Self { services: Arc::default(), requests }
    }

    /// Lets requests through to these routes.
    pub(crate) fn open(&self, services: Router) {
        let services = services.fallback(unknown).layer(from_fn_with_state(self.requests.clone(), request_layer));
        // It is opened once, at the end of a start.
        let _ = self.services.set(services);
    }

    /// What the listener serves: `/livez`, `/readyz`, `/metrics`, and whatever is behind the door.
    pub(crate) fn router(&self, readiness: Readiness, recorder: Recorder) -> Router {
        let shut = Router::new().fallback(starting).layer(from_fn_with_state(self.requests.clone(), request_layer));
        let services = Arc::clone(&self.services);
        let through = move |request: Request| {
            let router = services.get().unwrap_or(&shut).clone();
            async move { router.oneshot(request).await.into_response() }
        };
        ops_router(readiness, recorder)
            .layer(from_fn_with_state(self.requests.clone(), request_layer))
            .fallback(through)
    }
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))).into_response()
}

/// Nothing was taken: clients send it again.
async fn starting(request: Request) -> Response {
    let path = request.uri().path();
    if path == "/v2" || path.starts_with("/v2/") {
        return millrace_exporter_fetch::starting(&request.into_parts().0);
    }
    let retry_after = [(RETRY_AFTER, STARTING_RETRY_AFTER_S.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, axum::Json(json!({"detail": "starting"}))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use millrace_clock::SystemClock;

    use super::*;

    async fn body(answer: Response) -> serde_json::Value {
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_starts_says_how_it_is_and_sends_everybody_else_away_for_a_moment() {
        let readiness = Readiness::new();
        readiness.report("log", Err("no broker answers".to_owned()));
        let door = Door::new(Requests::new(SystemClock::shared(), "api"));
        let router = door.router(readiness.clone(), Recorder::installed().unwrap());
        let answer = async |path: &str| {
            let request = http::Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        assert_eq!(answer("/livez").await.status(), StatusCode::OK);
        assert_eq!(answer("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let early = answer("/v1/events").await;
        assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(early.headers().contains_key(RETRY_AFTER) && early.headers().contains_key("x-request-id"));
        assert!(body(early).await["detail"].is_string());
        let early = answer("/v2/export/credentials").await;
        assert!(early.status() == StatusCode::SERVICE_UNAVAILABLE && early.headers().contains_key(RETRY_AFTER));
        let early = body(early).await;
        assert!(early["code"] == "unavailable" && early["messages"].is_array(), "the form of /v2's errors: {early}");

        readiness.report("log", Ok(()));
        door.open(Router::new().route("/v1/events", get(async || "taken")));
        assert_eq!(answer("/v1/events").await.status(), StatusCode::OK);
        assert_eq!(answer("/readyz").await.status(), StatusCode::OK);
        let unknown = answer("/nothing").await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert!(unknown.headers().contains_key("x-request-id"));
        assert_eq!(body(unknown).await, json!({"detail": "Not Found"}));
    }
}
