//! The pure steps one by one, for the benches and examples. Not an interface.

pub mod golden;

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use millrace_clock::SystemClock;
use millrace_eventlog::Record;
use millrace_schemas::layout::{Codec, ExportType, Slot};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, path};
use crate::cells::Row;
use crate::columns::Batch;
use crate::error::Error;
use crate::file::{FileHead, FileWriter};
use crate::health::Health;
use crate::limits;
use crate::merge::{Merge, SegmentReader, Span};
use crate::rows::{Rows, StoredRow};
use crate::segment::{self, Footer, FromTail};
use crate::sort_key;

/// Rows in the order of the log.
pub struct Gathered(Rows);

/// Rows in their order.
#[derive(Clone)]
pub struct Ordered(Vec<StoredRow>);

/// Decodes records of the enriched topic and makes their sort keys.
///
/// # Errors
/// A record is none.
pub fn gather(records: &[Record], shards: u32) -> Result<Gathered, String> {
    let mut rows = Rows::default();
    for record in records {
        rows.take(record.clone(), shards)?;
    }
    Ok(Gathered(rows))
}

/// Sorts rows.
pub fn sort(gathered: Gathered) {
    std::hint::black_box(gathered.0.sorted());
}

/// Sorts rows and makes a segment of them.
///
/// # Errors
/// Compression failed.
pub fn seal(gathered: Gathered, shards: u32) -> std::io::Result<Bytes> {
    segment::encode(Footer::default(), gathered.0, shards).map(|(_, bytes)| bytes)
}

fn footer(bytes: &[u8]) -> Result<Footer, Error> {
    match segment::footer_of(bytes).map_err(Error::Encode)? {
        FromTail::Footer(footer) => Ok(*footer),
        FromTail::Longer(_) => Err(Error::Encode("the segment is cut".into())),
    }
}

/// Rows of one account, merged from segments through a store in memory.
///
/// # Errors
/// A segment is damaged.
pub async fn merge(segments: &[Bytes], shard: u32, account: &str) -> Result<Ordered, Error> {
    let store = Arc::new(InMemory::new());
    let bucket = Bucket::new(
        Arc::clone(&store) as Arc<dyn ObjectStore>,
        Health::new(None, SystemClock::shared(), CancellationToken::new()),
    );
    let (mut readers, mut spans) = (Vec::new(), Vec::new());
    for (reader, bytes) in segments.iter().enumerate() {
        let key = format!("segments/{reader}");
        let put = store.put(&path(&key)?, bytes.clone().into()).await;
        put.map_err(|error| Error::Encode(error.to_string()))?;
        let blocks: Arc<[segment::Block]> = footer(bytes)?.blocks.into();
        spans.push(Span { reader, first_block: 0, last_block: blocks.len().saturating_sub(1) });
        readers.push(SegmentReader::new(bucket.clone(), key, blocks, limits::READ_AHEAD_BYTES_MAX));
    }
    let mut prefix = Vec::new();
    sort_key::write_account(&mut prefix, shard, account);
    let mut merge = Merge::open(&mut readers, &spans, prefix, 0..i64::MAX).await?;
    let mut rows = Vec::new();
    while let Some(row) = merge.next(&mut readers).await? {
        rows.push(row);
    }
    Ok(Ordered(rows))
}

/// Makes a Parquet file of rows, digest and all.
///
/// # Errors
/// A row is of another type.
pub fn parquet(rows: &Ordered, of_type: ExportType) -> Result<usize, Error> {
    let mut writer = FileWriter::new(&head(of_type))?;
    for batch in rows.0.chunks(limits::BATCH_ROWS) {
        writer.add(batch)?;
    }
    Ok(writer.finish()?.bytes.len())
}

/// The same rows as Arrow batches, ready to be encoded.
///
/// # Errors
/// A row does not decode.
pub fn batches(rows: &Ordered, of_type: ExportType) -> Result<Vec<RecordBatch>, Error> {
    let mut batch = Batch::new(of_type);
    let mut batches = Vec::new();
    for chunk in rows.0.chunks(limits::BATCH_ROWS) {
        for stored in chunk {
            batch.add(&Row::of(stored).map_err(Error::Encode)?, stored.process_ms);
        }
        batches.push(batch.finish()?);
    }
    Ok(batches)
}

/// The ceiling: nothing but encoding batches that are there.
///
/// # Errors
/// The writer failed.
pub fn encode_alone(batches: &[RecordBatch], of_type: ExportType) -> Result<usize, Error> {
    let mut writer: ArrowWriter<Vec<u8>> = crate::file::arrow_writer(crate::arrow_schema(of_type), &head(of_type))?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.len())
}

fn head(of_type: ExportType) -> FileHead {
    let slot = Slot { start_ms: 0, length_ms: limits::SLOT_UNKNOWN_MS };
    FileHead { of_type, log_id: "bench".into(), slot, codec: Codec::Snappy }
}
