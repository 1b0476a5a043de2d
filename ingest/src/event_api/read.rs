//! Reads a body in one pass, level by level: this file the batch, then [`visitor`], [`snapshot`], [`event`]. A fault of the JSON or a
//! bad field of the batch ends it; a bad part only notes its problem.

mod event;
mod parts;
mod snapshot;
mod visitor;

use crate::json::{Fault, Json, Kind, Value};
use crate::problem::{Problem, Problems, Slot, flag, text};
use crate::refusal::Refusal;

use super::batch::Batch;
use parts::{Items, LIST, OBJECT, unknown};
use visitor::visitor;

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    Fault(Fault),
    /// A field of the batch itself.
    Field(Problem),
    TooMuch(&'static str),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Stopped {
    pub(crate) fn refusal(self, body: &str) -> Refusal {
        match self {
            Self::Fault(fault) => Refusal::fault(fault, body),
            Self::Field(problem) => Refusal::Field(problem),
            Self::TooMuch(what) => Refusal::TooMuch(what),
        }
    }
}

/// Reads a whole body.
pub(crate) fn batch<'a>(json: &mut Json<'a>) -> Result<Batch<'a>, Stopped> {
    let mut batch = Batch::default();
    let mut problems = Problems::default();
    if json.kind() == Kind::Object {
        members(json, &mut batch, &mut problems)?;
    } else {
        json.value()?;
        problems.note("body", OBJECT);
    }
    json.end()?;
    match problems.into_first() {
        Some(problem) => Err(Stopped::Field(problem)),
        None => Ok(batch),
    }
}

fn members<'a>(json: &mut Json<'a>, batch: &mut Batch<'a>, problems: &mut Problems) -> Result<(), Stopped> {
    let [mut account, mut project, mut revision, mut name, mut version] = [Slot::EMPTY; 5];
    let [mut anonymize, mut enrich] = [Slot::EMPTY; 2];
    let mut visitors = Slot::EMPTY;
    let mut items = Items(0);
    json.object(|json, field| {
        match field {
            "account_id" => problems.fill(&mut account, "account_id", text(json.value()?)),
            "project_id" => problems.fill(&mut project, "project_id", text(json.value()?)),
            "revision" => problems.fill(&mut revision, "revision", text(json.value()?)),
            "client_name" => problems.fill(&mut name, "client_name", text(json.value()?)),
            "client_version" => problems.fill(&mut version, "client_version", text(json.value()?)),
            "anonymize_ip" => problems.fill(&mut anonymize, "anonymize_ip", flag(json.value()?)),
            "enrich_decisions" => problems.fill(&mut enrich, "enrich_decisions", flag(json.value()?)),
            "visitors" if problems.first_time(&mut visitors, "visitors") => {
                if json.kind() == Kind::Array {
                    visitors.value = Some(());
                    let Batch { visitors, lists, .. } = &mut *batch;
                    json.array(|json| visitor(json, visitors, lists, &mut items))?;
                } else if json.value()? != Value::Null {
                    problems.note("visitors", LIST);
                }
            }
            _ => unknown(json, field, None, &mut batch.unknown, &mut items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    batch.account_id = problems.required(&account, "account_id").unwrap_or_default();
    problems.required(&visitors, "visitors");
    batch.project_id = project.value;
    batch.revision = revision.value;
    batch.client_name = name.value;
    batch.client_version = version.value;
    batch.anonymize_ip = anonymize.value.unwrap_or(true);
    batch.enrich_decisions = enrich.value.unwrap_or(true);
    Ok(())
}
