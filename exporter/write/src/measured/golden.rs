//! The segment that stands in `tests/golden`, as the present format writes it.

use bytes::Bytes;
use millrace_eventlog::Record;
use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{Dead, Duplicate, EnrichedRecord, Kind, Outcome};

use crate::rows::Rows;
use crate::segment::{self, Footer};

/// The day of its rows, ms.
pub(crate) const DAY_1: i64 = 1_773_100_800_000;
/// How many shards there are.
pub(crate) const SHARDS: u32 = 4;

/// The golden segment of the format that this release writes.
///
/// # Errors
/// It cannot be made.
pub fn segment() -> Result<Bytes, String> {
    segment::encode(head(), small()?, SHARDS).map(|(_, bytes)| bytes).map_err(|error| error.to_string())
}

pub(crate) fn head() -> Footer {
    Footer {
        log_id: "log".into(),
        topic: "millrace.enriched".into(),
        partition: 3,
        start: 10,
        end: 20,
        watermark_ms: DAY_1 + 5,
        nonce: Bytes::from_static(b"nonce"),
        settings: [(20_522, 1)].into(),
        ..Footer::default()
    }
}

pub(crate) fn small() -> Result<Rows, String> {
    let mut rows = Rows::default();
    dead(&mut rows, 1, "b", "zoe", b"1".to_vec())?;
    dead(&mut rows, 2, "a", "bob", b"2".to_vec())?;
    dead(&mut rows, 3, "b", "ann", b"3".to_vec())?;
    outcome(&mut rows, 4, What::Duplicate(Duplicate { account_id: "c".into(), kind: Kind::Conversion.into() }))?;
    Ok(rows)
}

pub(crate) fn dead(
    rows: &mut Rows,
    number: i64,
    account: &str,
    visitor: &str,
    original: Vec<u8>,
) -> Result<(), String> {
    let dead =
        Dead { account_id: account.into(), visitor_id: visitor.into(), reason: "r".into(), original: original.into() };
    outcome(rows, number, What::Dead(dead))
}

fn outcome(rows: &mut Rows, number: i64, what: What) -> Result<(), String> {
    let raw_offset = number.unsigned_abs();
    let outcome = Outcome { raw_offset, process_timestamp_ms: DAY_1 + number, what: Some(what) };
    let value = EnrichedRecord { body: Some(Body::Outcome(outcome)) }.to_bytes();
    let record = Record { offset: raw_offset, append_time_ms: 0, version: 1, key: Bytes::new(), value };
    rows.take(record, SHARDS).map(|_| ())
}
