use axum::body::Body;
use http_body_util::BodyExt;

use super::*;
use crate::problem::MISSING;

/// One of each. A new variant stops this from compiling until it stands in the table below.
fn known(refusal: &Refusal) {
    match refusal {
        Refusal::NotAuthenticated
        | Refusal::InvalidKey
        | Refusal::MissingScope
        | Refusal::ForeignAccount
        | Refusal::Twice(_)
        | Refusal::NoText(_)
        | Refusal::Method
        | Refusal::SlowBody
        | Refusal::BrokenBody(_)
        | Refusal::UnknownEncoding
        | Refusal::BodyTooLarge
        | Refusal::TooMuch(_)
        | Refusal::TrackingBatch
        | Refusal::Malformed { .. }
        | Refusal::Field(_)
        | Refusal::Strict(_)
        | Refusal::Unprocessable(_)
        | Refusal::Busy
        | Refusal::LogRefused(_)
        | Refusal::LogUnknown(_)
        | Refusal::DirectoryBehind(_)
        | Refusal::Internal(_) => {}
    }
}

fn table() -> Vec<(Refusal, u16, &'static str)> {
    let problem = || Problem { field: "visitors".into(), broken: MISSING };
    let bad = BadEvent { position: 3, field: "visitors[3]".into(), reason: "missing_field", rule: "a required field" };
    let unavailable = r#"{"detail":"Not available now: send the same request again later","request_id":"id-1"}"#;
    vec![
        (Refusal::NotAuthenticated, 401, r#"{"detail":"Not authenticated"}"#),
        (Refusal::InvalidKey, 401, r#"{"detail":"Invalid API key"}"#),
        (Refusal::MissingScope, 403, r#"{"detail":"Not enough permissions. Required scope: write"}"#),
        (Refusal::ForeignAccount, 403, r#"{"detail":"The key belongs to another account than account_id names"}"#),
        (Refusal::Twice("X-API-Key"), 400, r#"{"detail":"X-API-Key stands twice"}"#),
        (Refusal::NoText("Idempotency-Key"), 400, r#"{"detail":"Idempotency-Key is not UTF-8"}"#),
        (Refusal::Method, 405, r#"{"detail":"Method Not Allowed"}"#),
        (Refusal::SlowBody, 408, r#"{"detail":"The body did not come in time"}"#),
        (Refusal::BrokenBody("The body is no gzip".into()), 400, r#"{"detail":"The body is no gzip"}"#),
        (Refusal::UnknownEncoding, 415, r#"{"detail":"Content-Encoding must be gzip, zstd or identity"}"#),
        (Refusal::BodyTooLarge, 413, r#"{"detail":"The body is larger than 3670016 bytes after expansion"}"#),
        (Refusal::TooMuch("too many"), 413, r#"{"detail":"too many"}"#),
        (Refusal::TrackingBatch, 413, r#"{"detail":"Batch size exceeds the limit of 100 events"}"#),
        (
            Refusal::fault(Fault { at: 3, what: Wrong::Expected("a value") }, "{\n\n\n}"),
            400,
            r#"{"column":1,"detail":"Malformed JSON at line 3 column 1: expected a value","line":3}"#,
        ),
        (
            Refusal::Field(problem()),
            400,
            r#"{"detail":"visitors: expected a required field","field":"visitors","reason":"missing_field"}"#,
        ),
        (
            Refusal::Strict(vec![bad]),
            400,
            r#"{"detail":"1 of the events cannot be used, so none was taken","errors":[{"error":"expected a required field","field":"visitors[3]","position":3,"reason":"missing_field"}]}"#,
        ),
        (
            Refusal::Unprocessable(problem()),
            422,
            r#"{"detail":[{"loc":["body","visitors"],"msg":"expected a required field","type":"missing_field"}]}"#,
        ),
        (Refusal::Busy, 503, unavailable),
        (Refusal::LogRefused("secret cause".into()), 503, unavailable),
        (Refusal::LogUnknown("secret cause".into()), 503, unavailable),
        (Refusal::DirectoryBehind("secret cause".into()), 503, unavailable),
        (Refusal::Internal("secret cause".into()), 500, r#"{"detail":"Internal error","request_id":"id-1"}"#),
    ]
}

#[tokio::test]
async fn every_refusal_has_its_status_and_body() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("id-1"));
    let id = RequestId::of(&headers);
    let mut words = std::collections::BTreeSet::new();
    for (refusal, status, body) in table() {
        known(&refusal);
        let response = refusal.answer(&id);
        let (parts, sent): (_, Body) = response.into_parts();
        let sent = sent.collect().await.unwrap().to_bytes();
        assert_eq!((parts.status.as_u16(), std::str::from_utf8(&sent).unwrap()), (status, body));
        assert_eq!(parts.headers.contains_key(RETRY_AFTER), status == 503, "{refusal:?}");
        assert_eq!(parts.headers.contains_key(WWW_AUTHENTICATE), status == 401, "{refusal:?}");
        assert!(words.insert(refusal.reason()), "{refusal:?}: each has its own word");
    }
}
