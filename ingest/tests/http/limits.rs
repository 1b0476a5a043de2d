//! Every limit, from both sides.

use millrace_ingest::limits::{
    BODY_BYTES_MAX, EVENT_BYTES_MAX, EVENTS_MAX, ID_BYTES_MAX, ITEMS_MAX, LIST_MAX, ORIGINAL_BYTES_MAX,
    RECORDS_BYTES_MAX, VISITOR_ID_BYTES_MAX,
};
use millrace_schemas::reasons::{OUT_OF_RANGE, TOO_LARGE};
use serde_json::{Value, json};

use crate::world::{ACCOUNT, World, batch, purchase, visitor};

/// An event of exactly that many bytes.
fn event_of(bytes: usize) -> String {
    let empty = json!({"uuid": "u", "timestamp": 1, "tags": {"t": ""}}).to_string();
    let padded = "x".repeat(bytes - empty.len());
    empty.replace("\"\"", &format!("\"{padded}\""))
}

fn body_with(event: &str) -> String {
    format!(r#"{{"account_id":"{ACCOUNT}","visitors":[{{"visitor_id":"ann","snapshots":[{{"events":[{event}]}}]}}]}}"#)
}

#[tokio::test]
async fn a_body_of_3584_kib_is_taken_and_a_byte_more_closes_the_connection() {
    let world = World::new().await;
    let body = body_with(&purchase("u").to_string());
    let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
    assert_eq!(world.post("/v1/events", &[], padded(BODY_BYTES_MAX)).await.status, 204);
    for headers in [&[][..], &[("Content-Length", "4000000")][..]] {
        let answer = world.post("/v1/events", headers, padded(BODY_BYTES_MAX + 1)).await;
        assert_eq!((answer.status, answer.header("Connection")), (413, "close"));
    }
    assert_eq!(world.raw().len(), 1);
}

#[tokio::test]
async fn an_event_may_have_256_kib_as_sent() {
    let world = World::new().await;
    // Recorded, it has some fields more than sent.
    let fits = event_of(EVENT_BYTES_MAX - 400);
    assert_eq!(world.post("/v1/events", &[], body_with(&fits)).await.counts(), ("1", "0"));
    let larger = event_of(EVENT_BYTES_MAX + 1);
    assert_eq!(world.post("/v1/events", &[], body_with(&larger)).await.counts(), ("0", "1"));
    let reject = &world.rejects()[0];
    assert_eq!((reject.reason.as_str(), reject.field.as_str()), (TOO_LARGE, "visitors[0].snapshots[0].events[0]"));
    assert_eq!(reject.original, &larger[..ORIGINAL_BYTES_MAX], "its beginning is kept");
    assert!(reject.rule.contains("first 262144 bytes"), "and it is said so: {}", reject.rule);
}

#[tokio::test]
async fn an_event_may_have_256_kib_with_all_it_carries() {
    let world = World::new().await;
    let mut small = visitor("ann", purchase("u"));
    small["attributes"] = json!([{"type": "custom", "value": "x".repeat(EVENT_BYTES_MAX)}]);
    assert_eq!(world.events(&batch(vec![small, visitor("bob", purchase("v"))])).await.counts(), ("1", "1"));
    assert_eq!(world.rejects()[0].reason, TOO_LARGE);
}

#[tokio::test]
async fn a_small_body_cannot_become_many_large_records() {
    let world = World::new().await;
    let events: Vec<Value> = (0..RECORDS_BYTES_MAX / 200_000 + 1).map(|n| purchase(&n.to_string())).collect();
    let attributes = json!([{"type": "custom", "value": "x".repeat(200_000)}]);
    let large = json!({"visitor_id": "ann", "attributes": attributes, "snapshots": [{"events": events}]});
    assert_eq!(world.events(&batch(vec![large])).await.status, 413);
    assert!(world.raw().is_empty(), "nothing was taken");
}

#[tokio::test]
async fn nesting_of_32_is_read_and_of_33_refuses_the_whole() {
    let world = World::new().await;
    // body, visitors, visitor, snapshots, snapshot, events, event, tags: eight before the first bracket.
    for (brackets, status) in [(24, 204), (25, 400), (40, 400)] {
        let deep = format!("{}{}", "[".repeat(brackets), "]".repeat(brackets));
        let event = format!(r#"{{"uuid":"u","timestamp":1,"tags":{{"deep":{deep}}}}}"#);
        let answer = world.post("/v1/events", &[], body_with(&event)).await;
        assert_eq!(answer.status, status, "{brackets}");
    }
    let deep =
        format!(r#"{{"user_id":"ann","event_type":"x","metadata":{{"deep":{}{}}}}}"#, "[".repeat(31), "]".repeat(31));
    assert_eq!(world.post("/api/v1/tracking/track", &[], deep).await.status, 400);
}

#[tokio::test]
async fn visitors_snapshots_and_events_are_counted() {
    let world = World::new().await;
    let events = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    let body = |visitors: String| format!(r#"{{"account_id":"{ACCOUNT}","visitors":{visitors}}}"#);
    let answer = world.post("/v1/events", &[], body(events(EVENTS_MAX))).await;
    assert_eq!((answer.status, answer.header("X-Millrace-Rejected")), (204, "10000"));
    for too_many in [
        body(events(EVENTS_MAX + 1)),
        body(format!(r#"[{{"visitor_id":"ann","snapshots":{}}}]"#, events(EVENTS_MAX + 1))),
        body_with(&events(EVENTS_MAX + 1)[1..2 * EVENTS_MAX + 2]),
    ] {
        assert_eq!(world.post("/v1/events", &[], too_many).await.status, 413);
    }
}

#[tokio::test]
async fn everything_that_is_listed_is_counted() {
    let world = World::new().await;
    let unknown: Vec<String> = (0..ITEMS_MAX).map(|n| format!("\"{n}\":0")).collect();
    let body = |count: usize| format!(r#"{{"account_id":"{ACCOUNT}","visitors":[],{}}}"#, unknown[..count].join(","));
    assert_eq!(world.post("/v1/events", &[], body(ITEMS_MAX)).await.status, 204);
    let one_more = body(ITEMS_MAX).replacen("[]", "[0]", 1);
    assert_eq!(world.post("/v1/events", &[], one_more).await.status, 413);
}

#[tokio::test]
async fn lists_of_a_thousand_are_taken_and_longer_ones_rejected() {
    let world = World::new().await;
    for (count, counts) in [(LIST_MAX, ("1", "0")), (LIST_MAX + 1, ("0", "1"))] {
        let object: serde_json::Map<String, Value> = (0..count).map(|n| (n.to_string(), json!("x"))).collect();
        for field in ["tags", "properties"] {
            let mut event = purchase("u");
            event[field] = object.clone().into();
            assert_eq!(world.events(&batch(vec![visitor("ann", event)])).await.counts(), counts, "{field} {count}");
        }
        let mut many = visitor("ann", purchase("u"));
        many["attributes"] = vec![json!({"type": "custom", "value": 1}); count].into();
        assert_eq!(world.events(&batch(vec![many])).await.counts(), counts, "attributes {count}");
        let mut many = visitor("ann", purchase("u"));
        many["snapshots"][0]["decisions"] = vec![json!({}); count].into();
        assert_eq!(world.events(&batch(vec![many])).await.counts(), counts, "decisions {count}");
    }
    assert!(world.rejects().iter().all(|reject| reject.reason == OUT_OF_RANGE));
}

#[tokio::test]
async fn a_visitor_id_may_have_1024_bytes() {
    let world = World::new().await;
    for (bytes, counts) in [(VISITOR_ID_BYTES_MAX, ("1", "0")), (VISITOR_ID_BYTES_MAX + 1, ("0", "1"))] {
        let id = "x".repeat(bytes);
        assert_eq!(world.events(&batch(vec![visitor(&id, purchase("u"))])).await.counts(), counts);
    }
}

#[tokio::test]
async fn ids_of_campaigns_experiments_and_variations_may_have_1024_bytes() {
    let world = World::new().await;
    for (bytes, counts, status) in [(ID_BYTES_MAX, ("1", "0"), 200), (ID_BYTES_MAX + 1, ("0", "1"), 422)] {
        let id = "x".repeat(bytes);
        for field in ["campaign_id", "experiment_id", "variation_id"] {
            let mut one = visitor("ann", purchase("u"));
            one["snapshots"][0]["decisions"] = json!([{field: id}]);
            assert_eq!(world.events(&batch(vec![one])).await.counts(), counts, "{field} {bytes}");
        }
        for (experiment, variant) in [(&*id, "b"), ("e", &*id)] {
            let body = json!({"user_id": "ann", "event_type": "exposure", "experiment_key": experiment, "metadata": {"variant": variant}});
            let answer = world.post("/api/v1/tracking/track", &[], body.to_string()).await;
            assert_eq!(answer.status, status, "{bytes}: {:?}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_header_that_is_too_long_is_left_out() {
    let world = World::new().await;
    let body = batch(vec![visitor("ann", purchase("u"))]).to_string();
    for (length, kept) in [(8 << 10, true), ((8 << 10) + 1, false)] {
        let agent = "x".repeat(length);
        world.post("/v1/events", &[("User-Agent", &agent)], body.clone()).await;
        assert_eq!(world.accepted().pop().unwrap().user_agent.is_some(), kept);
    }
}
