//! Whatever is sent: an answer, no panic, and each event exactly once, as an event or as a reject.

use millrace_schemas::raw::Raw;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::world::{ACCOUNT, World, purchase};

thread_local! {
    /// One world for all cases of a property: a log in a folder is made slowly.
    static WORLD: (Runtime, World) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = runtime.block_on(World::new());
        (runtime, world)
    };
}

/// What the act answers, and the raw records that it made.
fn in_the_world<T>(act: impl AsyncFnOnce(&World) -> T) -> (T, Vec<Raw>) {
    WORLD.with(|(runtime, world)| {
        let before = world.raw().len();
        let answer = runtime.block_on(act(world));
        (answer, world.raw().split_off(before))
    })
}

/// Any JSON, preferring what the API has names for.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e12..1e12).prop_map(Into::into),
        "[a-z]{0,6}".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        Just(json!("campaign_activated")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "visitor_id",
        "snapshots",
        "session_id",
        "attributes",
        "events",
        "decisions",
        "metadata",
        "timestamp",
        "uuid",
        "entity_id",
        "key",
        "type",
        "value",
        "revenue",
        "quantity",
        "tags",
        "properties",
        "campaign_id",
        "e",
        "y",
        "u",
        "t",
        "k",
        "a",
        "n",
        "c",
        "x",
        "v",
        "h",
        "enabled",
        "activationTimestamp",
    ];
    prop_oneof![4 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A good object, some of whose members are replaced or added.
fn bent(good: Value) -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), any_value()), 0..2).prop_map(move |changes| {
        let mut bent = good.clone();
        for (name, value) in changes {
            bent[name] = value;
        }
        bent
    })
}

fn any_event() -> impl Strategy<Value = Value> {
    prop_oneof![4 => bent(purchase("u")), 1 => any_value()]
}

fn any_snapshot() -> impl Strategy<Value = Value> {
    prop::collection::vec(any_event(), 0..4).prop_flat_map(|events| bent(json!({"events": events, "decisions": []})))
}

fn any_visitor() -> impl Strategy<Value = Value> {
    let whole = prop::collection::vec(any_snapshot(), 0..3)
        .prop_flat_map(|snapshots| bent(json!({"visitor_id": "ann", "attributes": [], "snapshots": snapshots})));
    prop_oneof![6 => whole, 1 => any_value()]
}

/// How many events a body has, counted on the parsed value.
fn sent(visitors: &[Value]) -> usize {
    visitors.iter().map(sent_by).sum()
}

fn sent_by(visitor: &Value) -> usize {
    let snapshots = visitor["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
    snapshots.iter().filter_map(|snapshot| snapshot["events"].as_array()).map(Vec::len).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_accepted_or_rejected_exactly_once(visitors in prop::collection::vec(any_visitor(), 0..4)) {
        let body = json!({"account_id": ACCOUNT, "visitors": visitors});
        let (answer, raw) = in_the_world(async |world| world.events(&body).await);
        let events = sent(&visitors);
        prop_assert_eq!(answer.status, 204);
        let (accepted, rejected) = answer.counts();
        let (accepted, rejected): (usize, usize) = (accepted.parse().unwrap(), rejected.parse().unwrap());
        prop_assert_eq!(raw.len(), accepted + rejected, "the answer counts what is in the log");
        // A bad visitor or snapshot without events adds one reject; there are no more parts than this.
        let parts: usize = visitors.iter().map(|visitor| 1 + visitor["snapshots"].as_array().map_or(0, Vec::len)).sum();
        prop_assert!(raw.len() >= events, "{} records of {events} events", raw.len());
        prop_assert!(raw.len() <= events + parts, "{} records of {events} events", raw.len());
        let originals: Vec<u32> = raw.iter().filter_map(|raw| match &raw.body {
            Some(millrace_schemas::raw::raw::Body::Reject(reject)) => Some(reject.position),
            _ => None,
        }).collect();
        prop_assert!(originals.windows(2).all(|two| two[0] < two[1]), "each reject has its own place");
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, path in prop::sample::select(&["/v1/events", "/api/v1/tracking/track", "/api/v1/tracking/batch"][..]), encoding in prop::sample::select(&["identity", "gzip", "zstd", "br"][..])) {
        let headers = [("Content-Encoding", encoding)];
        let (status, _) = in_the_world(async |world| world.post(path, &headers, bytes).await.status);
        prop_assert!([400, 403, 413, 415, 422].contains(&status), "{status}");
    }

    #[test]
    fn any_json_is_answered_by_the_tracking_api(value in any_value(), batch: bool) {
        let (path, body) = if batch {
            ("/api/v1/tracking/batch", json!({"events": [value]}))
        } else {
            ("/api/v1/tracking/track", value)
        };
        let (status, raw) = in_the_world(async |world| world.post(path, &[], body.to_string()).await.status);
        prop_assert!([200, 422].contains(&status), "{status}");
        prop_assert_eq!(raw.len(), usize::from(status == 200));
    }
}
