//! Reads a body in one pass. A fault of the JSON or a bad field of the batch ends it; a bad part only notes its problem.

use crate::json::{Fault, Json, Kind, Value};
use crate::limits::{EVENTS_MAX, ITEMS_MAX, LIST_MAX, VISITOR_ID_BYTES_MAX};
use crate::pairs::keep_last;
use crate::problem::{
    Broken, Problem, Problems, Slot, as_text, flag, id, integer, number, out_of_range, text, timestamp, typed, uuid,
    wrong_type,
};
use crate::refusal::Refusal;

use super::batch::{Batch, Event, Lists, Part, Snapshot, Unknown, Visitor, Within};
use millrace_schemas::raw_encode::{AttributeRef, DecisionRef};

const LIST: Broken = wrong_type("an array");
const OBJECT: Broken = wrong_type("an object");
const LONG_LIST: Broken = out_of_range("a list of at most 1000");
const USER_AGENT: &str = "$opt_user_agent";

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

/// Counts what a body lists.
struct Items(usize);

impl Items {
    fn one_more(&mut self) -> Result<(), Stopped> {
        self.0 += 1;
        if self.0 > ITEMS_MAX { Err(Stopped::TooMuch("The body lists more than 200000 things")) } else { Ok(()) }
    }

    /// One more visitor, snapshot or event, of which there are `so_far`.
    fn one_more_of(&mut self, so_far: usize) -> Result<(), Stopped> {
        if so_far >= EVENTS_MAX {
            return Err(Stopped::TooMuch("The body has more than 10000 visitors, snapshots or events"));
        }
        self.one_more()
    }
}

fn unknown<'a>(
    json: &mut Json<'a>,
    name: &'a str,
    within: Option<Within>,
    list: &mut Vec<Unknown<'a>>,
    items: &mut Items,
) -> Result<(), Stopped> {
    items.one_more()?;
    let mark = json.mark();
    json.value()?;
    list.push(Unknown { within, name, value: json.since(mark) });
    Ok(())
}

fn visitor<'a>(
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

fn open<T>(list: &[T]) -> Part {
    list.len()..list.len()
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
            "snapshots" if problems.first_time(&mut snapshots, "snapshots") => {
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

/// Reads a bounded list of objects; null is none.
fn list<'a>(
    json: &mut Json<'a>,
    problems: &mut Problems,
    name: &'static str,
    mut item: impl FnMut(&mut Json<'a>, &mut Problems, usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    if json.kind() != Kind::Array {
        if json.value()? != Value::Null {
            problems.note(name, LIST);
        }
        return Ok(());
    }
    let mut index = 0;
    json.array(|json| {
        let at = index;
        index += 1;
        if at == LIST_MAX {
            problems.note(name, LONG_LIST);
        }
        if at >= LIST_MAX {
            json.value()?;
        } else if json.kind() == Kind::Object {
            item(json, problems, at)?;
        } else {
            json.value()?;
            problems.note(format!("{name}[{at}]"), OBJECT);
        }
        Ok::<_, Stopped>(())
    })
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

/// A problem of an item is a problem of the part it stands in.
fn pass_up(of_item: Problems, of_part: &mut Problems, item: impl FnOnce() -> String) {
    if let Some(Problem { field, broken }) = of_item.into_first() {
        of_part.note(format!("{}.{field}", item()), broken);
    }
}

fn snapshot<'a>(json: &mut Json<'a>, lists: &mut Lists<'a>, items: &mut Items) -> Result<(), Stopped> {
    items.one_more_of(lists.snapshots.len())?;
    let mut snapshot = Snapshot {
        decisions: open(&lists.decisions),
        events: open(&lists.events),
        unknown: open(&lists.snapshot_unknown),
        ..Snapshot::default()
    };
    let mark = json.mark();
    if json.kind() == Kind::Object {
        snapshot_members(json, &mut snapshot.problems, lists, items)?;
    } else {
        json.value()?;
        snapshot.problems.note("", OBJECT);
    }
    snapshot.original = json.since(mark);
    snapshot.decisions.end = lists.decisions.len();
    snapshot.events.end = lists.events.len();
    snapshot.unknown.end = lists.snapshot_unknown.len();
    lists.snapshots.push(snapshot);
    Ok(())
}

fn snapshot_members<'a>(
    json: &mut Json<'a>,
    problems: &mut Problems,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut decisions, mut events] = [Slot::EMPTY; 2];
    json.object(|json, field| {
        match field {
            "decisions" if problems.first_time(&mut decisions, "decisions") => {
                list(json, problems, "decisions", |json, problems, index| {
                    items.one_more()?;
                    decision(json, problems, index, lists, items)
                })?;
            }
            "events" if problems.first_time(&mut events, "events") => {
                if json.kind() == Kind::Array {
                    events.value = Some(());
                    json.array(|json| event(json, lists, items))?;
                } else if json.value()? != Value::Null {
                    problems.note("events", LIST);
                }
            }
            _ => unknown(json, field, None, &mut lists.snapshot_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    problems.required(&events, "events");
    Ok(())
}

fn decision<'a>(
    json: &mut Json<'a>,
    of_snapshot: &mut Problems,
    index: usize,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut campaign, mut experiment, mut variation] = [Slot::EMPTY; 3];
    let mut holdback = Slot::EMPTY;
    let mut about = Slot::EMPTY;
    let mut decision = DecisionRef::default();
    let mut problems = Problems::default();
    json.object(|json, field| {
        match field {
            "campaign_id" | "c" => problems.fill(&mut campaign, "campaign_id", id(json.value()?)),
            "experiment_id" | "x" => problems.fill(&mut experiment, "experiment_id", id(json.value()?)),
            "variation_id" | "v" => problems.fill(&mut variation, "variation_id", id(json.value()?)),
            "is_campaign_holdback" | "h" => problems.fill(&mut holdback, "is_campaign_holdback", flag(json.value()?)),
            "metadata" if problems.first_time::<()>(&mut about, "metadata") => {
                if json.kind() == Kind::Object {
                    metadata(json, &mut problems, &mut decision, index, lists, items)?;
                } else if json.value()? != Value::Null {
                    problems.note("metadata", OBJECT);
                }
            }
            _ => unknown(json, field, Some(Within::Decision(index)), &mut lists.snapshot_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    pass_up(problems, of_snapshot, || format!("decisions[{index}]"));
    decision.campaign_id = campaign.value;
    decision.experiment_id = experiment.value;
    decision.variation_id = variation.value;
    decision.is_holdback = holdback.value;
    lists.decisions.push(decision);
    Ok(())
}

fn metadata<'a>(
    json: &mut Json<'a>,
    of_decision: &mut Problems,
    decision: &mut DecisionRef<'a>,
    index: usize,
    lists: &mut Lists<'a>,
    items: &mut Items,
) -> Result<(), Stopped> {
    let [mut flag_key, mut rule_key, mut rule_type, mut variation_key] = [Slot::EMPTY; 4];
    let mut enabled = Slot::EMPTY;
    let mut problems = Problems::default();
    json.object(|json, field| {
        match field {
            "flag_key" => problems.fill(&mut flag_key, "flag_key", text(json.value()?)),
            "rule_key" => problems.fill(&mut rule_key, "rule_key", text(json.value()?)),
            "rule_type" => problems.fill(&mut rule_type, "rule_type", text(json.value()?)),
            "variation_key" => problems.fill(&mut variation_key, "variation_key", text(json.value()?)),
            "enabled" => problems.fill(&mut enabled, "enabled", flag(json.value()?)),
            _ => unknown(json, field, Some(Within::Metadata(index)), &mut lists.snapshot_unknown, items)?,
        }
        Ok::<_, Stopped>(())
    })?;
    pass_up(problems, of_decision, || "metadata".to_owned());
    decision.flag_key = flag_key.value;
    decision.rule_key = rule_key.value;
    decision.rule_type = rule_type.value;
    decision.variation_key = variation_key.value;
    decision.enabled = enabled.value;
    Ok(())
}

fn event<'a>(json: &mut Json<'a>, lists: &mut Lists<'a>, items: &mut Items) -> Result<(), Stopped> {
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
    match typed(value) {
        Value::Text(text) => Ok(text),
        _ => Err(wrong_type("a string")),
    }
}

/// Reads names and texts.
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
        if json.value()? != Value::Null {
            problems.note(name, OBJECT);
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
