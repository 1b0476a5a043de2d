//! Errors of `/v2`: one enum, one place that turns them into answers.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use millrace_telemetry::RequestId;
use serde::Serialize;
use uuid::Uuid;

use crate::limits::RETRY_AFTER;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// No credential where one belongs.
    Unauthorized,
    /// An API key that is unknown or may not be used.
    InvalidApiKey,
    /// A token that is unknown or may not be used.
    AuthenticationFailed,
    /// A good credential that may not do this.
    Forbidden(String),
    /// What is wrong with the request, all of it.
    BadRequest(Vec<String>),
    /// No such path.
    NotFound,
    /// The path takes GET only.
    MethodNotAllowed,
    /// Not now; the cause is for the log only.
    Unavailable(String),
    /// Our fault; the cause is for the log only.
    Internal(String),
}

#[derive(Serialize)]
struct Envelope<'a> {
    code: &'a str,
    message: &'a str,
    messages: &'a [String],
    uuid: String,
}

impl ApiError {
    /// The word for it in the envelope and in metrics.
    pub(crate) fn code(&self) -> &'static str {
        self.shown().1
    }

    fn shown(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::InvalidApiKey => (StatusCode::UNAUTHORIZED, "unauthorized", "Invalid API key"),
            Self::AuthenticationFailed => (StatusCode::FORBIDDEN, "authentication_failed", "Authentication Failed"),
            Self::Forbidden(message) => (StatusCode::FORBIDDEN, "forbidden", message),
            Self::BadRequest(messages) => {
                (StatusCode::BAD_REQUEST, "bad_request", messages.first().map_or("Bad Request", String::as_str))
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not Found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Please try again"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal Server Error"),
        }
    }

    /// The answer. Logs a cause the client is not told.
    pub(crate) fn respond(&self, request: &Parts) -> Response {
        let uuid = answer_id(request);
        if let Self::Unavailable(cause) | Self::Internal(cause) = self {
            tracing::error!(%uuid, cause, "an export request failed");
        }
        let (status, code, message) = self.shown();
        let one = [message.to_owned()];
        let messages = match self {
            Self::BadRequest(messages) => messages.as_slice(),
            _ => &one,
        };
        let mut response =
            (status, axum::Json(Envelope { code, message, messages, uuid: uuid.to_string() })).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Unauthorized | Self::InvalidApiKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
            }
            _ => {}
        }
        response
    }
}

/// The request's own id where that is a UUID, else a new one.
fn answer_id(request: &Parts) -> Uuid {
    let id = request.extensions.get::<RequestId>();
    id.and_then(|id| Uuid::parse_str(id.as_str()).ok()).unwrap_or_else(Uuid::new_v4)
}
