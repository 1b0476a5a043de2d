//! Bodies of the Event API, as the SDKs send them.

use serde_json::{Value, json};

/// A batch of visitors. One visitor object per event is what the SDKs make.
#[must_use]
pub fn batch(account: &str, visitors: Vec<Value>) -> Value {
    json!({
        "account_id": account,
        "project_id": "5001",
        "revision": "42",
        "client_name": "millrace-tests",
        "client_version": "1",
        "anonymize_ip": true,
        "enrich_decisions": true,
        "visitors": visitors,
    })
}

/// A visitor was given `variation` of `experiment`.
#[must_use]
pub fn decision(visitor: &str, uuid: &str, experiment: &str, variation: &str, timestamp_ms: i64) -> Value {
    let campaign = format!("campaign-of-{experiment}");
    json!({
        "visitor_id": visitor,
        "attributes": [{"entity_id": "6001", "key": "plan", "type": "custom", "value": "gold"}],
        "snapshots": [{
            "decisions": [{
                "campaign_id": campaign,
                "experiment_id": experiment,
                "variation_id": variation,
                "is_campaign_holdback": false,
            }],
            "events": [{
                "entity_id": campaign,
                "key": "campaign_activated",
                "uuid": uuid,
                "timestamp": timestamp_ms,
            }],
        }],
    })
}

/// A visitor did `name`.
#[must_use]
pub fn conversion(visitor: &str, uuid: &str, name: &str, timestamp_ms: i64) -> Value {
    json!({
        "visitor_id": visitor,
        "attributes": [],
        "snapshots": [{
            "events": [{
                "entity_id": "8001",
                "key": name,
                "uuid": uuid,
                "timestamp": timestamp_ms,
                "revenue": 4200,
                "tags": {"revenue": 4200, "colour": "red"},
            }],
        }],
    })
}
