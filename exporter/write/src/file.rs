//! One Parquet file. The same rows, release and settings make the same bytes.

use arrow_schema::SchemaRef;
use bytes::Bytes;
use millrace_schemas::export::{META_LOG_ID, META_SCHEMA_VERSION, META_SLOT, SCHEMA_VERSION, slot_text};
use millrace_schemas::layout::{Codec, ExportType, Slot};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::cells::{Row, RowsDigest};
use crate::columns::{Batch, schema_of};
use crate::error::Error;
use crate::limits;
use crate::rows::StoredRow;

/// What a file says of itself, and how it is compressed.
#[derive(Debug, Clone)]
pub(crate) struct FileHead {
    pub(crate) of_type: ExportType,
    pub(crate) log_id: String,
    pub(crate) slot: Slot,
    pub(crate) codec: Codec,
}

/// A file in the making.
pub(crate) struct FileWriter {
    of_type: ExportType,
    writer: ArrowWriter<Vec<u8>>,
    batch: Batch,
    digest: RowsDigest,
    rows: u64,
    min_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

/// A finished file.
pub(crate) struct Finished {
    pub(crate) bytes: Bytes,
    /// Of `bytes`, lower-case hex.
    pub(crate) sha256: String,
    pub(crate) rows: u64,
    pub(crate) rows_sha256: String,
    pub(crate) min_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
}

impl FileWriter {
    pub(crate) fn new(head: &FileHead) -> Result<Self, Error> {
        let batch = Batch::new(head.of_type);
        Ok(Self {
            of_type: head.of_type,
            writer: arrow_writer(batch.schema(), head)?,
            batch,
            digest: RowsDigest::default(),
            rows: 0,
            min_timestamp_ms: i64::MAX,
            max_timestamp_ms: i64::MIN,
        })
    }

    /// Adds rows as one batch. Where batches end is part of the file's bytes.
    pub(crate) fn add(&mut self, rows: &[StoredRow]) -> Result<(), Error> {
        for stored in rows {
            let row = Row::of(stored).map_err(Error::Encode)?;
            if row.of_type() != self.of_type {
                return Err(Error::Encode(format!("a row of {} among {}", row.of_type().name(), self.of_type.name())));
            }
            self.batch.add(&row, stored.process_ms);
            self.digest.add(&row, stored.process_ms);
            let timestamp_ms = row.timestamp_ms(stored.process_ms);
            self.min_timestamp_ms = self.min_timestamp_ms.min(timestamp_ms);
            self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
            self.rows += 1;
        }
        if self.batch.rows() > 0 {
            self.writer.write(&self.batch.finish()?)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Finished, Error> {
        let bytes = Bytes::from(self.writer.into_inner()?);
        Ok(Finished {
            sha256: sha256_hex(&bytes),
            bytes,
            rows: self.rows,
            rows_sha256: self.digest.finish(),
            min_timestamp_ms: self.min_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        })
    }
}

/// SHA-256 as manifests write it.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn arrow_writer(schema: SchemaRef, head: &FileHead) -> Result<ArrowWriter<Vec<u8>>, Error> {
    let compression = match head.codec {
        Codec::Snappy => Compression::SNAPPY,
        Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(1)?),
    };
    let meta = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let metadata = vec![
        meta(META_SCHEMA_VERSION, SCHEMA_VERSION.to_string()),
        meta(META_LOG_ID, head.log_id.clone()),
        meta(META_SLOT, slot_text(head.slot)),
    ];
    let properties = WriterProperties::builder()
        .set_created_by(concat!("millrace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression)
        // Every value is another one: a dictionary of them is made, grows too large and is thrown away.
        .set_column_dictionary_enabled(ColumnPath::from("uuid"), false)
        .set_max_row_group_row_count(Some(limits::ROW_GROUP_ROWS))
        .set_max_row_group_bytes(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(metadata))
        .build();
    // The embedded Arrow schema says nothing that the Parquet schema does not.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(Vec::new(), schema, options)?)
}

/// The Arrow schema of a type's files.
#[must_use]
pub fn arrow_schema(of_type: ExportType) -> SchemaRef {
    schema_of(of_type)
}
