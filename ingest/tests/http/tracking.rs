//! The rules of `/api/v1/tracking/track` and `/batch`.

use millrace_schemas::reasons;
use serde_json::{Value, json};

use crate::world::{Answer, NOW_MS, World, conversion, decisions};

const TRACK: &str = "/api/v1/tracking/track";
const BATCH: &str = "/api/v1/tracking/batch";

async fn track(world: &World, body: Value) -> Answer {
    world.post(TRACK, &[], body.to_string()).await
}

#[tokio::test]
async fn the_shortest_body_works_and_the_answer_shows_the_event_as_kept() {
    let world = World::new().await;
    let answer =
        track(&world, json!({"user_id": "user-123", "event_type": "purchase_completed", "value": 49.99})).await;
    let shown = answer.json();
    let event = &world.accepted()[0];
    let expected = json!({
        "id": event.uuid,
        "user_id": "user-123",
        "event_type": "purchase_completed",
        "event_name": "purchase_completed",
        "value": 49.99,
        "experiment_key": null,
        "feature_flag_key": null,
        "metadata": null,
        "timestamp": "2026-03-01T00:00:00.000Z",
    });
    assert_eq!((answer.status, shown), (200, expected));
    assert_eq!((event.visitor_id.as_str(), event.timestamp_ms), ("user-123", NOW_MS));
    assert_eq!(event.user_ip.as_deref(), Some("198.51.100.0"));
    let conversion = conversion(event);
    assert_eq!(conversion.event_type.as_deref(), Some("purchase_completed"));
    assert_eq!((conversion.key.as_deref(), conversion.value), (Some("purchase_completed"), Some(49.99)));
}

#[tokio::test]
async fn all_fields_are_kept() {
    let world = World::new().await;
    let body = json!({
        "user_id": "ann",
        "event_type": "purchase",
        "event_name": "Purchase",
        "experiment_key": "checkout",
        "feature_flag_key": "dark-mode",
        "metadata": {"colour": "green", "items": [1, 2]},
        "timestamp": "2026-03-01T10:00:00+01:00",
        "uuid": "mine",
        "channel": "web",
    });
    let answer = track(&world, body).await;
    assert_eq!(answer.status, 200);
    let shown = answer.json();
    assert_eq!((&shown["id"], &shown["event_name"]), (&json!("mine"), &json!("Purchase")));
    assert_eq!(shown["metadata"], json!({"colour": "green", "items": [1, 2]}));
    assert_eq!(shown["timestamp"], "2026-03-01T09:00:00.000Z");
    let event = &world.accepted()[0];
    assert_eq!((event.uuid.as_str(), event.timestamp_ms), ("mine", NOW_MS + 9 * 3_600_000));
    let tags: Vec<_> = conversion(event).tags.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect();
    assert_eq!(tags, [("colour", "green"), ("items", "[1,2]")]);
    let unknown: Value = serde_json::from_str(&event.unknown_fields).unwrap();
    let expected =
        json!({"event.channel": "web", "event.experiment_key": "checkout", "event.feature_flag_key": "dark-mode"});
    assert_eq!(unknown, expected);
}

#[tokio::test]
async fn an_exposure_with_experiment_and_variant_is_a_decision() {
    let world = World::new().await;
    let body = |experiment: Value, metadata: Value| json!({"user_id": "ann", "event_type": "exposure", "experiment_key": experiment, "metadata": metadata});
    track(&world, body(json!("checkout"), json!({"variant": "green"}))).await;
    let event = world.accepted().pop().unwrap();
    let decision = &decisions(&event)[0];
    let ids = (decision.experiment_id.as_deref(), decision.variation_id.as_deref());
    assert_eq!(ids, (Some("checkout"), Some("green")));
    let mut more = body(json!("checkout"), json!({"variant": "green", "page": "/"}));
    more["event_name"] = json!("Seen");
    more["value"] = json!(1.5);
    track(&world, more).await;
    let kept: Value = serde_json::from_str(&world.accepted().pop().unwrap().unknown_fields).unwrap();
    let expected = json!({
        "event.experiment_key": "checkout",
        "event.event_name": "Seen",
        "event.value": 1.5,
        "event.metadata": {"variant": "green", "page": "/"},
    });
    assert_eq!(kept, expected, "a decision has no fields for these");
    track(&world, body(json!("checkout"), json!({"variant": 2}))).await;
    assert_eq!(decisions(&world.accepted().pop().unwrap())[0].variation_id.as_deref(), Some("2"));
    let none = [Value::Null, json!({})].into_iter().chain(
        [json!(null), json!(""), json!({}), json!([]), json!("\u{e000}null")]
            .map(|variant| json!({"variant": variant})),
    );
    let checkout = none.map(|metadata| (json!("checkout"), metadata));
    for (experiment, metadata) in checkout.chain([(Value::Null, json!({"variant": "green"}))]) {
        track(&world, body(experiment, metadata)).await;
        assert_eq!(conversion(&world.accepted().pop().unwrap()).event_type.as_deref(), Some("exposure"));
    }
}

#[tokio::test]
async fn an_idempotency_key_serves_as_uuid_and_without_one_a_resend_is_a_new_event() {
    let world = World::new().await;
    let body = json!({"user_id": "ann", "event_type": "x"}).to_string();
    let key = [("Idempotency-Key", "once")];
    for _ in 0..2 {
        assert_eq!(world.post(TRACK, &key, body.clone()).await.json()["id"], "once");
    }
    let batch = json!({"events": [{"user_id": "ann", "event_type": "x"}, {"user_id": "ann", "event_type": "x"}]});
    world.post(BATCH, &key, batch.to_string()).await;
    let uuids: Vec<String> = world.accepted().into_iter().map(|event| event.uuid).collect();
    assert_eq!(uuids, ["once", "once", "once:0", "once:1"]);
    let mut own = json!({"user_id": "ann", "event_type": "x", "uuid": "own"});
    assert_eq!(world.post(TRACK, &key, own.to_string()).await.json()["id"], "own", "the event's own comes first");
    own.as_object_mut().unwrap().remove("uuid");
    let (first, second) = (track(&world, own.clone()).await.json(), track(&world, own).await.json());
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn an_idempotency_key_is_taken_as_it_is_or_not_at_all() {
    let world = World::new().await;
    let post = async |key: &[u8]| {
        let mut request = world.request(TRACK, &[], json!({"user_id": "ann", "event_type": "x"}).to_string());
        request.headers_mut().insert("Idempotency-Key", http::HeaderValue::from_bytes(key).unwrap());
        world.send(request).await
    };
    assert_eq!(post("schlüssel".as_bytes()).await.json()["id"], "schlüssel");
    assert_eq!(post(&[b'x'; 128]).await.status, 200);
    assert_eq!(post(&[b'x'; 129]).await.status, 422);
    assert_eq!(post(b"\xff").await.status, 400, "two that cannot be told apart would be one event");
}

#[tokio::test]
async fn bad_fields_are_422_with_the_field_and_leave_no_record() {
    let world = World::new().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"user_id": "ann", "event_type": "x"});
        body[field] = value;
        body
    };
    let (missing, wrong, range) = (reasons::MISSING_FIELD, reasons::WRONG_TYPE, reasons::OUT_OF_RANGE);
    let cases = [
        (json!({"event_type": "x"}), "user_id", missing),
        (json!({"user_id": "ann"}), "event_type", missing),
        (with("user_id", json!("")), "user_id", range),
        (with("user_id", json!("é".repeat(256))), "user_id", range),
        (with("user_id", json!(7)), "user_id", wrong),
        (with("event_type", json!("")), "event_type", range),
        (with("event_type", json!("x".repeat(101))), "event_type", range),
        (with("event_name", json!(1)), "event_name", wrong),
        (with("value", json!("49.99")), "value", wrong),
        (with("experiment_key", json!([])), "experiment_key", wrong),
        (with("feature_flag_key", json!(1)), "feature_flag_key", wrong),
        (with("metadata", json!("{}")), "metadata", wrong),
        (with("timestamp", json!("yesterday")), "timestamp", range),
        (with("timestamp", json!(1_772_323_200_000_i64)), "timestamp", wrong),
        (with("uuid", json!("x".repeat(129))), "uuid", range),
    ];
    for (body, field, reason) in cases {
        let answer = track(&world, body.clone()).await;
        let detail = &answer.json()["detail"][0];
        assert_eq!((answer.status, &detail["loc"]), (422, &json!(["body", field])), "{body}");
        assert_eq!(detail["type"], reason, "{body}");
    }
    assert_eq!(track(&world, json!([])).await.status, 422);
    assert_eq!(world.post(TRACK, &[], "{").await.status, 400);
    assert!(world.raw().is_empty());
    assert_eq!(track(&world, with("user_id", json!("é".repeat(255)))).await.status, 200);
}

#[tokio::test]
async fn a_batch_takes_the_good_names_the_bad_and_keeps_them_as_rejects() {
    let world = World::new().await;
    let good = json!({"user_id": "ann", "event_type": "x"});
    let answer = world.post(BATCH, &[], json!({"events": [good, good]}).to_string()).await;
    assert_eq!(answer.json(), json!({"success_count": 2, "failure_count": 0, "errors": null}));

    let bad = json!({"user_id": "bob", "event_type": "y", "value": "1"});
    let answer = world.post(BATCH, &[], json!({"events": [good, bad, 7]}).to_string()).await;
    let expected = json!({"success_count": 1, "failure_count": 2, "errors": [
        {"index": 1, "event_type": "y", "user_id": "bob", "error": "value: expected a number or null"},
        {"index": 2, "event_type": null, "user_id": null, "error": "expected an object"},
    ]});
    assert_eq!((answer.status, answer.json()), (200, expected));
    assert_eq!(world.appends().len(), 2, "one append for each request");
    let rejects = world.rejects();
    assert_eq!((rejects[0].field.as_str(), rejects[0].position), ("events[1].value", 1));
    assert_eq!(rejects[0].original, bad.to_string());
    assert_eq!((rejects[1].field.as_str(), rejects[1].visitor_id.as_str()), ("events[2]", ""));
}

#[tokio::test]
async fn what_a_batch_has_beside_its_events_is_kept_with_each() {
    let world = World::new().await;
    let event = |user: &str| json!({"user_id": user, "event_type": "x", "extra": 1});
    let body = json!({"sent_by": {"app": "shop"}, "events": [event("ann"), event("bob")]});
    assert_eq!(world.post(BATCH, &[], body.to_string()).await.status, 200);
    for kept in world.accepted() {
        let unknown: Value = serde_json::from_str(&kept.unknown_fields).unwrap();
        assert_eq!(unknown, json!({"event.extra": 1, "batch.sent_by": {"app": "shop"}}));
    }
    assert_eq!(world.accepted().len(), 2);

    let large = json!({"sent_by": "x".repeat(300_000), "events": [event("ann")]}).to_string();
    let answer = world.post(BATCH, &[], large).await.json();
    assert_eq!(answer["failure_count"], 1, "an event with it would be larger than one may be: {answer}");

    let with = |fields: usize| {
        let mut body = json!({"events": [event("ann")]});
        (0..fields).for_each(|field| body[format!("f{field}")] = json!(1));
        body.to_string()
    };
    assert_eq!(world.post(BATCH, &[], with(1000)).await.status, 200);
    let answer = world.post(BATCH, &[], with(1001)).await;
    assert_eq!((answer.status, &answer.json()["detail"][0]["type"]), (422, &json!(reasons::OUT_OF_RANGE)));
}

#[tokio::test]
async fn a_batch_has_1_to_100_events() {
    let world = World::new().await;
    let events = |count| json!({"events": vec![json!({"user_id": "ann", "event_type": "x"}); count]}).to_string();
    let answer = world.post(BATCH, &[], events(100)).await;
    assert_eq!((answer.status, &answer.json()["success_count"]), (200, &json!(100)));
    let answer = world.post(BATCH, &[], events(101)).await;
    assert_eq!((answer.status, answer.json()), (413, json!({"detail": "Batch size exceeds the limit of 100 events"})));
    for none in [events(0), json!({}).to_string(), json!({"events": {}}).to_string(), "7".into()] {
        let answer = world.post(BATCH, &[], none.clone()).await;
        assert_eq!((answer.status, &answer.json()["detail"][0]["loc"]), (422, &json!(["body", "events"])), "{none}");
    }
    assert_eq!(world.raw().len(), 100);
}
