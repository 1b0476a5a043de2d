//! The rules of `POST /v1/events`.

use std::io::Write;

use millrace_ingest::Config;
use millrace_schemas::partition;
use millrace_schemas::reasons;
use serde_json::{Value, json};

use crate::world::{ACCOUNT, NOW_MS, PARTITIONS, World, batch, conversion, decisions, purchase, visitor};

fn snapshot(decisions: Value, event: Value) -> Value {
    json!({"visitor_id": "ann", "snapshots": [{"decisions": decisions, "events": [event]}]})
}

fn activated(campaign: Value) -> Value {
    json!({"uuid": "u", "timestamp": 1, "key": "campaign_activated", "entity_id": campaign})
}

#[tokio::test]
async fn success_is_204_with_an_empty_body_and_the_counts() {
    let world = World::new().await;
    let answer = world.events(&batch(vec![visitor("ann", purchase("u-1")), visitor("bob", purchase("u-2"))])).await;
    assert_eq!((answer.status, answer.body.len(), answer.counts()), (204, 0, ("2", "0")));
    assert_eq!(world.appends().len(), 1, "one append for the whole request");
    let accepted = world.accepted();
    assert_eq!(accepted.iter().map(|event| event.uuid.as_str()).collect::<Vec<_>>(), ["u-1", "u-2"]);
    assert_eq!((accepted[0].account_id.as_str(), accepted[0].request_id.as_str()), (ACCOUNT, "id-1"));
    assert!(accepted[0].source.starts_with("key:"), "{}", accepted[0].source);
    assert!(world.raw().iter().all(|raw| raw.witness_ms == NOW_MS));
}

#[tokio::test]
async fn records_are_keyed_and_partitioned_by_account_and_visitor() {
    let world = World::new().await;
    let visitors: Vec<Value> = (0..20).map(|n| visitor(&format!("v-{n}"), purchase(&format!("u-{n}")))).collect();
    world.events(&batch(visitors)).await;
    for (n, record) in world.appends()[0].iter().enumerate() {
        let id = format!("v-{n}");
        assert_eq!(record.key, partition::record_key(ACCOUNT, &id));
        assert_eq!(record.partition, partition::of_visitor(ACCOUNT, &id, PARTITIONS));
    }
}

#[tokio::test]
async fn fields_after_the_visitors_count_as_well() {
    let world = World::new().await;
    let body = format!(
        r#"{{"visitors":[{{"snapshots":[{{"events":[{}],"decisions":null}}],"session_id":"s-1","visitor_id":"ann"}}],
        "anonymize_ip":false,"revision":"42","account_id":"{ACCOUNT}"}}"#,
        purchase("u")
    );
    assert_eq!(world.post("/v1/events", &[], body).await.status, 204);
    let event = &world.accepted()[0];
    assert_eq!((event.visitor_id.as_str(), event.session_id.as_deref()), ("ann", Some("s-1")));
    assert_eq!((event.revision.as_deref(), event.user_ip.as_deref()), (Some("42"), Some("198.51.100.77")));
}

#[tokio::test]
async fn a_decision_event_is_known_by_type_or_by_key_where_there_is_no_type() {
    let world = World::new().await;
    let one = json!([{"campaign_id": "c", "experiment_id": "e", "variation_id": "v"}]);
    let event =
        |kind: Value, key: &str| json!({"uuid": "u", "timestamp": 1, "type": kind, "key": key, "entity_id": "c"});
    let cases = [
        (json!("campaign_activated"), "anything", true),
        (Value::Null, "campaign_activated", true),
        (json!(""), "campaign_activated", true),
        (json!("custom"), "campaign_activated", false),
        (Value::Null, "purchase", false),
    ];
    for (kind, key, is_decision) in cases {
        world.events(&batch(vec![snapshot(one.clone(), event(kind.clone(), key))])).await;
        let accepted = world.accepted();
        let last = accepted.last().unwrap();
        if is_decision {
            assert_eq!(decisions(last).len(), 1, "{kind} {key}");
        } else {
            assert_eq!(conversion(last).snapshot_decisions.len(), 1, "{kind} {key}: kept with the conversion");
        }
    }
}

#[tokio::test]
async fn a_decision_event_takes_the_decisions_of_its_campaign() {
    let world = World::new().await;
    let decision = |campaign: Value, experiment: &str| json!({"campaign_id": campaign, "experiment_id": experiment});
    let several = json!([decision(json!("a"), "1"), decision(json!("b"), "2"), decision(json!("a"), "3")]);
    world.events(&batch(vec![snapshot(several.clone(), activated(json!("a")))])).await;
    // A single one is meant whatever its campaign.
    world.events(&batch(vec![snapshot(json!([decision(json!("a"), "4")]), activated(json!("z")))])).await;
    // The Python SDK sends "" for none.
    let blank = json!([decision(json!(""), ""), decision(json!("b"), "5")]);
    world.events(&batch(vec![snapshot(blank, activated(Value::Null))])).await;
    let experiments: Vec<Vec<Option<String>>> = world
        .accepted()
        .iter()
        .map(|event| decisions(event).iter().map(|decision| decision.experiment_id.clone()).collect())
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(experiments, [vec![named("1"), named("3")], vec![named("4")], vec![None]]);

    for none in [several, json!([]), Value::Null] {
        let answer = world.events(&batch(vec![snapshot(none, activated(json!("z")))])).await;
        assert_eq!((answer.status, answer.counts()), (204, ("0", "1")));
        let reject = world.rejects().pop().unwrap();
        assert_eq!(reject.reason, reasons::DECISION_WITHOUT_MATCH);
        assert_eq!(reject.field, "visitors[0].snapshots[0].events[0].entity_id");
    }
}

#[tokio::test]
async fn a_bad_event_becomes_a_reject_with_its_bytes_and_the_others_are_taken() {
    let world = World::new().await;
    let bad = r#"{ "uuid":"bad", "timestamp" : "yesterday","tags":{"a":[1, 2]} }"#;
    let body = format!(
        r#"{{"account_id":"{ACCOUNT}","visitors":[{},{{"visitor_id":"bob","snapshots":[{{"events":[{},{bad}]}}]}}]}}"#,
        visitor("ann", purchase("good-1")),
        purchase("good-2"),
    );
    let answer = world.post("/v1/events", &[], body).await;
    assert_eq!((answer.status, answer.counts()), (204, ("2", "1")));
    assert_eq!(world.appends().len(), 1, "in the same append");
    let reject = &world.rejects()[0];
    assert_eq!((reject.visitor_id.as_str(), reject.uuid.as_deref()), ("bob", Some("bad")));
    assert_eq!((reject.reason.as_str(), reject.position), (reasons::WRONG_TYPE, 2));
    assert_eq!(reject.field, "visitors[1].snapshots[0].events[1].timestamp");
    assert!(reject.rule.contains("milliseconds"), "{}", reject.rule);
    assert_eq!(reject.original, bad);
    let record = &world.appends()[0][2];
    assert_eq!(record.key, partition::record_key(ACCOUNT, "bob"), "partitioned by its visitor");
}

/// What is wrong with an event: its field, the reason.
#[tokio::test]
async fn every_rule_of_an_event_names_its_field() {
    let world = World::new().await;
    let with = |field: &str, value: Value| {
        let mut event = purchase("u");
        event[field] = value;
        event
    };
    let without = |field: &str| {
        let mut event = purchase("u");
        event.as_object_mut().unwrap().remove(field);
        event
    };
    let (missing, wrong, range) = (reasons::MISSING_FIELD, reasons::WRONG_TYPE, reasons::OUT_OF_RANGE);
    let cases = [
        (without("uuid"), ".uuid", missing),
        (without("timestamp"), ".timestamp", missing),
        (with("uuid", Value::Null), ".uuid", missing),
        (with("uuid", json!("")), ".uuid", range),
        (with("uuid", json!("x".repeat(129))), ".uuid", range),
        (with("uuid", json!(7)), ".uuid", wrong),
        (with("timestamp", json!(-1)), ".timestamp", range),
        (with("timestamp", json!(253_402_300_800_000_i64)), ".timestamp", range),
        (with("timestamp", json!(1.5)), ".timestamp", wrong),
        (with("timestamp", json!("1")), ".timestamp", wrong),
        (with("entity_id", json!(1)), ".entity_id", wrong),
        (with("key", json!({})), ".key", wrong),
        (with("type", json!([])), ".type", wrong),
        (with("revenue", json!("4200")), ".revenue", wrong),
        (with("revenue", json!(1.5)), ".revenue", wrong),
        (with("value", json!(true)), ".value", wrong),
        (with("quantity", json!(0.5)), ".quantity", wrong),
        (with("tags", json!([1])), ".tags", wrong),
        (with("tags", json!([[]])), ".tags", wrong),
        (with("properties", json!({"a": 1})), ".properties.a", wrong),
        (with("t", json!(1)), ".timestamp", wrong),
        (json!(7), "", wrong),
        (json!([]), "", wrong),
        (Value::Null, "", wrong),
    ];
    for (event, field, reason) in cases {
        let answer = world.events(&batch(vec![visitor("ann", event.clone())])).await;
        assert_eq!((answer.status, answer.counts()), (204, ("0", "1")), "{event}");
        let reject = world.rejects().pop().unwrap();
        assert_eq!(reject.field, format!("visitors[0].snapshots[0].events[0]{field}"), "{event}");
        assert_eq!((reject.reason.as_str(), reject.original), (reason, event.to_string().into()), "{event}");
    }
    assert!(world.accepted().is_empty());
}

#[tokio::test]
async fn a_bad_visitor_or_snapshot_rejects_each_of_its_events() {
    let world = World::new().await;
    let two = json!([{"events": [purchase("u-1"), purchase("u-2")]}]);
    let decided = |decision: Value| json!([{"decisions": [decision], "events": [purchase("u-1"), purchase("u-2")]}]);
    let ann = |field: &str, value: Value| {
        let mut visitor = json!({"visitor_id": "ann", "snapshots": two});
        visitor[field] = value;
        visitor
    };
    // The visitor, how many rejects, the field, the visitor they are partitioned by.
    let cases = [
        (json!({"snapshots": two}), 2, ".visitor_id", ""),
        (ann("visitor_id", json!(7)), 2, ".visitor_id", ""),
        (ann("visitor_id", json!("")), 2, ".visitor_id", ""),
        (ann("visitor_id", json!("x".repeat(1025))), 2, ".visitor_id", ""),
        (ann("session_id", json!(7)), 2, ".session_id", "ann"),
        (ann("attributes", json!({})), 2, ".attributes", "ann"),
        (ann("attributes", json!([{"type": "custom", "value": 1}, 7])), 2, ".attributes[1]", "ann"),
        (ann("attributes", json!([{"value": 1}])), 2, ".attributes[0].type", "ann"),
        (ann("attributes", json!([{"type": "custom"}])), 2, ".attributes[0].value", "ann"),
        (ann("attributes", json!([{"type": "custom", "value": [1]}])), 2, ".attributes[0].value", "ann"),
        (ann("snapshots", json!("none")), 1, ".snapshots", "ann"),
        (json!({"visitor_id": "ann"}), 1, ".snapshots", "ann"),
        (json!("ann"), 1, "", ""),
        (ann("snapshots", json!([7])), 1, ".snapshots[0]", "ann"),
        (ann("snapshots", json!([{"events": 7}])), 1, ".snapshots[0].events", "ann"),
        (ann("snapshots", json!([{"decisions": []}])), 1, ".snapshots[0].events", "ann"),
        (ann("snapshots", decided(json!(1))), 2, ".snapshots[0].decisions[0]", "ann"),
        (ann("snapshots", decided(json!({"campaign_id": 1}))), 2, ".snapshots[0].decisions[0].campaign_id", "ann"),
        (
            ann("snapshots", decided(json!({"metadata": {"enabled": "yes"}}))),
            2,
            ".snapshots[0].decisions[0].metadata.enabled",
            "ann",
        ),
    ];
    for (bad, count, field, partitioned_by) in cases {
        let before = world.rejects().len();
        let answer = world.events(&batch(vec![bad.clone(), visitor("bob", purchase("good"))])).await;
        assert_eq!((answer.status, answer.counts()), (204, ("1", count.to_string().as_str())), "{bad}");
        let rejects = world.rejects().split_off(before);
        for (position, reject) in rejects.iter().enumerate() {
            assert_eq!(reject.field, format!("visitors[0]{field}"), "{bad}");
            assert_eq!((reject.visitor_id.as_str(), reject.position as usize), (partitioned_by, position), "{bad}");
        }
        if count == 2 {
            assert_eq!(rejects[1].original, purchase("u-2").to_string(), "the event as sent");
        }
    }
}

#[tokio::test]
async fn what_stands_in_a_second_list_of_the_same_name_is_rejected_and_not_forgotten() {
    let world = World::new().await;
    let list = |uuid: &str| json!([purchase(uuid)]).to_string();
    let (one, two) = (list("u-1"), list("u-2"));
    let snapshots =
        format!(r#"{{"visitor_id":"ann","snapshots":[{{"events":{one}}}],"snapshots":[{{"events":{two}}}]}}"#);
    let events = format!(r#"{{"visitor_id":"ann","snapshots":[{{"events":{one},"events":{two}}}]}}"#);
    for (twice, field) in [(snapshots, "visitors[0].snapshots"), (events, "visitors[0].snapshots[0].events")] {
        let before = world.rejects().len();
        let body = format!(r#"{{"account_id":"{ACCOUNT}","visitors":[{twice}]}}"#);
        assert_eq!(world.post("/v1/events", &[], body).await.counts(), ("0", "2"), "{twice}");
        let rejects = world.rejects().split_off(before);
        let kept: Vec<_> = rejects.iter().map(|reject| (reject.original.clone(), reject.field.as_str())).collect();
        assert_eq!(
            kept,
            [("u-1", field), ("u-2", field)].map(|(uuid, field)| (purchase(uuid).to_string().into(), field))
        );
    }
}

#[tokio::test]
async fn bad_fields_of_the_batch_refuse_it_as_a_whole() {
    let world = World::new().await;
    let mut twice = batch(vec![visitor("ann", purchase("u"))]).to_string();
    twice.insert_str(1, &format!(r#""account_id":"{ACCOUNT}","#));
    let cases = [
        (json!({"visitors": []}).to_string(), "account_id"),
        (json!({"account_id": 7, "visitors": []}).to_string(), "account_id"),
        (json!({"account_id": ACCOUNT}).to_string(), "visitors"),
        (json!({"account_id": ACCOUNT, "visitors": {}}).to_string(), "visitors"),
        (json!({"account_id": ACCOUNT, "visitors": null}).to_string(), "visitors"),
        (json!({"account_id": ACCOUNT, "visitors": [], "anonymize_ip": "no"}).to_string(), "anonymize_ip"),
        (json!({"account_id": ACCOUNT, "visitors": [], "enrich_decisions": 0}).to_string(), "enrich_decisions"),
        (json!({"account_id": ACCOUNT, "visitors": [], "project_id": 5}).to_string(), "project_id"),
        (json!({"account_id": ACCOUNT, "visitors": [], "revision": 5}).to_string(), "revision"),
        (json!({"account_id": ACCOUNT, "visitors": [], "client_name": 5}).to_string(), "client_name"),
        (json!({"account_id": ACCOUNT, "visitors": [], "client_version": 5}).to_string(), "client_version"),
        ("[]".to_owned(), "body"),
        (twice, "account_id"),
    ];
    for (body, field) in cases {
        let answer = world.post("/v1/events", &[], body.clone()).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{body}");
    }
    assert!(world.raw().is_empty(), "it leaves no record");
}

#[tokio::test]
async fn malformed_json_is_refused_with_line_and_column() {
    let world = World::new().await;
    let answer = world.post("/v1/events", &[], "{\"account_id\": \"a\",\n  \"visitors\": [}").await;
    assert_eq!(answer.status, 400);
    assert_eq!((&answer.json()["line"], &answer.json()["column"]), (&json!(2), &json!(16)), "{}", answer.json());
    for body in [&b""[..], b"{", b"null x", b"\xff", b"{\"account_id\":\"\xff\"}"] {
        assert_eq!(world.post("/v1/events", &[], body.to_vec()).await.status, 400, "{body:?}");
    }
    assert!(world.raw().is_empty());
}

#[tokio::test]
async fn strict_mode_is_all_or_nothing_with_a_result_per_bad_event() {
    let world = World::new().await;
    let strict = [("X-Optimizely-Strict", "true")];
    let mut bad = purchase("bad");
    bad["timestamp"] = json!("yesterday");
    let mixed = batch(vec![visitor("ann", purchase("good")), visitor("bob", bad), visitor("cid", json!(1))]);
    let answer = world.post("/v1/events", &strict, mixed.to_string()).await;
    assert_eq!(answer.status, 400);
    let errors = answer.json()["errors"].clone();
    assert_eq!(errors.as_array().unwrap().len(), 2);
    assert_eq!((&errors[0]["position"], &errors[1]["position"]), (&json!(1), &json!(2)));
    assert_eq!(errors[0]["field"], "visitors[1].snapshots[0].events[0].timestamp");
    assert!(world.raw().is_empty(), "nothing was taken");

    let good = batch(vec![visitor("ann", purchase("good"))]).to_string();
    assert_eq!(world.post("/v1/events", &strict, good).await.status, 204);
    assert_eq!(world.post("/v1/events", &[("X-Optimizely-Strict", "false")], mixed.to_string()).await.status, 204);
}

#[tokio::test]
async fn a_request_without_events_is_taken_and_leaves_nothing() {
    let world = World::new().await;
    for body in [batch(Vec::<Value>::new()), batch(vec![json!({"visitor_id": "a", "snapshots": [{"events": []}]})])] {
        let answer = world.events(&body).await;
        assert_eq!((answer.status, answer.counts()), (204, ("0", "0")));
    }
    assert!(world.appends().is_empty());
}

#[tokio::test]
async fn session_ids_that_say_nothing_are_left_out() {
    let world = World::new().await;
    for (sent, kept) in [(json!(""), None), (json!("AUTO"), None), (Value::Null, None), (json!("s-7"), Some("s-7"))] {
        let mut visitor = visitor("ann", purchase("u"));
        visitor["session_id"] = sent.clone();
        world.events(&batch(vec![visitor])).await;
        assert_eq!(world.accepted().pop().unwrap().session_id.as_deref(), kept, "{sent}");
    }
}

#[tokio::test]
async fn tags_and_attributes_become_text() {
    let world = World::new().await;
    let mut event = purchase("u");
    event["revenue"] = json!(4200);
    event["value"] = json!(1.5);
    event["quantity"] = json!("\u{e000}3");
    event["properties"] = json!({"colour": "red", "size": "\u{e000}42"});
    let tags = r#"{"s":"té\n","n":1.50,"b":true,"o":{"a": [1, 2]},"z":null,"typed":"\ue00042","n":2}"#;
    event["tags"] = json!("TAGS");
    let mut visitor = visitor("ann", event);
    visitor["attributes"] = json!([
        {"entity_id": "6001", "key": "plan", "type": "custom", "value": "gold"},
        {"e": null, "k": "age", "t": "custom", "v": 42},
        {"key": "$opt_bot_filtering", "type": "custom", "value": true},
    ]);
    let body = batch(vec![visitor]).to_string().replace("\"TAGS\"", tags);
    assert_eq!(world.post("/v1/events", &[], body).await.counts(), ("1", "0"));
    let event = &world.accepted()[0];
    let conversion = conversion(event);
    assert_eq!((conversion.revenue, conversion.value, conversion.quantity), (Some(4200), Some(1.5), Some(3)));
    let tags: Vec<_> = conversion.tags.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect();
    let expected =
        [("s", "té\n"), ("b", "true"), ("o", r#"{"a": [1, 2]}"#), ("z", "null"), ("typed", "42"), ("n", "2")];
    assert_eq!(tags, expected, "order as sent; of two the last counts");
    let properties: Vec<_> =
        conversion.properties.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect();
    assert_eq!(properties, [("colour", "red"), ("size", "42")]);
    let attributes: Vec<_> = event.attributes.iter().map(|of| (of.name.as_deref(), of.value.as_deref())).collect();
    let expected = [("plan", "gold"), ("age", "42"), ("$opt_bot_filtering", "true")];
    assert_eq!(attributes, expected.map(|(name, value)| (Some(name), Some(value))));
    assert_eq!((event.attributes[0].id.as_deref(), event.attributes[1].id.as_deref()), (Some("6001"), None));
}

#[tokio::test]
async fn an_empty_map_may_be_written_as_php_writes_it() {
    let world = World::new().await;
    let mut event = purchase("u");
    event["tags"] = json!([]);
    event["properties"] = json!("PROPERTIES");
    let body = batch(vec![visitor("ann", event)]).to_string().replace("\"PROPERTIES\"", "[ \n]");
    assert_eq!(world.post("/v1/events", &[], body).await.counts(), ("1", "0"));
    let event = &world.accepted()[0];
    assert!(conversion(event).tags.is_empty() && conversion(event).properties.is_empty());
}

#[tokio::test]
async fn what_a_decision_event_has_no_field_for_is_kept_with_the_unknown_fields() {
    let world = World::new().await;
    let body = json!({
        "account_id": ACCOUNT,
        "visitors": [{"visitor_id": "ann", "snapshots": [{
            "decisions": [{"campaign_id": "c", "experiment_id": "e", "variation_id": "v"}],
            "events": [{
                "uuid": "u", "timestamp": 1, "entity_id": "c", "key": "campaign_activated",
                "revenue": 7, "value": 1.5, "quantity": 2, "tags": {"page": "/"}, "properties": {"a": "b"},
            }],
        }]}],
    });
    assert_eq!(world.events(&body).await.counts(), ("1", "0"));
    let kept: Value = serde_json::from_str(&world.accepted()[0].unknown_fields).unwrap();
    let expected = json!({
        "event.revenue": 7,
        "event.value": 1.5,
        "event.quantity": 2,
        "event.tags": {"page": "/"},
        "event.properties": {"a": "b"},
    });
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn unknown_fields_are_kept_with_their_path() {
    let world = World::new().await;
    let body = json!({
        "account_id": ACCOUNT,
        "new": {"a": [1]},
        "visitors": [{
            "visitor_id": "ann",
            "mood": "good",
            "attributes": [{"type": "custom", "value": 1, "x": 1}],
            "snapshots": [{
                "activationTimestamp": 17,
                "decisions": [{"campaign_id": "c", "why": "luck", "metadata": {"cmab_uuid": "z"}}],
                "events": [{"uuid": "u", "timestamp": 1, "n": "Name", "quo\"te": null}],
            }],
        }],
    });
    assert_eq!(world.events(&body).await.counts(), ("1", "0"));
    let kept: Value = serde_json::from_str(&world.accepted()[0].unknown_fields).unwrap();
    let expected = json!({
        "batch.new": {"a": [1]},
        "visitor.mood": "good",
        "visitor.attributes[0].x": 1,
        "snapshot.activationTimestamp": 17,
        "snapshot.decisions[0].why": "luck",
        "snapshot.decisions[0].metadata.cmab_uuid": "z",
        "event.n": "Name",
        "event.quo\"te": null,
    });
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn addresses_are_cut_unless_the_batch_says_otherwise() {
    let world = World::new().await;
    for (sent, kept) in [(json!(true), "198.51.100.0"), (Value::Null, "198.51.100.0"), (json!(false), "198.51.100.77")]
    {
        let mut body = batch(vec![visitor("ann", purchase("u"))]);
        body["anonymize_ip"] = sent.clone();
        world.events(&body).await;
        assert_eq!(world.accepted().pop().unwrap().user_ip.as_deref(), Some(kept), "{sent}");
    }
    // Nobody is believed unless configured.
    let body = batch(vec![visitor("ann", purchase("u"))]).to_string();
    world.post("/v1/events", &[("X-Forwarded-For", "203.0.113.9")], body).await;
    assert_eq!(world.accepted().pop().unwrap().user_ip.as_deref(), Some("198.51.100.0"));
}

#[tokio::test]
async fn behind_proxies_of_ours_the_address_is_the_one_they_tell() {
    let config = Config { trusted_proxies: vec!["198.51.100.0/24".parse().unwrap()], ..Config::default() };
    let world = World::with(config).await;
    for (anonymize, kept) in [(true, "192.0.2.0"), (false, "192.0.2.9")] {
        let mut body = batch(vec![visitor("ann", purchase("u"))]);
        body["anonymize_ip"] = json!(anonymize);
        let told = [("X-Forwarded-For", "203.0.113.5, 192.0.2.9, 198.51.100.8")];
        assert_eq!(world.post("/v1/events", &told, body.to_string()).await.status, 204);
        assert_eq!(world.accepted().pop().unwrap().user_ip.as_deref(), Some(kept));
    }
}

#[tokio::test]
async fn packed_bodies_are_unpacked() {
    let world = World::new().await;
    for (uuid, encoding) in [("u-1", "gzip"), ("u-2", "zstd")] {
        let body = batch(vec![visitor("ann", purchase(uuid))]).to_string();
        let packed = match encoding {
            "zstd" => zstd::encode_all(body.as_bytes(), 1).unwrap(),
            _ => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
        };
        let answer = world.post("/v1/events", &[("Content-Encoding", encoding)], packed).await;
        assert_eq!((answer.status, answer.counts()), (204, ("1", "0")), "{encoding}");
        assert_eq!(world.accepted().pop().unwrap().uuid, uuid);
    }
}

#[tokio::test]
async fn agent_and_referer_come_from_the_headers_unless_an_attribute_says_better() {
    let world = World::new().await;
    let headers = [("User-Agent", "from the header"), ("Referer", "https://shop.example/cart")];
    let plain = batch(vec![visitor("ann", purchase("u"))]);
    world.post("/v1/events", &headers, plain.to_string()).await;
    let mut told = plain;
    told["visitors"][0]["attributes"] =
        json!([{"entity_id": "$opt_user_agent", "key": "$opt_user_agent", "type": "custom", "value": "told"}]);
    world.post("/v1/events", &headers, told.to_string()).await;
    let accepted = world.accepted();
    assert_eq!(accepted[0].user_agent.as_deref(), Some("from the header"));
    assert_eq!(accepted[0].referer.as_deref(), Some("https://shop.example/cart"));
    assert_eq!(accepted[1].user_agent.as_deref(), Some("told"));
}
