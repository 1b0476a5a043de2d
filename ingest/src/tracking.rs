//! `POST /api/v1/tracking/track` and `/batch`: one flat object per event.

mod instant;
mod read;

use axum::response::{IntoResponse, Response};
use bumpalo::Bump;
use http::HeaderName;
use millrace_schemas::raw_encode::{ConversionRef, DecisionRef, EventRef, KindRef};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::address::anonymised;
use crate::caller::only;
use crate::event_api::not_utf8;
use crate::intake::{Made, Taken};
use crate::json::Json;
use crate::limits::{EVENT_BYTES_MAX, ID_BYTES_MAX, UUID_BYTES_MAX};
use crate::problem::{LONG_ID, Problem, out_of_range};
use crate::records::{LARGE, Records, Rejected};
use crate::refusal::{Refusal, expects};

use instant::in_text;
use read::{Body, Stopped, Track};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const EXPOSURE: &str = "exposure";

/// Makes one record of a body, and the answer that shows the event as kept. A bad field is 422 and leaves no record.
pub(crate) fn make_one(taken: &Taken) -> Result<Made, Refusal> {
    let text = text(taken)?;
    let arena = Bump::new();
    let track = read::one(&mut Json::new(text, &arena)).map_err(|stopped| refusal(stopped, text))?;
    own_account(taken, [track.account_id])?;
    let mut maker = Maker::new(taken, text.len())?;
    let kept = maker.keep(&track, 0).map_err(|not_kept| match not_kept {
        NotKept::Bad(problem) => Refusal::Unprocessable(problem),
        NotKept::Refused(refusal) => refusal,
    })?;
    let answer = kept.answer(&track);
    Ok(Made { prepared: maker.records.finish(), answer })
}

/// Makes records of a body with many events: good ones become events, bad ones rejects, and the answer names the bad.
pub(crate) fn make_batch(taken: &Taken) -> Result<Made, Refusal> {
    let text = text(taken)?;
    let arena = Bump::new();
    let body = read::many(&mut Json::new(text, &arena)).map_err(|stopped| refusal(stopped, text))?;
    let Body { tracks, account_id, beside } = body;
    own_account(taken, tracks.iter().map(|track| track.account_id).chain([account_id]))?;
    let mut maker = Maker::new(taken, text.len())?;
    let (count, mut errors) = (tracks.len(), Vec::new());
    for (index, mut track) in tracks.into_iter().enumerate() {
        // Here and not while reading, so that what a hundred events share is there once at a time.
        beside.iter().for_each(|(path, value)| track.unknown.add(path, value));
        match maker.keep(&track, index) {
            Ok(_) => {}
            Err(NotKept::Refused(refusal)) => return Err(refusal),
            Err(NotKept::Bad(problem)) => errors.push(maker.reject(&track, index, problem)?),
        }
    }
    let answer = Batch { success_count: count - errors.len(), failure_count: errors.len(), errors };
    Ok(Made { prepared: maker.records.finish(), answer: axum::Json(answer).into_response() })
}

fn text(taken: &Taken) -> Result<&str, Refusal> {
    std::str::from_utf8(&taken.body).map_err(|error| not_utf8(&taken.body, error.valid_up_to()))
}

/// A body that names another account than the key's is refused as a whole.
fn own_account<'a>(taken: &Taken, named: impl IntoIterator<Item = Option<&'a str>>) -> Result<(), Refusal> {
    let own = taken.caller.account.as_str();
    if named.into_iter().flatten().all(|named| named == own) { Ok(()) } else { Err(Refusal::ForeignAccount) }
}

fn refusal(stopped: Stopped, text: &str) -> Refusal {
    match stopped {
        Stopped::Fault(fault) => Refusal::fault(fault, text),
        Stopped::Field(problem) => Refusal::Unprocessable(problem),
        Stopped::TooMany => Refusal::TrackingBatch,
    }
}

enum NotKept {
    Bad(Problem),
    Refused(Refusal),
}

/// Makes the records of one request.
struct Maker<'t> {
    taken: &'t Taken,
    user_ip: Option<String>,
    /// `Idempotency-Key`.
    key: Option<&'t str>,
    records: Records<'t>,
}

impl<'t> Maker<'t> {
    fn new(taken: &'t Taken, body_bytes: usize) -> Result<Self, Refusal> {
        let key = only(&taken.headers, IDEMPOTENCY_KEY, "Idempotency-Key")?;
        if key.is_some_and(|key| key.len() > UUID_BYTES_MAX) {
            let broken = out_of_range("1 to 128 characters");
            return Err(Refusal::Unprocessable(Problem { field: "Idempotency-Key".into(), broken }));
        }
        let user_ip = taken.client.map(|address| anonymised(address).to_string());
        Ok(Self { taken, user_ip, key, records: Records::new(taken.shared(), body_bytes) })
    }

    fn keep(&mut self, track: &Track<'_>, index: usize) -> Result<Kept, NotKept> {
        if let Some(problem) = track.problems.first() {
            return Err(NotKept::Bad(problem.clone()));
        }
        if track.original.len() > EVENT_BYTES_MAX {
            return Err(NotKept::Bad(Problem { field: String::new(), broken: LARGE }));
        }
        let kept = Kept { id: self.uuid(track, index)?, timestamp_ms: track.timestamp_ms.unwrap_or(self.taken.now_ms) };
        let decision = exposure(track);
        if decision.and_then(|decision| decision.variation_id).is_some_and(|variant| variant.len() > ID_BYTES_MAX) {
            return Err(NotKept::Bad(Problem { field: "metadata.variant".into(), broken: LONG_ID }));
        }
        let kind = match &decision {
            Some(decision) => KindRef::Decisions(std::slice::from_ref(decision)),
            None => KindRef::Conversion(ConversionRef {
                key: Some(track.name()),
                event_type: Some(track.event_type),
                value: track.value,
                tags: &track.tags,
                ..ConversionRef::default()
            }),
        };
        let shared = self.taken.shared();
        let event = EventRef {
            account_id: shared.account_id,
            visitor_id: track.user_id,
            uuid: &kept.id,
            timestamp_ms: kept.timestamp_ms,
            session_id: None,
            attributes: &[],
            user_ip: self.user_ip.as_deref(),
            user_agent: self.taken.user_agent(),
            referer: self.taken.referer(),
            revision: None,
            client_engine: None,
            client_version: None,
            project_id: None,
            enrich_decisions: true,
            kind,
            source: shared.source,
            request_id: shared.request_id,
            unknown_fields: track.unknown.as_str(),
        };
        match self.records.event(&event) {
            Ok(Ok(())) => Ok(kept),
            Ok(Err(problem)) => Err(NotKept::Bad(problem)),
            Err(refusal) => Err(NotKept::Refused(refusal)),
        }
    }

    /// The event's own uuid; else the request's key, told apart by place within a batch; else a new one.
    fn uuid(&self, track: &Track<'_>, index: usize) -> Result<String, NotKept> {
        let uuid = match (track.uuid, self.key) {
            (Some(uuid), _) => uuid.to_owned(),
            (None, Some(key)) if track.of_batch => format!("{key}:{index}"),
            (None, Some(key)) => key.to_owned(),
            (None, None) => uuid::Uuid::new_v4().to_string(),
        };
        if uuid.len() > UUID_BYTES_MAX {
            let broken = out_of_range(
                "an Idempotency-Key that leaves room for the event's number: at most 128 characters together",
            );
            return Err(NotKept::Bad(Problem { field: "uuid".into(), broken }));
        }
        Ok(uuid)
    }

    fn reject(&mut self, track: &Track<'_>, index: usize, problem: Problem) -> Result<Failed, Refusal> {
        let mut path = format!("events[{index}]");
        if !problem.field.is_empty() {
            path.push('.');
            path.push_str(&problem.field);
        }
        let error = match problem.field.as_str() {
            "" => expects(problem.broken.rule),
            field => format!("{field}: {}", expects(problem.broken.rule)),
        };
        let rejected = Rejected { visitor_id: track.user_id, uuid: track.uuid, original: track.original };
        self.records.reject(rejected, path, problem.broken)?;
        let shown = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Failed { index, event_type: shown(track.event_type), user_id: shown(track.user_id), error })
    }
}

/// An exposure to an experiment, with the variant it names, is a decision; without either it is an event like others.
fn exposure<'a>(track: &Track<'a>) -> Option<DecisionRef<'a>> {
    let experiment = track.experiment_key.filter(|_| track.event_type == EXPOSURE)?;
    Some(DecisionRef {
        experiment_id: Some(experiment),
        variation_id: Some(track.variant?),
        flag_key: track.feature_flag_key,
        ..DecisionRef::default()
    })
}

/// What was decided about an event on its way into a record.
struct Kept {
    id: String,
    timestamp_ms: i64,
}

impl Kept {
    fn answer(&self, track: &Track<'_>) -> Response {
        let shown = Shown {
            id: &self.id,
            user_id: track.user_id,
            event_type: track.event_type,
            event_name: track.name(),
            value: track.value,
            experiment_key: track.experiment_key,
            feature_flag_key: track.feature_flag_key,
            metadata: track.metadata.and_then(|text| serde_json::from_str(text).ok()),
            timestamp: in_text(self.timestamp_ms),
        };
        axum::Json(shown).into_response()
    }
}

/// An event as kept.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    user_id: &'a str,
    event_type: &'a str,
    event_name: &'a str,
    value: Option<f64>,
    experiment_key: Option<&'a str>,
    feature_flag_key: Option<&'a str>,
    metadata: Option<&'a RawValue>,
    timestamp: String,
}

/// The answer to a batch.
#[derive(Serialize)]
struct Batch {
    success_count: usize,
    failure_count: usize,
    #[serde(serialize_with = "null_if_empty")]
    errors: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    index: usize,
    event_type: Option<String>,
    user_id: Option<String>,
    error: String,
}

fn null_if_empty<S: serde::Serializer>(errors: &[Failed], to: S) -> Result<S::Ok, S::Error> {
    if errors.is_empty() { to.serialize_none() } else { errors.serialize(to) }
}
