//! Refusals as S3 words them, and what a request leaves behind for its log line.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use http::header::RETRY_AFTER;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::limits;
use crate::shelf::ShelfError;

/// One answer for everything that must not be told apart: other buckets, other accounts, what is ours, writes.
pub(super) fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")
}

/// A refusal with a text for the client.
pub(super) fn refused(code: S3ErrorCode, message: &'static str) -> S3Error {
    S3Error::with_message(code, message)
}

/// What a request leaves behind for the edge, which logs it. Cloned into the request; written at most once each.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    operation: OnceLock<&'static str>,
    access_key_id: OnceLock<String>,
    trouble: OnceLock<String>,
}

impl Notes {
    pub(super) fn set_operation(&self, operation: &'static str) {
        let _ = self.0.operation.set(operation);
    }

    pub(super) fn set_access_key_id(&self, access_key_id: &str) {
        let _ = self.0.access_key_id.set(access_key_id.to_owned());
    }

    /// What an operator should see of a failure; the client does not.
    pub(super) fn set_trouble(&self, trouble: impl std::fmt::Display) {
        let _ = self.0.trouble.set(trouble.to_string());
    }

    pub(super) fn operation(&self) -> &'static str {
        self.0.operation.get().copied().unwrap_or("s3:none")
    }

    pub(super) fn access_key_id(&self) -> &str {
        self.0.access_key_id.get().map_or("", String::as_str)
    }

    pub(super) fn trouble(&self) -> &str {
        self.0.trouble.get().map_or("", String::as_str)
    }

    /// The answer to a failure of the store: the client may try again, and is told nothing of the cause.
    pub(super) fn store_failed(&self, error: &object_store::Error) -> S3Error {
        self.set_trouble(error);
        let mut answer = refused(S3ErrorCode::ServiceUnavailable, "The store does not answer. Please try again.");
        let seconds = HeaderValue::from(limits::RETRY_AFTER.as_secs());
        answer.set_headers([(RETRY_AFTER, seconds)].into_iter().collect());
        answer
    }

    /// The answer where the shelf gave nothing.
    pub(super) fn nothing_from_shelf<T>(&self, error: &ShelfError) -> S3Result<T> {
        Err(match error {
            ShelfError::Absent => refused(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
            ShelfError::Unsatisfiable { bytes } => {
                let mut answer = refused(S3ErrorCode::InvalidRange, "The requested range is not satisfiable.");
                if let Ok(range) = HeaderValue::try_from(format!("bytes */{bytes}")) {
                    answer.set_headers([(http::header::CONTENT_RANGE, range)].into_iter().collect());
                }
                answer
            }
            ShelfError::Failed(error) => self.store_failed(error),
        })
    }
}
