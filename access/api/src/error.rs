//! Every error of the routes, and the answer it makes: a status and `{"detail": …}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::CommandError;
use serde::Serialize;

use crate::password::PasswordError;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request's form is wrong; status and text are axum's.
    #[error("{text}")]
    Form { status: StatusCode, text: String },
    /// A field is wrong.
    #[error("{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    /// There is no such thing.
    #[error("{what} not found")]
    NotFound { what: &'static str },
    /// The directory said no.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Nothing wrong with the request.
    #[error("{0}")]
    Unavailable(String),
}

#[derive(Serialize)]
struct Body {
    detail: String,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Form { status, .. } => *status,
            Self::Invalid { .. } | Self::Command(CommandError::Invalid { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound { .. } | Self::Command(CommandError::NotFound { .. }) => StatusCode::NOT_FOUND,
            Self::Command(CommandError::Conflict { .. }) => StatusCode::CONFLICT,
            Self::Command(
                CommandError::Unavailable { .. } | CommandError::Unknown { .. } | CommandError::Unaudited { .. },
            )
            | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl ApiError {
    /// The outcome of a request that failed before it reached the directory, in the words of its audit entries.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.status() {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "invalid",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = %self, "an operator's request could not be carried out");
        }
        // The caller is the operator, at the machine itself: told everything, not only that something failed.
        (status, Json(Body { detail: self.to_string() })).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Form { status: rejection.status(), text: rejection.body_text() }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Form { status: rejection.status(), text: rejection.body_text() }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::Form { status: rejection.status(), text: rejection.body_text() }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Unfit(reason) => Self::Invalid { field: "password", reason },
            PasswordError::Failed(reason) => Self::Unavailable(reason),
        }
    }
}
