//! What is refused before anything is looked up: writes, doubled parameters, other ways to sign, wrong clocks.
//!
//! Whoever comes through has exactly one SigV4 signature, in the header or in the URL, made at about this time, over
//! every header that could decide something, and exactly one session token in the same place.

use chrono::NaiveDateTime;
use http::{HeaderMap, Method, request::Parts};
use s3s::{S3ErrorCode, S3Result};

use super::answer::{denied, refused};
use crate::limits::{PRESIGNED_MAX, SKEW_MAX};
use crate::query::{Query, QueryError};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The session token of a request that came through the door; not yet checked. Its `Debug` shows nothing.
#[derive(Clone)]
pub(super) struct SessionToken(pub(super) String);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(hidden)")
    }
}

/// Lets a request through or says why not.
///
/// # Errors
/// As S3 words them.
pub(super) fn pass(request: &Parts, now_ms: i64) -> S3Result<SessionToken> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(denied());
    }
    each_header_once(&request.headers)?;
    let query = Query::parse(request.uri.query().unwrap_or_default()).map_err(|error| match error {
        QueryError::Twice(_) => refused(S3ErrorCode::InvalidArgument, "A query parameter stands twice."),
        QueryError::Encoding => refused(S3ErrorCode::InvalidURI, "The query is not UTF-8."),
    })?;
    let authorization = text(&request.headers, "authorization")?;
    match (authorization, query.get("X-Amz-Signature")) {
        (Some(_), Some(_)) => {
            Err(refused(S3ErrorCode::InvalidArgument, "Only one auth mechanism allowed: a header or a signed URL."))
        }
        (Some(authorization), None) => signed_by_header(&request.headers, &query, authorization, now_ms),
        (None, Some(_)) => signed_by_url(&request.headers, &query, now_ms),
        (None, None) if query.get("Signature").is_some() => Err(other_signature()),
        (None, None) => Err(denied()),
    }
}

fn signed_by_header(headers: &HeaderMap, query: &Query, authorization: &str, now_ms: i64) -> S3Result<SessionToken> {
    let fields =
        authorization.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' ')).ok_or_else(other_signature)?;
    // `s3s` would take an old signature in the URL before the one in the header.
    if ["Signature", "AWSAccessKeyId", "X-Amz-Security-Token"].iter().any(|name| query.get(name).is_some()) {
        return Err(refused(
            S3ErrorCode::InvalidArgument,
            "Only one auth mechanism allowed: a header or a signed URL.",
        ));
    }
    let signed = fields.split(',').find_map(|field| field.trim().strip_prefix("SignedHeaders=")).ok_or_else(denied)?;
    all_signed(headers, signed)?;
    let made_ms = text(headers, "x-amz-date")?.and_then(parse_date).ok_or_else(denied)?;
    if made_ms.abs_diff(now_ms) > SKEW_MAX.as_millis() as u64 {
        return Err(too_skewed());
    }
    let token = text(headers, "x-amz-security-token")?.ok_or_else(denied)?;
    Ok(SessionToken(token.to_owned()))
}

fn signed_by_url(headers: &HeaderMap, query: &Query, now_ms: i64) -> S3Result<SessionToken> {
    if query.get("X-Amz-Algorithm") != Some(ALGORITHM) || query.get("Signature").is_some() {
        return Err(other_signature());
    }
    all_signed(headers, query.get("X-Amz-SignedHeaders").ok_or_else(denied)?)?;
    let made_ms = query.get("X-Amz-Date").and_then(parse_date).ok_or_else(denied)?;
    let expires_s: i64 = query.get("X-Amz-Expires").and_then(|text| text.parse().ok()).ok_or_else(denied)?;
    if !(1..=PRESIGNED_MAX.as_secs() as i64).contains(&expires_s) {
        return Err(refused(S3ErrorCode::InvalidArgument, "X-Amz-Expires must be between 1 second and one week."));
    }
    if made_ms.saturating_sub(now_ms) > SKEW_MAX.as_millis() as i64 {
        return Err(too_skewed());
    }
    if now_ms > made_ms + expires_s * 1_000 {
        return Err(refused(S3ErrorCode::AccessDenied, "Request has expired"));
    }
    let token = query.get("X-Amz-Security-Token").ok_or_else(denied)?;
    Ok(SessionToken(token.to_owned()))
}

/// No header that decides what is read, or who reads, stands twice.
fn each_header_once(headers: &HeaderMap) -> S3Result<()> {
    let decides = |name: &str| {
        matches!(name, "host" | "authorization" | "date" | "range" | "content-length" | "content-type")
            || name.starts_with("x-amz-")
            || name.starts_with("if-")
    };
    let twice = headers.keys().any(|name| decides(name.as_str()) && headers.get_all(name).iter().count() > 1);
    if twice { Err(refused(S3ErrorCode::InvalidRequest, "A header stands twice.")) } else { Ok(()) }
}

/// `host` and every `x-amz-` header are among the signed ones, so nobody on the way can add one.
fn all_signed(headers: &HeaderMap, signed: &str) -> S3Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|known| known.eq_ignore_ascii_case(name));
    let unsigned = headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str()));
    if unsigned || !is_signed("host") {
        return Err(refused(
            S3ErrorCode::AccessDenied,
            "There were headers present in the request which were not signed",
        ));
    }
    Ok(())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> S3Result<Option<&'h str>> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| refused(S3ErrorCode::InvalidRequest, "A header is not plain text."))
}

/// `YYYYMMDDTHHMMSSZ`, in ms since 1970.
fn parse_date(text: &str) -> Option<i64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T' || byte == b'Z');
    let date = plain.then(|| NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok())??;
    Some(date.and_utc().timestamp_millis())
}

fn other_signature() -> s3s::S3Error {
    refused(
        S3ErrorCode::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn too_skewed() -> s3s::S3Error {
    refused(
        S3ErrorCode::RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large.",
    )
}
