//! A snapshot and its decisions.

use crate::json::{Json, Kind, Value};
use crate::problem::{Problems, Slot, flag, id, text};
use millrace_schemas::raw_encode::DecisionRef;

use super::super::batch::{Lists, Snapshot, Within};
use super::Stopped;
use super::event::event;
use super::parts::{Items, LIST, OBJECT, list, open, pass_up, unknown};

pub(super) fn snapshot<'a>(json: &mut Json<'a>, lists: &mut Lists<'a>, items: &mut Items) -> Result<(), Stopped> {
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
            "events" => {
                // What a second list holds is rejected with its snapshot, event by event.
                problems.first_time(&mut events, "events");
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
