//! The routes of operators and their machines: `/livez`, `/readyz`, `/metrics`.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::{Readiness, Recorder};

#[derive(Clone)]
struct Ops {
    readiness: Readiness,
    recorder: Recorder,
}

/// `/livez` (200 while the process answers at all), `/readyz` (200, or 503 with what is wrong, part by part), `/metrics`
/// (Prometheus text).
pub fn ops_router(readiness: Readiness, recorder: Recorder) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Ops { readiness, recorder })
}

async fn readyz(State(ops): State<Ops>) -> Response {
    match ops.readiness.check() {
        Ok(()) => Json(json!({"ready": true})).into_response(),
        Err(wrong) => {
            let wrong: Map<String, Value> =
                wrong.into_iter().map(|(part, reason)| (part.into(), reason.into())).collect();
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "not_ready": wrong}))).into_response()
        }
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    ops.readiness.measure();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.recorder.render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get_text(readiness: &Readiness, path: &str) -> (StatusCode, String) {
        let app = ops_router(readiness.clone(), Recorder::installed().unwrap());
        let response = app.oneshot(http::Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_says_what_is_wrong() {
        let readiness = Readiness::new();
        assert_eq!(get_text(&readiness, "/readyz").await, (StatusCode::OK, r#"{"ready":true}"#.to_owned()));
        readiness.report("exporter", Err("the store is full".into()));
        let (status, body) = get_text(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, r#"{"not_ready":{"exporter":"the store is full"},"ready":false}"#);
        assert_eq!(get_text(&readiness, "/livez").await.0, StatusCode::OK, "alive all the same");
    }

    #[tokio::test]
    async fn metrics_say_of_every_part_whether_it_is_ready_now() {
        let readiness = Readiness::new();
        readiness.report("reported", Err("behind".into()));
        readiness.report("first_reported", Err("waiting".into()));
        readiness.probe("first_reported", || Ok(()));
        readiness.probe("probed", || Err("away".to_owned()));
        let (_, body) = get_text(&readiness, "/metrics").await;
        for (part, value) in [("reported", 0), ("first_reported", 1), ("probed", 0)] {
            assert!(body.contains(&format!("millrace_ready{{part=\"{part}\"}} {value}")), "{part}: {body}");
        }
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text_with_histograms_in_buckets() {
        let recorder = Recorder::installed().unwrap();
        metrics::histogram!("millrace_ops_test_seconds").record(0.02);
        let (status, body) = get_text(&Readiness::new(), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("millrace_ops_test_seconds_bucket{le=\"0.025\"} 1"), "{body}");
        assert!(recorder.render().contains("millrace_ops_test_seconds_count 1"));
    }
}
