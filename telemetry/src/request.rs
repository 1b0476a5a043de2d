//! One id and one log line a request. The query string is never logged: it may hold a token.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id taken over from a client, in bytes; a longer one is replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A request's id: the client's `X-Request-ID` if it is 1 to 128 visible ASCII characters, else made. Echoed in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// The client's id, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match sent {
            Some(id) if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
                Self(id.into())
            }
            _ => Self(uuid::Uuid::new_v4().simple().to_string().into()),
        }
    }
}

/// Gives the request its id, and writes its line once it is answered. For `axum::middleware::from_fn`.
pub async fn request_layer(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let bytes_in = request.body().size_hint().exact();
    let begun = tokio::time::Instant::now();
    let mut response = next.run(request).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(HEADER, value);
    }
    let bytes_out = response.body().size_hint().exact();
    let duration_ms = took.as_secs_f64() * 1000.0;
    metrics::counter!("millrace_http_requests_total", "status" => status.to_string()).increment(1);
    metrics::histogram!("millrace_http_request_seconds").record(took.as_secs_f64());
    tracing::info!(request_id = %id.0, %method, path, status, duration_ms, bytes_in, bytes_out, "request");
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{REQUEST_ID_BYTES_MAX, RequestId};

    fn id_of(sent: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_str(sent).unwrap());
        RequestId::of(&headers).0.to_string()
    }

    #[test]
    fn a_clients_id_is_kept_and_an_unusable_one_is_replaced() {
        assert_eq!(id_of("abc-1"), "abc-1");
        let longest = "x".repeat(REQUEST_ID_BYTES_MAX);
        assert_eq!(id_of(&longest), longest);
        for unusable in ["", "a b", &"x".repeat(REQUEST_ID_BYTES_MAX + 1)] {
            assert_eq!(id_of(unusable).len(), 32);
        }
    }
}
