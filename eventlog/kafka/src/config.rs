//! The settings of our clients.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::limits::{
    BATCH_BYTES_MAX, FETCH_BYTES_MAX, FETCH_WAIT, FETCHED_BYTES_MAX, HEARTBEAT_INTERVAL, IN_FLIGHT_RECORDS_MAX, LINGER,
    REBALANCE_TIMEOUT,
};
use crate::options::Options;

/// Settings that Millrace makes itself, or leaves as they are: changing one of them would break a promise of the log.
const OURS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    // Older protocols know no transactions, and no headers.
    "api.version.fallback.ms",
    "api.version.request",
    "auto.commit.enable",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "broker.version.fallback",
    "check.crcs",
    "client.id",
    // A follower says that a partition ends before it does.
    "client.rack",
    "compression.codec",
    "compression.type",
    // Appends that succeeded would never be answered.
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "enabled_events",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    // librdkafka would handle that signal, and nobody else.
    "internal.termination.signal",
    "isolation.level",
    "linger.ms",
    "log.queue",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "offset.store.method",
    "opaque",
    "partition.assignment.strategy",
    "partitioner",
    "plugin.library.paths",
    // An idempotent producer takes no other value.
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queuing.strategy",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "session.timeout.ms",
    "statistics.interval.ms",
    "test.mock.broker.rtt",
    "test.mock.num.brokers",
    // A topic in it is not seen.
    "topic.blacklist",
    "transaction.timeout.ms",
    "transactional.id",
    "ut_handle_ProduceResponse",
];

/// What is wrong with properties that are to be passed through. Values are not repeated: they may be secrets.
pub(crate) fn property_mistakes(options: &Options) -> Vec<String> {
    let longest = options.transaction_timeout;
    let too_long = |value: &str| value.parse::<u128>().is_ok_and(|ms| ms > longest.as_millis());
    let mut mistakes = Vec::new();
    for (key, value) in &options.properties {
        if OURS.contains(&key.as_str()) {
            mistakes.push(format!("property {key} is set by Millrace itself"));
        } else if key == "enable.ssl.certificate.verification" && value != "true" {
            mistakes.push(format!("property {key}: certificates are always verified"));
        } else if key == "ssl.endpoint.identification.algorithm" && value != "https" {
            mistakes.push(format!("property {key}: the names in certificates are always verified"));
        } else if key == "socket.timeout.ms" && too_long(value) {
            // librdkafka makes no producer of transactions then.
            mistakes.push(format!("property {key}: it must not be longer than the transaction timeout, {longest:?}"));
        } else if ClientConfig::new().set(key, value).create_native_config().is_err() {
            mistakes.push(format!("property {key}: librdkafka does not know it, or not this value of it"));
        }
    }
    mistakes
}

/// What all clients share.
fn client(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in &options.properties {
        config.set(key, value);
    }
    // What librdkafka's own property `debug` asks for; shown where the log filter says `librdkafka=debug`.
    let debugs = options.properties.contains_key("debug");
    config
        .set_log_level(if debugs { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning })
        .set("bootstrap.servers", &options.bootstrap_servers)
        .set("client.id", &options.instance)
        .set("allow.auto.create.topics", "false")
        // A broker that comes back is used at once.
        .set("reconnect.backoff.max.ms", "1000");
    config
}

/// A client that asks for metadata and makes topics.
pub(crate) fn admin(options: &Options) -> ClientConfig {
    client(options)
}

/// What both kinds of producers share.
fn any_producer(options: &Options) -> ClientConfig {
    let mut config = client(options);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", LINGER.as_millis().to_string())
        .set("message.max.bytes", BATCH_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", IN_FLIGHT_RECORDS_MAX.to_string());
    config
}

/// The producer of appends.
pub(crate) fn producer(options: &Options) -> ClientConfig {
    let mut config = any_producer(options);
    // The room in `append` is the bound; here there is some to spare, so that librdkafka never refuses half an append.
    let kbytes = (2 * options.in_flight_bytes / 1024).max(BATCH_BYTES_MAX / 1024);
    config
        .set("queue.buffering.max.kbytes", kbytes.to_string())
        .set("request.timeout.ms", millis(options.append_timeout.min(Duration::from_secs(2))))
        .set("message.timeout.ms", millis(options.append_timeout));
    config
}

/// The producer of transactions.
pub(crate) fn transactions(options: &Options, transactional_id: &str) -> ClientConfig {
    let mut config = any_producer(options);
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", millis(options.transaction_timeout))
        .set("request.timeout.ms", millis(options.transaction_timeout / 3))
        .set("message.timeout.ms", millis(options.transaction_timeout * 2 / 3));
    config
}

/// A client that reads, without being a member of a group.
pub(crate) fn reader(options: &Options) -> ClientConfig {
    let mut config = client(options);
    config
        // Assigning needs the name of a group, but nothing is ever committed to it.
        .set("group.id", format!("{}millrace-reader", options.prefix))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position outside the log is an error, not a reason to read something else.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", FETCH_WAIT.as_millis().to_string())
        // The default, a second, starves a consumer whose queue was full once.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.max.bytes", FETCH_BYTES_MAX.to_string())
        .set("message.max.bytes", BATCH_BYTES_MAX.to_string())
        .set("receive.message.max.bytes", (2 * FETCH_BYTES_MAX).to_string())
        .set("queued.max.messages.kbytes", (FETCHED_BYTES_MAX / 1024).to_string())
        .set("check.crcs", "true");
    config
}

/// A member of a group.
pub(crate) fn member(options: &Options, group: &str, instance: &str) -> ClientConfig {
    let mut config = reader(options);
    config
        .set("group.id", group)
        .set("group.instance.id", instance)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", millis(options.session_timeout))
        .set("heartbeat.interval.ms", HEARTBEAT_INTERVAL.as_millis().to_string())
        .set("max.poll.interval.ms", REBALANCE_TIMEOUT.as_millis().to_string());
    config
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
