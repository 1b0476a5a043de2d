//! How many events a second one core folds, from the raw record's bytes to the outcome's, changes applied:
//! `cargo bench -p millrace-benches --bench processor`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace_eventlog::Record;
use millrace_processor::step::{Input, Outcomes, Overlay, State, step};
use millrace_schemas::codec::Versioned;
use millrace_schemas::partition::record_key;
use millrace_schemas::raw::{Attribute, Conversion, Decision, DecisionEvent, Event, Pair, Raw, Settings, event, raw};
use millrace_schemas::settings::defaults;
use xxhash_rust::xxh3::xxh3_64;

const T0: i64 = 1_790_553_600_000;
const VISITORS: u64 = 100_000;
/// Events of one transaction; at 1,000 events a second and partition that is a second's.
const TRANSACTION: usize = 1_000;

fn random(of: u64, salt: u64, below: u64) -> u64 {
    xxh3_64(&[of.to_le_bytes(), salt.to_le_bytes()].concat()) % below
}

/// Four in ten are decisions, one in fifty was sent before. Sizes as the Python SDK sends them.
fn record(n: u64) -> Record {
    let again = random(n, 1, 50) == 0 && n > 500;
    let n = if again { n - 500 } else { n };
    let at = T0 + i64::try_from(n / 1_000).unwrap() * 1_000;
    let kind = if random(n, 2, 10) < 4 {
        let decision = Decision {
            campaign_id: Some(format!("1892361{:04}", random(n, 3, 40))),
            experiment_id: Some(format!("1891842{:04}", random(n, 3, 40))),
            variation_id: Some(format!("1893002{:04}", random(n, 4, 3))),
            is_holdback: Some(false),
            flag_key: Some("checkout_flow".into()),
            rule_key: Some("experiment_rule".into()),
            rule_type: Some("feature-test".into()),
            variation_key: Some("treatment".into()),
            enabled: Some(true),
        };
        event::Kind::DecisionEvent(DecisionEvent { decisions: vec![decision] })
    } else {
        let tags = vec![Pair { key: "category".into(), value: "shoes".into() }];
        let (key, revenue) = (Some("purchase".into()), Some(4_999));
        event::Kind::Conversion(Conversion {
            entity_id: Some("18915210".into()),
            key,
            revenue,
            tags,
            ..Default::default()
        })
    };
    let attribute = |name: &str, value: &str| Attribute {
        id: Some(format!("189{}", name.len())),
        name: Some(name.into()),
        r#type: Some("custom".into()),
        value: Some(value.into()),
    };
    let visitor_id = format!("oeu1383080393924r0.{:012}", random(n, 5, VISITORS));
    let event = Event {
        account_id: "596780373".into(),
        uuid: format!("{:016x}-{:015x}", random(n, 6, u64::MAX), n),
        timestamp_ms: at,
        attributes: vec![attribute("device", "mobile"), attribute("plan", "gold"), attribute("country", "SE")],
        user_ip: Some("192.0.2.0".into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0".into()),
        revision: Some("1234".into()),
        client_engine: Some("python-sdk".into()),
        client_version: Some("5.2.0".into()),
        project_id: Some("18908340002".into()),
        enrich_decisions: true,
        source: "key:4f6c".into(),
        request_id: "0190163d8694739bb0c22a0e1fe9b4ba".into(),
        kind: Some(kind),
        visitor_id,
        ..Event::default()
    };
    let key = record_key(&event.account_id, &event.visitor_id).into();
    let value = Raw { witness_ms: at, body: Some(raw::Body::Event(event)) }.to_bytes();
    Record { offset: n * 2, append_time_ms: at, version: Raw::VERSION, key, value }
}

fn transaction(state: &mut State, records: &[Record]) -> usize {
    let mut overlay = Overlay::on(state);
    let mut outcomes = Outcomes::default();
    for record in records {
        step(state, &mut overlay, Input::read(record).unwrap(), &mut outcomes);
    }
    state.apply(overlay);
    outcomes.bytes()
}

fn benches(criterion: &mut Criterion) {
    let warm: u64 = 300_000;
    let mut state = State::new(Settings { version: 0, ..defaults() });
    let mut next = 0;
    while next < warm {
        let records: Vec<Record> = (next..next + TRANSACTION as u64).map(record).collect();
        transaction(&mut state, &records);
        next += TRANSACTION as u64;
    }
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(TRANSACTION as u64));
    group.bench_function("fold_100k_visitors", |bencher| {
        let make = || {
            let records: Vec<Record> = (next..next + TRANSACTION as u64).map(record).collect();
            next += TRANSACTION as u64;
            records
        };
        // The records are given back, so that dropping them is not measured.
        let fold = |records: Vec<Record>| (transaction(&mut state, &records), records);
        bencher.iter_batched(make, fold, BatchSize::LargeInput);
    });
    let records: Vec<Record> = (0..TRANSACTION as u64).map(record).collect();
    group.bench_function("decode_alone", |bencher| {
        bencher.iter(|| records.iter().map(|record| Input::read(record).unwrap().offset).sum::<u64>());
    });
    group.finish();
}

criterion_group!(step_benches, benches);
criterion_main!(step_benches);
