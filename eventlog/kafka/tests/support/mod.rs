//! What the tests of the log on Kafka share: a log of its own on a cluster, and what Kafka's own clients can do to it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_eventlog::{Log, NewRecord, Offset, Partition, Topic};
use millrace_eventlog_kafka::topics::{self, TopicSettings};
use millrace_eventlog_kafka::{KafkaLog, Options};
use millrace_harness::kafka::Cluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

pub(crate) const INPUT: Topic = Topic("input");
pub(crate) const OUTPUT: Topic = Topic("output");
pub(crate) const SINGLE: Topic = Topic("single");
pub(crate) const ALL: [Topic; 3] = [INPUT, OUTPUT, SINGLE];

/// How long anything here waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The topics of a log under test.
pub(crate) fn settings() -> [TopicSettings; 3] {
    [(INPUT, 4), (OUTPUT, 4), (SINGLE, 1)].map(|(topic, partitions)| TopicSettings {
        topic,
        partitions,
        retention_ms: None,
        append_time: true,
    })
}

/// Options of a log that nobody else has.
pub(crate) fn options(bootstrap: &str, replication: u16) -> Options {
    let mut options = Options::new(bootstrap, "tester");
    options.prefix = format!("t{}.", uuid::Uuid::new_v4().simple());
    options.dev = replication < 3;
    options.session_timeout = Duration::from_secs(3);
    options
}

/// Makes a log and opens it.
pub(crate) async fn make(bootstrap: &str, replication: u16) -> (Options, Arc<KafkaLog>) {
    let options = options(bootstrap, replication);
    let log = make_as(&options, replication).await;
    (options, log)
}

/// Makes the log these options name, and opens it.
pub(crate) async fn make_as(options: &Options, replication: u16) -> Arc<KafkaLog> {
    topics::create(options, &settings(), replication).await.expect("the log can be made");
    open(options).await
}

pub(crate) async fn open(options: &Options) -> Arc<KafkaLog> {
    KafkaLog::open(options.clone(), &ALL).await.expect("the log can be opened")
}

pub(crate) fn client(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.bootstrap_servers);
    for (key, value) in &options.properties {
        config.set(key, value);
    }
    config
}

pub(crate) fn admin(options: &Options) -> AdminClient<DefaultClientContext> {
    client(options).create().expect("a client for the brokers")
}

pub(crate) fn named(options: &Options, topic: Topic) -> String {
    format!("{}{topic}", options.prefix)
}

/// Removes what lies below `before`.
pub(crate) async fn trim(options: &Options, topic: Topic, partition: Partition, before: Offset) {
    let mut list = TopicPartitionList::new();
    let before = rdkafka::Offset::Offset(i64::try_from(before).expect("an offset"));
    list.add_partition_offset(&named(options, topic), i32::try_from(partition).expect("a partition"), before)
        .expect("a position");
    let answers = admin(options).delete_records(&list, &AdminOptions::new()).await.expect("the brokers answer");
    for answer in answers.elements() {
        answer.error().expect("records can be removed");
    }
}

/// A producer of transactions, as somebody else with this id would have it.
pub(crate) async fn transactional(options: &Options, id: &str) -> FutureProducer {
    let mut config = client(options);
    config.set("transactional.id", id).set("transaction.timeout.ms", "15000");
    let producer: FutureProducer = config.create().expect("a producer");
    blocking(&producer, |producer| producer.init_transactions(DEADLINE).expect("the brokers answer")).await;
    producer
}

/// Begins a transaction with these records in it, delivered.
pub(crate) async fn begin(options: &Options, producer: &FutureProducer, outputs: &[(Topic, NewRecord)]) {
    producer.begin_transaction().expect("nothing is open");
    for (topic, record) in outputs {
        let topic = named(options, *topic);
        let message = FutureRecord::to(&topic)
            .partition(i32::try_from(record.partition).expect("a partition"))
            .key(record.key.as_ref())
            .payload(record.value.as_ref());
        producer.send(message, DEADLINE).await.expect("the brokers take it");
    }
}

/// Writes these in one transaction that is aborted, and waits until readers are past it.
pub(crate) async fn abort(options: &Options, log: &Arc<KafkaLog>, outputs: Vec<(Topic, NewRecord)>) {
    let producer = transactional(options, &format!("{}aborter", options.prefix)).await;
    begin(options, &producer, &outputs).await;
    let mut ends = Vec::new();
    for (topic, record) in &outputs {
        ends.push((*topic, record.partition, end(options, *topic, record.partition).await));
    }
    blocking(&producer, |producer| producer.abort_transaction(DEADLINE).expect("it can be aborted")).await;
    for (topic, partition, before) in ends {
        // The abort's own marker comes after what the transaction wrote.
        log.grown(topic, partition, before, DEADLINE).await;
    }
}

/// Where a partition ends for readers of anything.
pub(crate) async fn end(options: &Options, topic: Topic, partition: Partition) -> Offset {
    let consumer: BaseConsumer =
        client(options).set("isolation.level", "read_uncommitted").create().expect("a client for the brokers");
    let name = named(options, topic);
    let asked = move || {
        let partition = i32::try_from(partition).expect("a partition");
        consumer.fetch_watermarks(&name, partition, DEADLINE).expect("the brokers answer").1
    };
    let end = tokio::task::spawn_blocking(asked).await.expect("the brokers answer");
    u64::try_from(end).expect("an offset")
}

/// Another process takes the member's name, and then dies.
pub(crate) async fn take_the_name(options: &Options, group: &str, topic: Topic, member: usize) {
    let taken = named_member(options, group, topic, member).await;
    tokio::task::spawn_blocking(move || drop(taken)).await.expect("the name is given away");
}

/// Another process with the member's name, that has been given partitions. It answers no rebalance that comes later.
pub(crate) async fn named_member(options: &Options, group: &str, topic: Topic, member: usize) -> BaseConsumer {
    let mut config = client(options);
    config
        .set("group.id", format!("{}{group}", options.prefix))
        .set("group.instance.id", format!("{}-{member}", options.instance))
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", options.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", "500")
        .set("enable.auto.commit", "false");
    let topic = named(options, topic);
    let taking = move || {
        let consumer: BaseConsumer = config.create().expect("a client for the brokers");
        consumer.subscribe(&[&topic]).expect("a subscription");
        for _ in 0..300 {
            // Records and errors alike are of no interest.
            let _ = consumer.poll(Duration::from_millis(100));
            if consumer.assignment().expect("an assignment").count() > 0 {
                return consumer;
            }
        }
        panic!("the name was not given away");
    };
    tokio::task::spawn_blocking(taking).await.expect("the name is given away")
}

/// Waits until a group has so many members and is at rest.
pub(crate) async fn members_at_rest(options: &Options, group: &str, count: usize) {
    let name = format!("{}{group}", options.prefix);
    let consumer: Arc<BaseConsumer> = Arc::new(client(options).create().expect("a client for the brokers"));
    let at_rest = || {
        let (consumer, name) = (Arc::clone(&consumer), name.clone());
        let asking = move || {
            let answer = consumer.fetch_group_list(Some(&name), DEADLINE).expect("the brokers answer");
            let group = answer.groups().iter().find(|group| group.name() == name);
            group.is_some_and(|group| group.state() == "Stable" && group.members().len() == count).then_some(())
        };
        async { tokio::task::spawn_blocking(asking).await.expect("the brokers answer") }
    };
    until("the group to be at rest", at_rest).await;
}

pub(crate) async fn blocking<T: Send + 'static>(
    producer: &FutureProducer,
    call: impl FnOnce(&FutureProducer) -> T + Send + 'static,
) -> T {
    let producer = producer.clone();
    tokio::task::spawn_blocking(move || call(&producer)).await.expect("the call does not panic")
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE * 2, future).await.expect("it comes in time")
}

/// Asks until there is an answer.
pub(crate) async fn until<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE * 2, asking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until the brokers know a topic, or do not.
pub(crate) async fn until_known(options: &Options, name: &str, known: bool) {
    until("a topic to come or go", || async {
        let client = admin(options);
        let name = name.to_owned();
        let asking = move || {
            let metadata = client.inner().fetch_metadata(None, DEADLINE).expect("the brokers answer");
            metadata.topics().iter().any(|topic| topic.name() == name)
        };
        (tokio::task::spawn_blocking(asking).await.expect("the brokers answer") == known).then_some(())
    })
    .await;
}

/// Deletes a topic, and waits until it is gone.
pub(crate) async fn delete(options: &Options, name: &str) {
    for deleted in admin(options).delete_topics(&[name], &AdminOptions::new()).await.expect("the brokers answer") {
        deleted.expect("the topic is there");
    }
    until_known(options, name, false).await;
}

/// Sets a topic's settings; those not named have their defaults.
pub(crate) async fn set(options: &Options, topic: Topic, settings: &[(&str, &str)]) {
    let name = named(options, topic);
    let mut config = AlterConfig::new(ResourceSpecifier::Topic(&name));
    for (key, value) in settings {
        config = config.set(key, value);
    }
    for altered in admin(options).alter_configs(&[config], &AdminOptions::new()).await.expect("the brokers answer") {
        altered.expect("the settings are ones");
    }
}

/// A cluster of its own, and the folder it lives in.
pub(crate) struct Brokers {
    pub(crate) cluster: Cluster,
    _home: tempfile::TempDir,
}

/// Starts brokers. `None`: Kafka is not installed.
pub(crate) async fn brokers(number: usize) -> Option<Brokers> {
    let home = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(&tests(), home.path(), number).await?;
    Some(Brokers { cluster, _home: home })
}

/// Starts one broker that has a door. `None`: Kafka is not installed.
pub(crate) async fn broker_with_door() -> Option<Brokers> {
    let home = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start_with_door(&tests(), home.path()).await?;
    Some(Brokers { cluster, _home: home })
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository").join("tests")
}
