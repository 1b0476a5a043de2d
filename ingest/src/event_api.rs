//! `POST /v1/events`: the wire format of the Optimizely SDKs and of the web snippet.
//!
//! [`batch`] is what a body says, [`read`](mod@read) reads it in one pass, [`judge`] makes events and rejects of it.

mod batch;
mod judge;
mod read;

use axum::response::{IntoResponse, Response};
use bumpalo::Bump;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::caller::only;
use crate::intake::{Made, Taken};
use crate::json::Json;
use crate::records::Prepared;
use crate::refusal::Refusal;

const STRICT: HeaderName = HeaderName::from_static("x-optimizely-strict");
const ACCEPTED: HeaderName = HeaderName::from_static("x-millrace-accepted");
const REJECTED: HeaderName = HeaderName::from_static("x-millrace-rejected");

/// Makes records of a body, and the answer that says how many.
pub(crate) fn make(taken: &Taken) -> Result<Made, Refusal> {
    let strict =
        only(&taken.headers, STRICT, "X-Optimizely-Strict")?.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let prepared = prepare(taken)?;
    if strict && !prepared.bad.is_empty() {
        return Err(Refusal::Strict(prepared.bad));
    }
    let answer = answer(&prepared);
    Ok(Made { prepared, answer })
}

fn prepare(taken: &Taken) -> Result<Prepared, Refusal> {
    let text = std::str::from_utf8(&taken.body).map_err(|error| not_utf8(&taken.body, error.valid_up_to()))?;
    let arena = Bump::new();
    let batch = read::batch(&mut Json::new(text, &arena)).map_err(|stopped| stopped.refusal(text))?;
    if batch.account_id != taken.caller.account.as_str() {
        return Err(Refusal::ForeignAccount);
    }
    let origin = judge::Origin {
        client: taken.client,
        user_agent: taken.user_agent(),
        referer: taken.referer(),
        shared: taken.shared(),
    };
    judge::records(&batch, &origin, text.len())
}

/// The place of the first byte that is no UTF-8.
pub(crate) fn not_utf8(body: &[u8], valid_up_to: usize) -> Refusal {
    let before = std::str::from_utf8(&body[..valid_up_to]).unwrap_or_default();
    Refusal::fault(crate::json::Fault { at: valid_up_to, what: crate::json::Wrong::Expected("UTF-8") }, before)
}

/// 204 with an empty body: the Go SDK takes nothing else for success.
fn answer(prepared: &Prepared) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    answer.headers_mut().insert(ACCEPTED, HeaderValue::from(prepared.accepted));
    answer.headers_mut().insert(REJECTED, HeaderValue::from(prepared.bad.len()));
    answer
}

/// Parses and judges a body without HTTP and without a log, for benches: how many were accepted and rejected, and the bytes
/// of the records. `None`: refused as a whole.
#[doc(hidden)]
#[must_use]
pub fn bench(body: &[u8], account_id: &str) -> Option<(u32, usize, usize)> {
    let text = std::str::from_utf8(body).ok()?;
    let arena = Bump::new();
    let batch = read::batch(&mut Json::new(text, &arena)).ok()?;
    let shared = crate::records::Shared { account_id, source: "key:1", request_id: "1", witness_ms: 1, partitions: 4 };
    let origin = judge::Origin { client: None, user_agent: Some("bench"), referer: None, shared };
    let prepared = judge::records(&batch, &origin, text.len()).ok()?;
    Some((prepared.accepted, prepared.bad.len(), prepared.bytes))
}

/// As [`bench`], but reads only.
#[doc(hidden)]
#[must_use]
pub fn bench_read(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let arena = Bump::new();
    read::batch(&mut Json::new(text, &arena)).is_ok()
}
