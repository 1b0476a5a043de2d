//! Why a request was refused as a whole, and the one place where that becomes a status and a body.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use millrace_telemetry::RequestId;
use serde_json::{Value, json};

use crate::json::{Fault, Wrong, place};
use crate::limits::{BODY_BYTES_MAX, RETRY_AFTER_S, TRACKING_BATCH_MAX};
use crate::metrics::REFUSED;
use crate::problem::Problem;

/// Why a request was refused as a whole. It leaves a metric and no record.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No credential came with it.
    NotAuthenticated,
    /// The credential is unknown, inactive, or of a kind that sends no events.
    InvalidKey,
    /// The key may not send events.
    MissingScope,
    /// The body names another account than the key's.
    ForeignAccount,
    /// A header or parameter that decides something stands twice.
    Twice(&'static str),
    /// A header that decides something is no text.
    NoText(&'static str),
    /// No such method here.
    Method,
    /// The body did not come in time.
    SlowBody,
    /// The body broke off, or is not what its encoding says.
    BrokenBody(String),
    /// The body's encoding is none of ours.
    UnknownEncoding,
    /// The body is larger than [`BODY_BYTES_MAX`].
    BodyTooLarge,
    /// The body lists more than a request may.
    TooMuch(&'static str),
    /// More than [`TRACKING_BATCH_MAX`] events for the tracking API.
    TrackingBatch,
    /// No JSON, or nested too deep.
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// A field of the batch itself breaks a rule.
    Field(Problem),
    /// Strict mode, and these events break rules.
    Strict(Vec<BadEvent>),
    /// The tracking API's answer to fields that break rules.
    Unprocessable(Problem),
    /// There was no room in time.
    Busy,
    /// The log took nothing. The same request can be sent again.
    LogRefused(String),
    /// The log may have taken it or not. The same request can be sent again.
    LogUnknown(String),
    /// It cannot be told now whether the key is good.
    DirectoryBehind(String),
    /// A mistake of ours. Sending it again does not help.
    Internal(String),
}

/// One event that strict mode objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadEvent {
    /// Which event of the batch, from 0.
    pub(crate) position: u32,
    /// The field's path from the body's root.
    pub(crate) field: String,
    pub(crate) reason: &'static str,
    pub(crate) rule: &'static str,
}

impl Refusal {
    pub(crate) fn fault(fault: Fault, text: &str) -> Self {
        let (line, column) = place(text, fault.at);
        let what = match fault.what {
            Wrong::Expected(what) => what,
            Wrong::Deep => "nesting of at most 32",
        };
        Self::Malformed { what, line, column }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated | Self::InvalidKey => StatusCode::UNAUTHORIZED,
            Self::MissingScope | Self::ForeignAccount => StatusCode::FORBIDDEN,
            Self::Twice(_)
            | Self::NoText(_)
            | Self::BrokenBody(_)
            | Self::Malformed { .. }
            | Self::Field(_)
            | Self::Strict(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge | Self::TooMuch(_) | Self::TrackingBatch => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::LogRefused(_) | Self::LogUnknown(_) | Self::DirectoryBehind(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotAuthenticated => "not_authenticated",
            Self::InvalidKey => "invalid_key",
            Self::MissingScope => "missing_scope",
            Self::ForeignAccount => "foreign_account",
            Self::Twice(_) => "header_twice",
            Self::NoText(_) => "header_no_text",
            Self::Method => "method",
            Self::SlowBody => "slow_body",
            Self::BrokenBody(_) => "broken_body",
            Self::UnknownEncoding => "unknown_encoding",
            Self::BodyTooLarge => "body_too_large",
            Self::TooMuch(_) => "too_much",
            Self::TrackingBatch => "tracking_batch",
            Self::Malformed { .. } => "malformed",
            Self::Field(_) => "field",
            Self::Strict(_) => "strict",
            Self::Unprocessable(_) => "unprocessable",
            Self::Busy => "busy",
            Self::LogRefused(_) => "log_refused",
            Self::LogUnknown(_) => "log_unknown",
            Self::DirectoryBehind(_) => "directory_behind",
            Self::Internal(_) => "internal",
        }
    }

    /// What the client is told. Nothing internal: a 5xx says only whether trying again helps, and the request's id.
    fn body(&self, id: &RequestId) -> Value {
        match self {
            Self::NotAuthenticated => json!({"detail": "Not authenticated"}),
            Self::InvalidKey => json!({"detail": "Invalid API key"}),
            Self::MissingScope => json!({"detail": "Not enough permissions. Required scope: write"}),
            Self::ForeignAccount => json!({"detail": "The key belongs to another account than account_id names"}),
            Self::Twice(name) => json!({"detail": format!("{name} stands twice")}),
            Self::NoText(name) => json!({"detail": format!("{name} is not UTF-8")}),
            Self::Method => json!({"detail": "Method Not Allowed"}),
            Self::SlowBody => json!({"detail": "The body did not come in time"}),
            Self::BrokenBody(what) => json!({"detail": what}),
            Self::UnknownEncoding => json!({"detail": "Content-Encoding must be gzip, zstd or identity"}),
            Self::BodyTooLarge => {
                json!({"detail": format!("The body is larger than {BODY_BYTES_MAX} bytes after expansion")})
            }
            Self::TooMuch(what) => json!({"detail": what}),
            Self::TrackingBatch => {
                json!({"detail": format!("Batch size exceeds the limit of {TRACKING_BATCH_MAX} events")})
            }
            Self::Malformed { what, line, column } => json!({
                "detail": format!("Malformed JSON at line {line} column {column}: expected {what}"),
                "line": line,
                "column": column,
            }),
            Self::Field(Problem { field, broken }) => {
                json!({"detail": format!("{field}: {}", expects(broken.rule)), "field": field, "reason": broken.reason})
            }
            Self::Strict(bad) => json!({
                "detail": format!("{} of the events cannot be used, so none was taken", bad.len()),
                "errors": bad.iter().map(bad_event).collect::<Vec<_>>(),
            }),
            Self::Unprocessable(Problem { field, broken }) => json!({"detail": [{
                "loc": std::iter::once("body").chain(field.split('.').filter(|part| !part.is_empty())).collect::<Vec<_>>(),
                "msg": expects(broken.rule),
                "type": broken.reason,
            }]}),
            Self::Busy | Self::LogRefused(_) | Self::LogUnknown(_) | Self::DirectoryBehind(_) => {
                json!({"detail": "Not available now: send the same request again later", "request_id": id.as_str()})
            }
            Self::Internal(_) => json!({"detail": "Internal error", "request_id": id.as_str()}),
        }
    }

    /// The answer, counted and, where it is ours to mend, logged.
    pub(crate) fn answer(&self, id: &RequestId) -> Response {
        let status = self.status();
        let labels = [("status", status.as_str().to_owned()), ("reason", self.reason().to_owned())];
        metrics::counter!(REFUSED, &labels).increment(1);
        self.log();
        let mut response = (status, axum::Json(self.body(id))).into_response();
        let headers = response.headers_mut();
        match self {
            // Too late to ask for less: what is left of the body must not be taken for a request.
            Self::BodyTooLarge | Self::SlowBody | Self::BrokenBody(_) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::NotAuthenticated | Self::InvalidKey => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            _ => {}
        }
        response
    }

    fn log(&self) {
        match self {
            Self::LogRefused(cause) | Self::LogUnknown(cause) | Self::DirectoryBehind(cause) => {
                tracing::warn!(reason = self.reason(), cause, "a request was turned away");
            }
            Self::Internal(cause) => tracing::error!(cause, "a request failed by our fault"),
            _ => {}
        }
    }
}

/// The sentence for a rule.
pub(crate) fn expects(rule: &str) -> String {
    format!("expected {rule}")
}

fn bad_event(bad: &BadEvent) -> Value {
    json!({"position": bad.position, "field": bad.field, "reason": bad.reason, "error": expects(bad.rule)})
}

#[cfg(test)]
mod tests;
