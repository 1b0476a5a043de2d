//! A visitor and its attributes.

use crate::json::{Json, Kind, Value};
use crate::limits::VISITOR_ID_BYTES_MAX;
use crate::problem::{Broken, Problems, Slot, as_text, out_of_range, text, typed, wrong_type};
use millrace_schemas::raw_encode::AttributeRef;

use super::super::batch::{Lists, Visitor, Within};
use super::Stopped;
use super::parts::{Items, LIST, OBJECT, list, open, pass_up, unknown};
use super::snapshot::snapshot;

const USER_AGENT: &str = "$opt_user_agent";

pub(super) fn visitor<'a>(
    json: &mut Json<'a>,
    visitors: &mut Vec<Visitor<'a>>,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    items.one_more_of(visitors.len())?;
    let mut visitor = Visitor {
        attributes: open(&lists.attributes),
        snapshots: open(&lists.snapshots),
        unknown: open(&lists.visitor_unknown),
        ..Visitor::default()
    };
    let mark = json.mark();
    if json.kind() == Kind::Object {
        visitor_members(json, &mut visitor, lists, items)?;
    } else {
        json.value()?;
        visitor.problems.note("", OBJECT);
    }
    visitor.original = json.since(mark);
    visitor.attributes.end = lists.attributes.len();
    visitor.snapshots.end = lists.snapshots.len();
    visitor.unknown.end = lists.visitor_unknown.len();
    visitor.user_agent = user_agent(&lists.attributes[visitor.attributes.clone()]);
    visitors.push(visitor);
    Ok(())
}

fn user_agent<'a>(attributes: &[AttributeRef<'a>]) -> Option<&'a str> {
    let named = |attribute: &&AttributeRef<'a>| [attribute.name, attribute.id].contains(&Some(USER_AGENT));
    attributes.iter().find(named)?.value.filter(|agent| !agent.is_empty())
}

fn visitor_members<'a>(
    json: &mut Json<'a>,
    visitor: &mut Visitor<'a>,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut id, mut session] = [Slot::EMPTY; 2];
    let [mut attributes, mut snapshots] = [Slot::EMPTY; 2];
    let problems = &mut visitor.problems;
    json.object(|json, field| {
        match field {
            "visitor_id" => problems.fill(&mut id, "visitor_id", visitor_id(json.value()?)),
            "session_id" => problems.fill(&mut session, "session_id", text(json.value()?)),
            "attributes" if problems.first_time(&mut attributes, "attributes") => {
                list(json, problems, "attributes", |json, problems, index| {
                    items.one_more()?;
                    attribute(json, problems, index, lists, items)
                })?;
            }
            "snapshots" => {
                // What a second list holds is rejected with its visitor, event by event.
                problems.first_time(&mut snapshots, "snapshots");
                if json.kind() == Kind::Array {
                    snapshots.value = Some(());
                    json.array(|json| snapshot(json, lists, items))?;
                } else if json.value()? != Value::Null {
                    problems.note("snapshots", LIST);
                }
            }
            _ => unknown(json, field, None, &mut lists.visitor_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    visitor.visitor_id = problems.required(&id, "visitor_id").unwrap_or_default();
    problems.required(&snapshots, "snapshots");
    visitor.session_id = session.value.filter(|id| !id.is_empty() && *id != "AUTO");
    Ok(())
}

fn visitor_id(value: Value<'_>) -> Result<Option<&str>, Broken> {
    match text(value)? {
        Some(id) if !(1..=VISITOR_ID_BYTES_MAX).contains(&id.len()) => Err(out_of_range("1 to 1024 bytes of text")),
        id => Ok(id),
    }
}

fn attribute<'a>(
    json: &mut Json<'a>,
    of_visitor: &mut Problems,
    index: usize,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut entity, mut key, mut kind, mut value] = [Slot::EMPTY; 4];
    let mut problems = Problems::default();
    json.object(|json, field| {
        match field {
            "entity_id" | "e" => problems.fill(&mut entity, "entity_id", text(json.value()?)),
            "key" | "k" => problems.fill(&mut key, "key", text(json.value()?)),
            "type" | "t" => problems.fill(&mut kind, "type", text(json.value()?)),
            "value" | "v" => problems.fill(&mut value, "value", scalar(json.value()?)),
            _ => unknown(json, field, Some(Within::Attribute(index)), &mut lists.visitor_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    problems.required(&kind, "type");
    problems.required(&value, "value");
    pass_up(problems, of_visitor, || format!("attributes[{index}]"));
    lists.attributes.push(AttributeRef { id: entity.value, name: key.value, kind: kind.value, value: value.value });
    Ok(())
}

fn scalar(value: Value<'_>) -> Result<Option<&str>, Broken> {
    match typed(value) {
        Value::Null => Ok(None),
        Value::Object(_) | Value::Array(_) => Err(wrong_type("a string, a number, true or false")),
        scalar => Ok(Some(as_text(scalar))),
    }
}
