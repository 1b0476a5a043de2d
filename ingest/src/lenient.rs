//! The slow path: taken only where something in a body is wrong, it finds out what, event by event.

use millrace_schemas::raw::Reject;
use serde_json::value::RawValue;

use crate::accept::{Sender, Shared, accept};
use crate::fault::Fault;
use crate::limits::{REJECT_ORIGINAL_BYTES_MAX, UUID_BYTES_MAX, VISITOR_ID_BYTES_MAX};
use crate::records::Records;
use crate::wire::{Event, LooseBatch, LooseSnapshot, LooseVisitor};

/// An event that could not be used.
pub(crate) struct Bad {
    pub(crate) fault: Fault,
    pub(crate) position: u32,
}

/// Takes every good event of the body, and makes a reject of every other part that holds or should hold one.
pub(crate) fn take(shared: &Shared<'_>, visitors: &[&RawValue], records: &mut Records) -> Vec<Bad> {
    let mut walk = Walk { shared, records, bad: Vec::new(), position: 0 };
    for (index, visitor) in visitors.iter().enumerate() {
        walk.visitor(visitor, &format!("visitors[{index}]"));
    }
    walk.bad
}

/// The top of the body, or why it is none.
pub(crate) fn top(body: &[u8]) -> Result<LooseBatch<'_>, String> {
    serde_json::from_slice(body).map_err(|error| format!("The body is not an event batch: {error}"))
}

struct Walk<'a> {
    shared: &'a Shared<'a>,
    records: &'a mut Records,
    bad: Vec<Bad>,
    position: u32,
}

impl Walk<'_> {
    fn visitor(&mut self, json: &RawValue, path: &str) {
        let visitor: LooseVisitor<'_> = match serde_json::from_str(json.get()) {
            Ok(visitor) => visitor,
            Err(error) => return self.spoiled(json, &Fault::json(&error).under(path)),
        };
        let attributes = visitor.attributes.as_deref().unwrap_or_default();
        let sender =
            Sender::new(visitor.visitor_id.as_ref(), visitor.session_id.as_ref(), attributes, &visitor.unknown);
        let sender = match sender {
            Ok(sender) => sender,
            Err(fault) => return self.spoiled(json, &fault.under(path)),
        };
        let Some(snapshots) = &visitor.snapshots else {
            return self.spoiled(json, &Fault::missing("snapshots").under(path));
        };
        for (index, snapshot) in snapshots.iter().enumerate() {
            self.snapshot(snapshot, &sender, &format!("{path}.snapshots[{index}]"));
        }
    }

    fn snapshot(&mut self, json: &RawValue, sender: &Sender<'_>, path: &str) {
        let parsed = serde_json::from_str::<LooseSnapshot<'_>>(json.get()).map_err(|error| Fault::json(&error));
        let parsed = parsed.and_then(|snapshot| match snapshot.events {
            Some(_) => Ok(snapshot),
            None => Err(Fault::missing("events")),
        });
        let snapshot = match parsed {
            Ok(snapshot) => snapshot,
            Err(fault) => {
                let fault = fault.under(path);
                return match salvage_events(json) {
                    events if events.is_empty() => self.reject(json, sender.visitor_id, &fault),
                    events => events.iter().for_each(|event| self.reject(event, sender.visitor_id, &fault)),
                };
            }
        };
        let decisions = snapshot.decisions.as_deref().unwrap_or_default();
        for (index, json) in snapshot.events.iter().flatten().enumerate() {
            let taken = serde_json::from_str::<Event<'_>>(json.get())
                .map_err(|error| Fault::json(&error))
                .and_then(|event| accept(self.shared, sender, decisions, &event, &snapshot.unknown, self.records));
            match taken {
                Ok(()) => self.position += 1,
                Err(fault) => {
                    self.reject(json, sender.visitor_id, &fault.under(&format!("{path}.events[{index}]")));
                }
            }
        }
    }

    // A visitor that cannot be used: each of its events is a reject, or the visitor if none can be made out.
    fn spoiled(&mut self, json: &RawValue, fault: &Fault) {
        let members = members(json);
        let visitor_id = members.iter().find(|(name, _)| name == "visitor_id").and_then(|(_, value)| text(value));
        let visitor_id = visitor_id.filter(|id| id.len() <= VISITOR_ID_BYTES_MAX).unwrap_or_default();
        let snapshots = members.iter().find(|(name, _)| name == "snapshots").map(|(_, value)| elements(value));
        let events: Vec<_> = snapshots.iter().flatten().flat_map(|snapshot| salvage_events(snapshot)).collect();
        if events.is_empty() {
            self.reject(json, &visitor_id, fault);
        }
        for event in events {
            self.reject(event, &visitor_id, fault);
        }
    }

    fn reject(&mut self, original: &RawValue, visitor_id: &str, fault: &Fault) {
        let uuid = members(original).into_iter().find(|(name, _)| name == "uuid" || name == "u");
        let uuid = uuid.and_then(|(_, value)| text(value)).filter(|uuid| uuid.len() <= UUID_BYTES_MAX);
        let bytes = original.get().as_bytes();
        let reject = Reject {
            account_id: self.shared.account_id.to_owned(),
            visitor_id: visitor_id.to_owned(),
            uuid,
            reason: fault.reason.to_owned(),
            field: fault.field.clone(),
            rule: fault.rule.clone(),
            original: bytes[..bytes.len().min(REJECT_ORIGINAL_BYTES_MAX)].to_vec().into(),
            position: self.position,
            source: self.shared.source.to_owned(),
            request_id: self.shared.request_id.to_owned(),
        };
        self.records.reject(reject, self.shared.partitions);
        self.bad.push(Bad { fault: fault.clone(), position: self.position });
        self.position += 1;
    }
}

fn members(json: &RawValue) -> Vec<(String, &RawValue)> {
    let parsed = serde_json::from_str::<crate::wire::Members<'_, &RawValue>>(json.get());
    parsed.map(|all| all.0.into_iter().map(|(name, value)| (name.to_string(), value)).collect()).unwrap_or_default()
}

fn elements(json: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(json.get()).unwrap_or_default()
}

fn salvage_events(snapshot: &RawValue) -> Vec<&RawValue> {
    members(snapshot)
        .into_iter()
        .find(|(name, _)| name == "events")
        .map(|(_, value)| elements(value))
        .unwrap_or_default()
}

fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}
