//! The log's own accounts: every raw event or reject has exactly one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_eventlog::{Log, Offset, Partition, Record, Topic};
use millrace_eventlog_kafka::{KafkaLog, Options};
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::{EnrichedRecord, enriched_record};
use millrace_schemas::raw::{Raw, raw};
use millrace_schemas::topics;

const READ_BYTES: usize = 4 << 20;

/// Reads raw and enriched to their ends. Nothing may be appended or processed meanwhile but ticks.
///
/// # Panics
/// A raw event or reject has no outcome or several, or an outcome is of no record.
pub async fn assert_adds_up(bootstrap_servers: &str) {
    let options = Options::new(bootstrap_servers, "ledger");
    let wanted = [Topic(topics::RAW), Topic(topics::ENRICHED)];
    let log: Arc<dyn Log> = KafkaLog::open(options, &wanted).await.expect("the log can be opened");
    let (mut records, mut outcomes) = (0, 0);
    for partition in 0..log.partitions(Topic(topics::RAW)) {
        let mut of_record: BTreeMap<Offset, u32> = BTreeMap::new();
        for record in all(&log, Topic(topics::RAW), partition).await {
            if is_event_or_reject(&record) {
                of_record.insert(record.offset, 0);
            }
        }
        for record in all(&log, Topic(topics::ENRICHED), partition).await {
            let read = EnrichedRecord::from_versioned(record.version, record.value).expect("an enriched record");
            if let Some(enriched_record::Body::Outcome(outcome)) = read.body {
                let offset = outcome.raw_offset;
                let count = of_record.get_mut(&offset);
                *count.unwrap_or_else(|| panic!("partition {partition}: an outcome of offset {offset}, no event")) += 1;
                outcomes += 1;
            }
        }
        records += of_record.len();
        let wrong: Vec<_> = of_record.iter().filter(|(_, count)| **count != 1).collect();
        assert!(wrong.is_empty(), "partition {partition}: offsets with none or several outcomes: {wrong:?}");
    }
    println!("{records} raw events and rejects, {outcomes} outcomes: one each");
}

fn is_event_or_reject(record: &Record) -> bool {
    match Raw::from_versioned(record.version, record.value.clone()).map(|raw| raw.body) {
        Ok(Some(raw::Body::Tick(_) | raw::Body::Settings(_))) => false,
        Ok(_) | Err(_) => true,
    }
}

async fn all(log: &Arc<dyn Log>, topic: Topic, partition: Partition) -> Vec<Record> {
    let extent = log.extent(topic, partition).await.expect("the partition is there");
    let (mut records, mut next) = (Vec::new(), extent.start);
    while next < extent.end {
        let chunk = log.read(topic, partition, next, READ_BYTES).await.expect("the partition can be read");
        assert!(chunk.next > next, "{topic}/{partition}: a read before the end gets on");
        records.extend(chunk.records);
        next = chunk.next;
    }
    records
}
