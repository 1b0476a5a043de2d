//! Bodies as the real clients write them, byte for byte in shape: which fields, which order, which nulls.

use millrace_schemas::raw::Event;

use crate::world::{World, conversion, decisions};

async fn taken(fixture: &str, content_type: &str, count: &str) -> Vec<Event> {
    let world = World::new().await;
    let answer = world.post("/v1/events", &[("Content-Type", content_type)], fixture.to_owned()).await;
    assert_eq!((answer.status, answer.counts()), (204, (count, "0")), "{:?}", world.rejects());
    world.accepted()
}

fn experiment(event: &Event) -> (Option<&str>, Option<&str>, Option<&str>) {
    let decision = &decisions(event)[0];
    (decision.campaign_id.as_deref(), decision.experiment_id.as_deref(), decision.variation_id.as_deref())
}

#[tokio::test]
async fn the_python_sdk() {
    let events = taken(include_str!("fixtures/python.json"), "application/json", "3").await;
    assert_eq!(experiment(&events[0]), (Some("9200"), Some("9300"), Some("9301")));
    let decision = &decisions(&events[0])[0];
    assert_eq!((decision.rule_type.as_deref(), decision.enabled), (Some("experiment"), Some(true)));
    assert_eq!(experiment(&events[1]), (None, None, None), "a rollout without experiment: \"\" is none");
    assert_eq!((conversion(&events[2]).revenue, conversion(&events[2]).value), (Some(4200), Some(1.5)));
    assert_eq!(conversion(&events[2]).tags.len(), 3, "what is lifted out stays in the tags");
    assert!(events.iter().all(|event| event.client_engine.as_deref() == Some("python-sdk")));
}

#[tokio::test]
async fn the_javascript_sdk() {
    let events = taken(include_str!("fixtures/javascript.json"), "application/json", "2").await;
    assert_eq!(experiment(&events[0]), (Some("9200"), Some("9300"), Some("9302")));
    assert_eq!(conversion(&events[1]).key.as_deref(), Some("add:to:cart"));
    assert_eq!((conversion(&events[1]).revenue, conversion(&events[1]).value), (None, None));
}

#[tokio::test]
async fn the_go_sdk() {
    let events = taken(include_str!("fixtures/go.json"), "application/json", "2").await;
    assert_eq!(experiment(&events[0]), (Some("9200"), Some("9300"), Some("9301")));
    assert_eq!(decisions(&events[0])[0].is_holdback, Some(false));
    assert!(conversion(&events[1]).snapshot_decisions.is_empty(), "its decisions are null");
}

#[tokio::test]
async fn the_web_snippet_with_short_names_in_plain_text() {
    let events = taken(include_str!("fixtures/snippet.json"), "text/plain;charset=UTF-8", "2").await;
    assert_eq!(experiment(&events[0]), (Some("9200"), Some("9300"), Some("9301")));
    assert_eq!(decisions(&events[0])[0].is_holdback, Some(true));
    let event = &events[1];
    assert_eq!((event.uuid.as_str(), event.timestamp_ms), ("f4a5b6c7-0001", 1_772_323_201_000));
    assert_eq!(conversion(event).event_type.as_deref(), Some("custom"));
    assert_eq!(conversion(event).key.as_deref(), Some("add_to_cart"));
    assert_eq!(conversion(event).tags[0].value, "red");
    assert_eq!(conversion(event).snapshot_decisions.len(), 1);
    assert_eq!(event.session_id, None, "AUTO asks for ours");
    assert_eq!(event.attributes[0].value.as_deref(), Some("gc"));
    assert!(event.unknown_fields.contains("snapshot.activationTimestamp"), "{}", event.unknown_fields);
}

#[tokio::test]
async fn a_beacon_with_the_key_in_the_address() {
    let world = World::new().await;
    let path = format!("/v1/events?access_token_query={}", world.keys.write);
    let request = http::Request::post(path).header("Content-Type", "application/json");
    let answer = world.send(request.body(include_str!("fixtures/javascript.json").into()).unwrap()).await;
    assert_eq!((answer.status, answer.counts()), (204, ("2", "0")));
}
