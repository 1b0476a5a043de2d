//! Reads the bodies of the tracking API. A bad field of an event is noted with the event.

use crate::json::{Fault, Json, Kind, Value};
use crate::limits::{EVENT_TYPE_CHARS_MAX, LIST_MAX, TRACKING_BATCH_MAX, USER_ID_CHARS_MAX};
use crate::pairs::keep_last;
use crate::problem::{
    Broken, Problem, Problems, Slot, as_text, id as id_text, number, out_of_range, text, typed, uuid, wrong_type,
};
use crate::unknown_fields::UnknownFields;

use super::{exposure, instant};

const ACCOUNT_ID: &str = "account_id";
const VARIANT: &str = "variant";

/// Why reading stopped.
pub(crate) enum Stopped {
    Fault(Fault),
    /// A field of the body itself.
    Field(Problem),
    TooMany,
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The body of `/batch`.
pub(crate) struct Body<'a> {
    pub(crate) tracks: Vec<Track<'a>>,
    /// The account it names, if it names one.
    pub(crate) account_id: Option<&'a str>,
    /// What else the body has: path and value as sent.
    pub(crate) beside: Vec<(String, &'a str)>,
}

/// One event as sent.
#[derive(Default)]
pub(crate) struct Track<'a> {
    pub(crate) original: &'a str,
    pub(crate) of_batch: bool,
    /// The account it names, if it names one.
    pub(crate) account_id: Option<&'a str>,
    pub(crate) problems: Problems,
    /// "" where it did not parse.
    pub(crate) user_id: &'a str,
    /// "" where it did not parse.
    pub(crate) event_type: &'a str,
    pub(crate) event_name: Option<&'a str>,
    pub(crate) value: Option<f64>,
    pub(crate) experiment_key: Option<&'a str>,
    pub(crate) feature_flag_key: Option<&'a str>,
    /// JSON text of an object.
    pub(crate) metadata: Option<&'a str>,
    /// What the object holds.
    pub(crate) tags: Vec<(&'a str, &'a str)>,
    /// The last `variant` of the object, if it is a text, a number or a truth value.
    pub(crate) variant: Option<&'a str>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) uuid: Option<&'a str>,
    /// Fields not named here, and the keys of experiment and flag.
    pub(crate) unknown: UnknownFields,
}

impl<'a> Track<'a> {
    pub(crate) fn name(&self) -> &'a str {
        self.event_name.unwrap_or(self.event_type)
    }
}

/// Reads the body of `/track`.
pub(crate) fn one<'a>(json: &mut Json<'a>) -> Result<Track<'a>, Stopped> {
    let track = track(json, false)?;
    json.end()?;
    Ok(track)
}

/// Reads the body of `/batch`: 1 to [`TRACKING_BATCH_MAX`] events.
pub(crate) fn many<'a>(json: &mut Json<'a>) -> Result<Body<'a>, Stopped> {
    let mut problems = Problems::default();
    let mut tracks = Vec::new();
    let mut events = Slot::EMPTY;
    let (mut account_id, mut beside) = (None, Vec::new());
    let mut too_many = false;
    if json.kind() == Kind::Object {
        json.object(|json, field| {
            if field == "events" && problems.first_time::<()>(&mut events, "events") && json.kind() == Kind::Array {
                events.value = Some(());
                return json.array(|json| {
                    too_many |= tracks.len() == TRACKING_BATCH_MAX;
                    if too_many {
                        json.value()?;
                    } else {
                        tracks.push(track(json, true)?);
                    }
                    Ok(())
                });
            }
            let mark = json.mark();
            let value = json.value()?;
            if field == ACCOUNT_ID {
                account_id = named(value).or(account_id);
            }
            if beside.len() == LIST_MAX {
                problems.note(field, out_of_range("at most 1000 fields beside events"));
            } else {
                beside.push((format!("batch.{field}"), json.since(mark)));
            }
            Ok::<_, Stopped>(())
        })?;
    } else {
        json.value()?;
    }
    json.end()?;
    if events.value.is_none() {
        problems.note("events", wrong_type("an array of events"));
    } else if tracks.is_empty() {
        problems.note("events", out_of_range("at least one event"));
    }
    match problems.into_first() {
        _ if too_many => Err(Stopped::TooMany),
        Some(problem) => Err(Stopped::Field(problem)),
        None => Ok(Body { tracks, account_id, beside }),
    }
}

fn track<'a>(json: &mut Json<'a>, of_batch: bool) -> Result<Track<'a>, Stopped> {
    let mut track = Track { of_batch, ..Track::default() };
    let mark = json.mark();
    if json.kind() == Kind::Object {
        members(json, &mut track)?;
    } else {
        json.value()?;
        track.problems.note("", wrong_type("an object"));
    }
    track.original = json.since(mark);
    Ok(track)
}

fn members<'a>(json: &mut Json<'a>, track: &mut Track<'a>) -> Result<(), Stopped> {
    let [mut user, mut kind, mut name, mut experiment, mut flag, mut id] = [Slot::EMPTY; 6];
    let (mut metadata, mut time, mut value) = (Slot::EMPTY, Slot::EMPTY, Slot::EMPTY);
    let problems = &mut track.problems;
    json.object(|json, field| {
        match field {
            "user_id" => problems.fill(&mut user, "user_id", bounded(json.value()?, USER_ID_CHARS_MAX)),
            "event_type" => problems.fill(&mut kind, "event_type", bounded(json.value()?, EVENT_TYPE_CHARS_MAX)),
            "event_name" => problems.fill(&mut name, "event_name", filled(json.value()?)),
            "experiment_key" => problems.fill(&mut experiment, "experiment_key", id_text(json.value()?)),
            "feature_flag_key" => problems.fill(&mut flag, "feature_flag_key", filled(json.value()?)),
            "uuid" => problems.fill(&mut id, "uuid", uuid(json.value()?)),
            "value" => problems.fill(&mut value, "value", number(json.value()?)),
            "timestamp" => problems.fill(&mut time, "timestamp", timestamp(json.value()?)),
            "metadata" if problems.first_time::<()>(&mut metadata, "metadata") => {
                let mark = json.mark();
                if json.kind() == Kind::Object {
                    track.variant = tags(json, problems, &mut track.tags)?;
                    track.metadata = Some(json.since(mark));
                } else if json.value()? != Value::Null {
                    problems.note("metadata", wrong_type("an object"));
                }
            }
            _ => {
                let mark = json.mark();
                let value = json.value()?;
                if field == ACCOUNT_ID {
                    track.account_id = named(value).or(track.account_id);
                }
                track.unknown.add(&format!("event.{field}"), json.since(mark));
            }
        }
        Ok::<_, Stopped>(())
    })?;
    track.user_id = problems.required(&user, "user_id").unwrap_or_default();
    track.event_type = problems.required(&kind, "event_type").unwrap_or_default();
    track.event_name = name.value;
    track.value = value.value;
    track.experiment_key = experiment.value;
    track.feature_flag_key = flag.value;
    track.timestamp_ms = time.value;
    track.uuid = id.value;
    // The record has no fields for these; they are kept with the unknown ones.
    for (field, key) in [("experiment_key", experiment.value), ("feature_flag_key", flag.value)] {
        if let Some(key) = key {
            track.unknown.add(&format!("event.{field}"), serde_json::Value::from(key));
        }
    }
    if exposure(track).is_some() {
        // Nor has a decision's for these.
        if let Some(name) = track.event_name {
            track.unknown.add("event.event_name", serde_json::Value::from(name));
        }
        if let Some(value) = track.value {
            track.unknown.add("event.value", serde_json::Value::from(value));
        }
        if let Some(metadata) = track.metadata {
            track.unknown.add("event.metadata", metadata);
        }
    }
    Ok(())
}

/// An account that is named; a number can be no other than its digits.
fn named(value: Value<'_>) -> Option<&str> {
    matches!(value, Value::Text(_) | Value::Number(_)).then(|| as_text(value))
}

fn bounded(value: Value<'_>, chars_max: usize) -> Result<Option<&str>, Broken> {
    match text(value)? {
        Some(text) if text.is_empty() || text.chars().count() > chars_max => Err(out_of_range(match chars_max {
            USER_ID_CHARS_MAX => "1 to 255 characters",
            _ => "1 to 100 characters",
        })),
        text => Ok(text),
    }
}

fn filled(value: Value<'_>) -> Result<Option<&str>, Broken> {
    text(value).map(|text| text.filter(|text| !text.is_empty()))
}

fn timestamp(value: Value<'_>) -> Result<Option<i64>, Broken> {
    const ISO: &str = "an ISO 8601 time from 1970 to 9999, like 2026-03-02T10:00:00Z";
    match text(value).map_err(|_| wrong_type(ISO))? {
        None => Ok(None),
        Some(text) => instant::parse(text).map(Some).ok_or(out_of_range(ISO)),
    }
}

/// Reads the members of `metadata`. Answers with the variant among them.
fn tags<'a>(
    json: &mut Json<'a>,
    problems: &mut Problems,
    tags: &mut Vec<(&'a str, &'a str)>,
) -> Result<Option<&'a str>, Stopped> {
    let mut variant = None;
    json.object(|json, name| {
        let value = typed(json.value()?);
        if name == VARIANT {
            let names_one = matches!(value, Value::Text(_) | Value::Number(_) | Value::Bool(_));
            variant = names_one.then(|| as_text(value)).filter(|text| !text.is_empty());
        }
        if tags.len() == LIST_MAX {
            problems.note("metadata", out_of_range("an object of at most 1000 members"));
        } else {
            tags.push((name, as_text(value)));
        }
        Ok::<_, Stopped>(())
    })?;
    keep_last(tags, 0);
    Ok(variant)
}
