//! An event, its tags and properties.

use crate::json::{Json, Kind, Value};
use crate::limits::LIST_MAX;
use crate::pairs::keep_last;
use crate::problem::{Broken, Problems, Slot, as_text, integer, number, text, timestamp, typed, uuid, wrong_type};

use super::super::batch::{Event, Lists, Part};
use super::Stopped;
use super::parts::{Items, LONG_LIST, OBJECT, open, unknown};

pub(super) fn event<'a>(json: &mut Json<'a>, lists: &mut Lists<'a>, items: &mut Items) -> Result<(), Stopped> {
    items.one_more_of(lists.events.len())?;
    let mut event = Event { unknown: open(&lists.event_unknown), ..Event::default() };
    let mark = json.mark();
    if json.kind() == Kind::Object {
        event_members(json, &mut event, lists, items)?;
    } else {
        json.value()?;
        event.problems.note("", OBJECT);
    }
    event.original = json.since(mark);
    event.unknown.end = lists.event_unknown.len();
    lists.events.push(event);
    Ok(())
}

fn event_members<'a>(
    json: &mut Json<'a>,
    event: &mut Event<'a>,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut entity, mut kind, mut key, mut id] = [Slot::EMPTY; 4];
    let [mut time, mut revenue, mut quantity] = [Slot::EMPTY; 3];
    let mut value = Slot::EMPTY;
    let [mut tags, mut properties] = [Slot::EMPTY; 2];
    let problems = &mut event.problems;
    json.object(|json, field| {
        match field {
            "entity_id" | "e" => problems.fill(&mut entity, "entity_id", text(json.value()?)),
            "type" | "y" => problems.fill(&mut kind, "type", text(json.value()?)),
            "key" | "k" => problems.fill(&mut key, "key", text(json.value()?)),
            "uuid" | "u" => problems.fill(&mut id, "uuid", uuid(json.value()?)),
            "timestamp" | "t" => problems.fill(&mut time, "timestamp", timestamp(typed(json.value()?))),
            "revenue" => problems.fill(&mut revenue, "revenue", integer(typed(json.value()?))),
            "value" => problems.fill(&mut value, "value", number(typed(json.value()?))),
            "quantity" => problems.fill(&mut quantity, "quantity", integer(typed(json.value()?))),
            "tags" | "a" if problems.first_time::<()>(&mut tags, "tags") => {
                let any = |value| Ok(as_text(typed(value)));
                event.tags = pairs(json, problems, "tags", any, &mut lists.pairs, items)?;
            }
            "properties" if problems.first_time::<()>(&mut properties, "properties") => {
                event.properties = pairs(json, problems, "properties", property, &mut lists.pairs, items)?;
            }
            _ => unknown(json, field, None, &mut lists.event_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    event.timestamp_ms = problems.required(&time, "timestamp").unwrap_or_default();
    event.uuid = problems.required(&id, "uuid");
    event.entity_id = entity.value;
    event.kind = kind.value;
    event.key = key.value;
    event.revenue = revenue.value;
    event.value = value.value;
    event.quantity = quantity.value;
    Ok(())
}

fn property(value: Value<'_>) -> Result<&str, Broken> {
    match value {
        // It may carry a typed value.
        Value::Text(_) => Ok(as_text(typed(value))),
        _ => Err(wrong_type("a string")),
    }
}

/// Reads names and texts. null is none, and so is `[]`: PHP writes a map without entries so.
fn pairs<'a>(
    json: &mut Json<'a>,
    problems: &mut Problems,
    name: &'static str,
    read: impl Fn(Value<'a>) -> Result<&'a str, Broken>,
    pairs: &mut Vec<(&'a str, &'a str)>,
    items: &mut Items,
) -> Result<Part, Stopped> {
    let start = pairs.len();
    if json.kind() != Kind::Object {
        match json.value()? {
            Value::Null => {}
            Value::Array(text) if text[1..text.len() - 1].trim().is_empty() => {}
            _ => problems.note(name, OBJECT),
        }
        return Ok(start..start);
    }
    json.object(|json, key| {
        items.one_more()?;
        match read(json.value()?) {
            Ok(_) if pairs.len() - start == LIST_MAX => problems.note(name, LONG_LIST),
            Ok(value) => pairs.push((key, value)),
            Err(broken) => problems.note(format!("{name}.{key}"), broken),
        }
        Ok::<_, Stopped>(())
    })?;
    keep_last(pairs, start);
    Ok(start..pairs.len())
}
