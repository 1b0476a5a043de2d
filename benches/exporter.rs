//! The exporter's pure steps, with the ceiling of encoding beside: `cargo bench -p millrace-benches --bench exporter`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench that cannot go on panics")]

use std::hint::black_box;

use arrow_array::RecordBatch;
use arrow_json::{LineDelimitedWriter, ReaderBuilder};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace_eventlog::Record;
use millrace_exporter_write::measured;
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{Attributed, Enriched, EnrichedRecord, Outcome};
use millrace_schemas::layout::ExportType;
use millrace_schemas::partition::of_account;
use millrace_schemas::raw::{Attribute, Conversion, Event, Pair, event};

const ROWS: u64 = 20_000;
const SHARDS: u32 = 4;
/// Rows of a batch, as the exporter makes them.
const BATCH_ROWS: usize = 4_096;
const ACCOUNT: &str = "12345678";

/// Conversions as an SDK sends them, some 600 bytes each, in the order of arrival.
fn records(seed: u64, count: u64) -> Vec<Record> {
    let text = |text: &str| Some(text.to_owned());
    let record = |number: u64| {
        let mixed = (number ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let attribute = Attribute { id: text("6001"), name: text("plan"), r#type: text("custom"), value: text("gold") };
        let pair = |key: &str, value: String| Pair { key: key.to_owned(), value };
        let tags =
            vec![pair("colour", "red".into()), pair("basket", format!("{mixed:x}")), pair("revenue", "4200".into())];
        let conversion = Conversion {
            entity_id: text("8001"),
            key: Some(["purchase", "add_to_cart", "page_view"][(mixed % 3) as usize].to_owned()),
            event_type: text("custom"),
            revenue: Some(4_200),
            tags,
            ..Conversion::default()
        };
        let event = Event {
            account_id: ACCOUNT.to_owned(),
            visitor_id: format!("visitor-{}", mixed >> 44),
            uuid: format!("{mixed:016x}-4e3b-4bb6-8e0e-f6a6d4a6d6f1"),
            timestamp_ms: 1_773_100_800_000 + number as i64,
            attributes: vec![attribute.clone(), attribute],
            user_ip: text("203.0.113.0"),
            user_agent: text(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
            ),
            referer: text("https://shop.example/basket"),
            revision: text("42"),
            client_engine: text("python-sdk"),
            client_version: text("5.2.0"),
            kind: Some(event::Kind::Conversion(conversion)),
            source: "key:0123456789".to_owned(),
            request_id: format!("{mixed:032x}"),
            ..Event::default()
        };
        let one = |id: u64| Attributed {
            campaign_id: Some(format!("92{id:02}")),
            experiment_id: Some(format!("93{id:02}")),
            variation_id: Some(format!("94{id:02}")),
            is_holdback: Some(false),
        };
        let enriched = Enriched {
            event: Some(event),
            session_id: Some("-1234567890".to_owned()),
            experiments: vec![one(mixed % 7), one(8 + mixed % 5)],
            unattributed: 0,
        };
        let process_timestamp_ms = 1_773_100_800_000 + number as i64;
        let outcome = Outcome { raw_offset: number, process_timestamp_ms, what: Some(What::Enriched(enriched)) };
        let value = EnrichedRecord { body: Some(Body::Outcome(outcome)) }.to_bytes();
        Record { offset: number, append_time_ms: 0, version: 1, key: Bytes::new(), value }
    };
    (0..count).map(record).collect()
}

fn steps(criterion: &mut Criterion) {
    let all = records(0, ROWS);
    let mut group = criterion.benchmark_group("export");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("gather: decode, count, key", |bench| {
        bench.iter(|| black_box(measured::gather(&all, SHARDS).unwrap()));
    });
    let gathered = || measured::gather(&all, SHARDS).unwrap();
    group.bench_function("sort", |bench| {
        bench.iter_batched(gathered, measured::sort, BatchSize::LargeInput);
    });
    group.bench_function("seal: sort, compress, index", |bench| {
        bench.iter_batched(gathered, |rows| measured::seal(rows, SHARDS).unwrap(), BatchSize::LargeInput);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let segments: Vec<Bytes> = (0..20)
        .map(|seed| measured::seal(measured::gather(&records(seed << 32, ROWS / 20), SHARDS).unwrap(), SHARDS).unwrap())
        .collect();
    let merged = || runtime.block_on(measured::merge(&segments, of_account(ACCOUNT, SHARDS), ACCOUNT)).unwrap();
    group.bench_function("merge of 20 segments", |bench| bench.iter(|| black_box(merged())));
    let rows = merged();
    group.bench_function("Parquet: decode, columns, digest, encode", |bench| {
        bench.iter(|| measured::parquet(&rows, ExportType::Events).unwrap());
    });
    let batches = measured::batches(&rows, ExportType::Events).unwrap();
    group.bench_function("ceiling: Parquet of ready columns", |bench| {
        bench.iter(|| measured::encode_alone(&batches, ExportType::Events).unwrap());
    });
    let json = lines(&batches);
    println!("    the same rows as JSON: {} bytes each", json.len() as u64 / ROWS);
    group.bench_function("ceiling: Arrow's own JSON reader", |bench| {
        bench.iter(|| black_box(read(&json, batches[0].schema())));
    });
    group.bench_function("ceiling: JSON to Parquet in one go", |bench| {
        bench.iter(|| measured::encode_alone(&read(&json, batches[0].schema()), ExportType::Events).unwrap());
    });
    group.finish();
}

/// The rows as lines of JSON.
fn lines(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

/// Columns of lines of JSON, as Arrow itself makes them.
fn read(json: &[u8], schema: SchemaRef) -> Vec<RecordBatch> {
    let reader = ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).build(json).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

criterion_group!(benches, steps);
criterion_main!(benches);
