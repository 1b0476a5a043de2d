//! The edge of the gateway: every request passes here once in and once out, is counted, and gives one log line.

use std::convert::Infallible;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use millrace_telemetry::Requests;
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

use super::answer::Notes;
use super::door;
use crate::Services;

/// Answers one request.
///
/// # Errors
/// Never.
pub(super) async fn answer(
    services: Services,
    service: S3Service,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    let (parts, _) = request.into_parts(); // no operation reads a body
    let requests = Requests::new(services.clock.clone(), "s3");
    let observed = requests.begin(&parts.method, parts.uri.path(), &parts.headers);
    let span = observed.span();
    let request_id = observed.id().to_string();
    let method = parts.method.clone();
    let notes = Notes::default();
    let mut response = match door::pass(&parts, services.clock.now_ms()) {
        Ok(token) => {
            let mut inner = Request::from_parts(parts, Body::empty());
            inner.extensions_mut().insert(token);
            inner.extensions_mut().insert(notes.clone());
            call(&service, inner, &notes).instrument(span.clone()).await
        }
        Err(error) => xml(error),
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    if let Ok(id) = HeaderValue::try_from(&request_id) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    if !notes.trouble().is_empty() {
        span.in_scope(|| {
            tracing::error!(operation = notes.operation(), trouble = notes.trouble(), "an S3 request failed")
        });
    }
    let (status, bytes_out) = (response.status(), bytes_out(&method, &response));
    let who = tracing::info_span!("credential", access_key_id = notes.access_key_id());
    who.in_scope(|| observed.finish(notes.operation(), status, bytes_out, response.headers_mut()));
    Ok(response)
}

async fn call(service: &S3Service, request: Request<Body>, notes: &Notes) -> HttpResponse {
    // `s3s` logs whole requests, session tokens included, and the signatures it expects: it gets no subscriber.
    let answered = service.call(request).with_subscriber(tracing::Dispatch::none()).await;
    answered.unwrap_or_else(|error| {
        notes.set_trouble(format!("{error:?}"));
        xml(S3Error::new(S3ErrorCode::InternalError))
    })
}

fn xml(error: S3Error) -> HttpResponse {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// The bytes promised to the client; an object's body is a stream that does not know its own.
fn bytes_out(method: &Method, response: &HttpResponse) -> Option<u64> {
    if method == Method::HEAD {
        return Some(0);
    }
    let promised = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    promised.or_else(|| response.body().size_hint().exact())
}
