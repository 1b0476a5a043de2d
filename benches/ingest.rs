//! The pure steps of ingest, and beside them what serde_json makes of the same bytes: into a tree, and into types.
//!
//! `cargo bench -p millrace-benches --bench ingest`
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench that cannot go on panics")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_ingest::event_api;
use millrace_schemas::raw_encode::{AttributeRef, ConversionRef, EventRef, KindRef, encode_raw};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const EVENTS: usize = 1_000;

/// A body as the SDKs send it: one visitor object per event, every fourth a decision.
fn body() -> String {
    let visitor = |n: usize| {
        let decision = json!({"campaign_id": "9200", "experiment_id": "9300", "variation_id": "9301", "metadata": {
            "flag_key": "checkout", "rule_key": "checkout_test", "rule_type": "experiment", "variation_key": "old", "enabled": true}});
        let decides = n.is_multiple_of(4);
        let event = if decides {
            json!({"entity_id": "9200", "uuid": format!("a68cf1ad-0393-4e18-af87-{n:012}"), "key": "campaign_activated", "timestamp": 1_772_323_200_000_i64})
        } else {
            json!({"entity_id": "8001", "uuid": format!("b68cf1ad-0393-4e18-af87-{n:012}"), "key": "purchase", "timestamp": 1_772_323_200_000_i64,
                "revenue": 4200, "value": 1.5, "tags": {"revenue": 4200, "value": 1.5, "colour": "red"}})
        };
        json!({"visitor_id": format!("visitor-{n}"),
            "attributes": [{"entity_id": "6001", "key": "plan", "type": "custom", "value": "gold"},
                {"entity_id": "$opt_bot_filtering", "key": "$opt_bot_filtering", "type": "custom", "value": true}],
            "snapshots": [{"decisions": if decides { json!([decision]) } else { json!([]) }, "events": [event]}]})
    };
    let visitors: Vec<Value> = (0..EVENTS).map(visitor).collect();
    json!({"account_id": "acme", "project_id": "5001", "revision": "42", "client_name": "python-sdk", "client_version": "5.2.0",
        "anonymize_ip": true, "enrich_decisions": true, "visitors": visitors})
    .to_string()
}

/// The same shape as types, every field required to be good: what serde does at best.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read for the time it takes")]
struct Batch<'a> {
    #[serde(borrow)]
    account_id: Cow<'a, str>,
    #[serde(borrow)]
    visitors: Vec<Visitor<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for the time it takes")]
struct Visitor<'a> {
    #[serde(borrow)]
    visitor_id: Cow<'a, str>,
    #[serde(borrow)]
    attributes: Vec<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow)]
    snapshots: Vec<Snapshot<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for the time it takes")]
struct Snapshot<'a> {
    #[serde(borrow)]
    decisions: Vec<Decision<'a>>,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for the time it takes")]
struct Decision<'a> {
    #[serde(borrow)]
    campaign_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    experiment_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    variation_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read for the time it takes")]
struct Event<'a> {
    #[serde(borrow)]
    uuid: Cow<'a, str>,
    timestamp: i64,
    #[serde(borrow)]
    entity_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    revenue: Option<i64>,
    value: Option<f64>,
    #[serde(borrow)]
    tags: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

fn parse(c: &mut Criterion) {
    let body = body();
    let (accepted, rejected, _) = event_api::bench(body.as_bytes(), "acme").unwrap();
    assert_eq!((accepted as usize, rejected), (EVENTS, 0));
    let mut group = c.benchmark_group("parse 1000 events");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("ceiling: serde_json::Value", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(body.as_bytes())).unwrap());
    });
    group.bench_function("ceiling: serde into borrowed types", |b| {
        b.iter(|| serde_json::from_slice::<Batch<'_>>(black_box(body.as_bytes())).unwrap().visitors.len());
    });
    group.bench_function("read", |b| b.iter(|| event_api::bench_read(black_box(body.as_bytes()))));
    group.bench_function("read, judge, encode", |b| {
        b.iter(|| event_api::bench(black_box(body.as_bytes()), "acme"));
    });
    group.finish();
}

fn encode(c: &mut Criterion) {
    let attributes = [AttributeRef { id: Some("6001"), name: Some("plan"), kind: Some("custom"), value: Some("gold") }];
    let tags = [("revenue", "4200"), ("value", "1.5"), ("colour", "red")];
    let event = EventRef {
        account_id: "acme",
        visitor_id: "visitor-1",
        uuid: "b68cf1ad-0393-4e18-af87-000000000001",
        timestamp_ms: 1_772_323_200_000,
        session_id: None,
        attributes: &attributes,
        user_ip: Some("198.51.100.0"),
        user_agent: Some("agent"),
        referer: None,
        revision: Some("42"),
        client_engine: Some("python-sdk"),
        client_version: Some("5.2.0"),
        project_id: Some("5001"),
        enrich_decisions: true,
        kind: KindRef::Conversion(ConversionRef {
            entity_id: Some("8001"),
            key: Some("purchase"),
            revenue: Some(4200),
            value: Some(1.5),
            tags: &tags,
            ..ConversionRef::default()
        }),
        source: "key:1",
        request_id: "id-1",
        unknown_fields: "",
    };
    let mut buffer = Vec::with_capacity(1 << 20);
    encode_raw(1, &event, &mut buffer);
    let bytes = buffer.clone();
    let mut group = c.benchmark_group("encode one event");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("ceiling: copy the bytes", |b| {
        b.iter(|| {
            buffer.clear();
            buffer.extend_from_slice(black_box(&bytes));
            black_box(&buffer);
        });
    });
    group.bench_function("encode", |b| {
        b.iter(|| {
            buffer.clear();
            encode_raw(1, black_box(&event), &mut buffer);
            black_box(&buffer);
        });
    });
    group.finish();
}

criterion_group!(benches, parse, encode);
criterion_main!(benches);
