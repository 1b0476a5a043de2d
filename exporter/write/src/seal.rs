//! Puts one segment and finds out whose it is.

use bytes::Bytes;
use millrace_eventlog::{Offset, Partition};
use millrace_schemas::{layout, topics};

use crate::bucket::{Bucket, Created, damaged, gone};
use crate::error::Error;
use crate::gather::Buffer;
use crate::rows::day_number;
use crate::segment::{self, Footer, FromTail};
use crate::{limits, metrics};

/// What stands at a segment's key after a seal.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) end: Offset,
    pub(crate) watermark_ms: i64,
    /// False: another owner's segment was there first; go on at its end.
    pub(crate) ours: bool,
}

/// Whose segments these are, and of what log.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) bucket: Bucket,
    pub(crate) log_id: String,
    /// The partition count of the enriched topic, and so the count of shards.
    pub(crate) shards: u32,
    /// Random, of this process.
    pub(crate) id: [u8; 16],
    /// Rows of before this log time are sealed and never published.
    pub(crate) first_ms: i64,
}

impl Writer {
    /// Seals `buffer` as the `number`th segment of this process.
    pub(crate) async fn seal(&self, partition: Partition, buffer: Buffer, number: u64) -> Result<Sealed, Error> {
        let key = layout::segment_key(&self.log_id, topics::ENRICHED, partition, buffer.start);
        let nonce = Bytes::from([&self.id[..], &number.to_be_bytes()].concat());
        let head = Footer {
            log_id: self.log_id.clone(),
            topic: topics::ENRICHED.to_owned(),
            partition,
            start: buffer.start,
            end: buffer.end,
            watermark_ms: buffer.watermark_ms,
            settings: buffer.settings,
            nonce: nonce.clone(),
            ..Footer::default()
        };
        let (rows, shards) = (buffer.rows, self.shards);
        let encoded = tokio::task::spawn_blocking(move || segment::encode(head, rows, shards)).await;
        let (footer, bytes) = encoded
            .map_err(|error| Error::Encode(error.to_string()))?
            .map_err(|error| damaged(&key, &format!("cannot be encoded: {error}")))?;
        let sealed_bytes = bytes.len() as u64;
        let ours = match self.bucket.create(&key, bytes).await? {
            Created::New => footer.clone(),
            Created::Exists => read_footer(&self.bucket, &key).await?.ok_or_else(|| gone(&key))?,
        };
        let sealed = Sealed { end: ours.end, watermark_ms: ours.watermark_ms, ours: ours.nonce == nonce };
        if sealed.ours {
            ::metrics::counter!(metrics::SEGMENTS).increment(1);
            ::metrics::counter!(metrics::SEALED_BYTES).increment(sealed_bytes);
            ::metrics::counter!(metrics::SEALED_ROWS).increment(footer.rows);
            self.tell_of_rows_too_early(&footer);
        } else {
            ::metrics::counter!(metrics::SEGMENTS_REFUSED).increment(1);
            tracing::info!(partition, start = footer.start, end = sealed.end, "another owner sealed this range");
        }
        Ok(sealed)
    }

    /// A log that took over a bucket publishes from a midnight on.
    fn tell_of_rows_too_early(&self, footer: &Footer) {
        let rows = footer.rows_before(day_number(self.first_ms));
        if rows > 0 {
            let first_day = layout::date_of(self.first_ms);
            ::metrics::counter!(metrics::ROWS_TOO_EARLY).increment(rows);
            tracing::warn!(rows, %first_day, "rows of before the first day of this log's export are not published");
        }
    }
}

/// The footer of the segment at `key`; `None` if there is none.
pub(crate) async fn read_footer(bucket: &Bucket, key: &str) -> Result<Option<Footer>, Error> {
    let mut ask = limits::FOOTER_GUESS_BYTES;
    loop {
        let Some(tail) = bucket.read_tail(key, ask).await? else { return Ok(None) };
        match segment::footer_of(&tail.bytes).map_err(|reason| damaged(key, &reason))? {
            FromTail::Footer(footer) => return Ok(Some(*footer)),
            FromTail::Longer(bytes) if bytes <= tail.object_bytes && bytes > ask => ask = bytes,
            FromTail::Longer(_) => return Err(damaged(key, "its footer is longer than the object")),
        }
    }
}
