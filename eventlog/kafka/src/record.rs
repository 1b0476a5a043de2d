//! A record in Kafka's form and back.

use bytes::Bytes;
use millrace_eventlog::{NewRecord, Offset, Record};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::FutureRecord;

/// The header that carries the schema version of the value, as decimal text.
pub(crate) const VERSION_HEADER: &str = "version";

/// What is given to a producer.
pub(crate) fn outgoing<'a>(topic: &'a str, record: &'a NewRecord) -> FutureRecord<'a, [u8], [u8]> {
    let version = record.version.to_string();
    let headers = OwnedHeaders::new_with_capacity(1).insert(Header { key: VERSION_HEADER, value: Some(&version) });
    FutureRecord::to(topic)
        .partition(number(record.partition))
        .key(record.key.as_ref())
        .payload(record.value.as_ref())
        .headers(headers)
}

/// What a consumer got. A record without a readable version, which is not ours, has version 0: no reader knows it.
pub(crate) fn incoming(message: &BorrowedMessage<'_>) -> Record {
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let mut both = Vec::with_capacity(key.len() + value.len());
    both.extend_from_slice(key);
    both.extend_from_slice(value);
    let mut value = Bytes::from(both);
    let key = value.split_to(key.len());
    Record {
        offset: offset(message.offset()),
        append_time_ms: message.timestamp().to_millis().unwrap_or_default(),
        version: version(message).unwrap_or_default(),
        key,
        value,
    }
}

fn version(message: &BorrowedMessage<'_>) -> Option<u32> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == VERSION_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}

/// A partition as Kafka numbers it. Ours come from a count Kafka gave us, so they fit.
pub(crate) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// An offset of Kafka's that is known to be one.
pub(crate) fn offset(raw: i64) -> Offset {
    u64::try_from(raw).unwrap_or_default()
}

/// An offset of ours in Kafka's form.
pub(crate) fn raw(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
