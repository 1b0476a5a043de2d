//! Around every request: its id, one log line, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use millrace_clock::SharedClock;
use tracing::Instrument;

use crate::metrics::{REQUEST_SECONDS, REQUESTS};
use crate::{REQUEST_ID, RequestId};

/// What [`request_layer`] needs to know; its state.
#[derive(Clone)]
pub struct Requests {
    clock: SharedClock,
    listener: &'static str,
}

impl Requests {
    /// Watches the requests of one listener; `listener` (`api`, `s3`, `control`) stands in the log lines.
    #[must_use]
    pub fn new(clock: SharedClock, listener: &'static str) -> Self {
        Self { clock, listener }
    }

    /// Begins to watch a request, for servers that are not axum routers. `path` must not hold the query.
    #[must_use]
    pub fn begin(&self, method: &Method, path: &str, headers: &HeaderMap) -> Observed {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Observed {
            id: RequestId::of(headers),
            requests: self.clone(),
            method: method.clone(),
            path: path.to_owned(),
            bytes_in: Arc::new(AtomicU64::new(declared.unwrap_or(0))),
            began: self.clock.elapsed(),
        }
    }
}

/// A request under way. [`Observed::finish`] writes its log line and counts it.
pub struct Observed {
    id: RequestId,
    requests: Requests,
    method: Method,
    path: String,
    bytes_in: Arc<AtomicU64>,
    began: Duration,
}

impl Observed {
    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// A span that carries the request's id into every log line written inside it.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!("request", request_id = %self.id)
    }

    /// The request's one log line and its metrics; sets `X-Request-ID` on the answer. `route` is the route's pattern, never
    /// a client's text: it names the metric.
    pub fn finish(self, route: &str, status: StatusCode, bytes_out: Option<u64>, headers: &mut HeaderMap) {
        if let Some(value) = self.id.to_header() {
            headers.insert(REQUEST_ID, value);
        }
        let duration = self.requests.clock.elapsed().saturating_sub(self.began);
        let code = status.as_u16();
        metrics::counter!(REQUESTS, "route" => route.to_owned(), "status" => code.to_string()).increment(1);
        metrics::histogram!(REQUEST_SECONDS, "route" => route.to_owned()).record(duration.as_secs_f64());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "millrace::request",
                    request_id = %self.id,
                    listener = self.requests.listener,
                    method = %self.method,
                    path = self.path,
                    status = code,
                    duration_ms = duration.as_secs_f64() * 1000.0,
                    bytes_in = self.bytes_in.load(Ordering::Relaxed),
                    bytes_out,
                    "request"
                )
            };
        }
        // Probes come every few seconds and say nothing while all is well.
        if is_probe(&self.path) && status.is_success() { line!(debug) } else { line!(info) }
    }
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/metrics")
}

/// axum middleware: `axum::middleware::from_fn_with_state(Requests::new(clock, "api"), request_layer)`.
///
/// Puts the [`RequestId`] into the request's extensions and into the answer's `X-Request-ID`, writes one log line when the
/// answer's head is ready, and counts it. The query string is never logged: it may hold a key.
pub async fn request_layer(State(requests): State<Requests>, mut request: Request, next: Next) -> Response {
    let observed = requests.begin(request.method(), request.uri().path(), request.headers());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(observed.id.clone());
    let request = count_undeclared(request, &observed.bytes_in);
    let mut response = next.run(request).instrument(observed.span()).await;
    let bytes_out = response.body().size_hint().exact();
    let status = response.status();
    observed.finish(&route, status, bytes_out, response.headers_mut());
    response
}

/// A body whose length its head does not tell is counted as it is read.
fn count_undeclared(request: Request, bytes: &Arc<AtomicU64>) -> Request {
    if request.headers().contains_key(CONTENT_LENGTH) || request.body().is_end_stream() {
        return request;
    }
    let bytes = Arc::clone(bytes);
    request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let length = frame.data_ref().map_or(0, |data| data.len());
            bytes.fetch_add(length as u64, Ordering::Relaxed);
            frame
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use axum::Router;
    use axum::routing::post;
    use millrace_clock::ManualClock;
    use tower::ServiceExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn answer(request: http::Request<Body>) -> (Response, Vec<serde_json::Value>) {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || written.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let clock = ManualClock::at(0);
        let moved = Arc::clone(&clock);
        let handler = async move |axum::Extension(id): axum::Extension<RequestId>, body: String| {
            moved.advance(Duration::from_millis(25));
            tracing::info!("inside");
            format!("{id} {}", body.len())
        };
        let app = Router::new()
            .route("/v1/{what}", post(handler))
            .layer(axum::middleware::from_fn_with_state(Requests::new(clock, "api"), request_layer));
        let response = app.oneshot(request).await.unwrap();
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (response, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[tokio::test]
    async fn a_request_has_one_line_with_its_id_and_without_its_query() {
        let request =
            http::Request::post("/v1/events?access_token_query=sk-live-secret").header("X-Request-ID", "mine-1");
        let (response, lines) = answer(request.body("twelve bytes".into()).unwrap()).await;

        assert_eq!(response.headers()[REQUEST_ID], "mine-1");
        let line = lines.iter().find(|line| line["message"] == "request").expect("a line of the request");
        assert_eq!((&line["request_id"], &line["path"]), (&"mine-1".into(), &"/v1/events".into()));
        assert_eq!((&line["status"], &line["duration_ms"]), (&200.into(), &25.0.into()));
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&12.into(), &9.into()));
        assert!(!format!("{lines:?}").contains("secret"));
        assert_eq!(lines.iter().filter(|line| line["message"] == "request").count(), 1);
    }

    #[tokio::test]
    async fn lines_written_while_it_is_answered_carry_its_id() {
        let request = http::Request::post("/v1/events").header("X-Request-ID", "mine-2").body(Body::empty()).unwrap();
        let (_, lines) = answer(request).await;
        let inside = lines.iter().find(|line| line["message"] == "inside").expect("the handler's line");
        assert_eq!(inside["span"]["request_id"], "mine-2");
    }
}
