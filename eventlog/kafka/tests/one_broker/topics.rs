//! A log is made whole or not at all, and used only as it must be.

use std::time::Duration;

use millrace_eventlog::{Log, NewRecord, Topic};
use millrace_eventlog_kafka::topics::{LOG_TOPIC, create, describe};
use millrace_eventlog_kafka::{KafkaLog, OpenError, Options};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::support::{self, ALL, INPUT, OUTPUT, SINGLE, admin, named, settings};

async fn refused(options: &Options) -> OpenError {
    match KafkaLog::open(options.clone(), &ALL).await {
        Ok(_) => panic!("this log must not open"),
        Err(error) => error,
    }
}

async fn make_topic(options: &Options, name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for made in admin(options).create_topics(&[topic], &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
    support::until_known(options, name, true).await;
}

pub(crate) async fn two_who_make_it_at_once_make_one_log(bootstrap: String) {
    let options = support::options(&bootstrap, 1);
    let wanted = settings();
    let (one, other) = tokio::join!(create(&options, &wanted, 1), create(&options, &wanted, 1));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.len(), 4, "three topics, and the one that says which log this is: {one:?}");
    let by_both = one.iter().zip(&other).filter(|(one, other)| one.made_now && other.made_now);
    assert_eq!(by_both.count(), 0, "each topic is made once");
    let (first, second) = (support::open(&options).await, support::open(&options).await);
    assert_eq!(first.id(), second.id());
    assert!(!first.id().is_empty() && first.id().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let again = create(&options, &wanted, 1).await.unwrap();
    assert!(again.iter().all(|topic| !topic.made_now), "doing it again changes nothing: {again:?}");
    assert_eq!(support::open(&options).await.id(), first.id());
    assert_eq!(describe(&options).await.unwrap(), again);
}

pub(crate) async fn a_creation_that_was_interrupted_is_finished(bootstrap: String) {
    let options = support::options(&bootstrap, 1);
    let mut first = settings()[..1].to_vec();
    make_topic(&options, &named(&options, INPUT), 4).await;
    first[0].partitions = 7;
    let other_count = create(&options, &first, 1).await.unwrap_err();
    assert!(other_count.to_string().contains("4 partitions instead of 7"), "{other_count}");
    let error = create(&options, &settings(), 1).await.unwrap_err();
    // Whoever made it did not set what we need; the log is there, and says how to mend it.
    assert!(matches!(&error, OpenError::Topics(wrong) if wrong.iter().all(|wrong| wrong.contains("input"))), "{error}");
    let described = support::set(
        &options,
        INPUT,
        &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1"), ("max.message.bytes", "10485760")],
    );
    described.await;
    support::until("the settings to be in force", || async { create(&options, &settings(), 1).await.ok() }).await;
    support::open(&options).await;
}

pub(crate) async fn a_deleted_topic_is_not_made_again(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let id = log.id().to_owned();
    support::delete(&options, &named(&options, OUTPUT)).await;
    for error in [refused(&options).await, create(&options, &settings(), 1).await.unwrap_err()] {
        let said = error.to_string();
        assert!(matches!(error, OpenError::NotWhole(_)), "{said}");
        assert!(said.contains(&named(&options, OUTPUT)) && said.contains("deleted") && said.contains(&id), "{said}");
    }
}

pub(crate) async fn a_topic_made_again_with_another_count_is_refused(bootstrap: String) {
    let (options, _log) = support::make(&bootstrap, 1).await;
    support::delete(&options, &named(&options, OUTPUT)).await;
    make_topic(&options, &named(&options, OUTPUT), 2).await;
    let said = refused(&options).await.to_string();
    assert!(said.contains("has 2 partitions") && said.contains("made with 4"), "{said}");
}

pub(crate) async fn a_log_that_lost_its_identity_is_not_made_again(bootstrap: String) {
    let (options, log) = support::make(&bootstrap, 1).await;
    let record = NewRecord { partition: 0, version: 1, key: "k".into(), value: "v".into() };
    log.append(SINGLE, vec![record]).await.unwrap();
    support::delete(&options, &format!("{}{LOG_TOPIC}", options.prefix)).await;
    assert!(matches!(refused(&options).await, OpenError::NoLog));
    let said = create(&options, &settings(), 1).await.unwrap_err().to_string();
    assert!(said.contains("single holds records") && said.contains("does not say of which log"), "{said}");
    let trouble = support::until("the log to notice", || async { log.trouble() }).await;
    assert!(trouble.contains(LOG_TOPIC), "{trouble}");
}

pub(crate) async fn each_wrong_setting_is_named_with_its_remedy(bootstrap: String) {
    let (mut options, _log) = support::make(&bootstrap, 1).await;
    let wrong = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1000"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.bytes", "1000000"),
        ("retention.ms", "3600000"),
        ("unclean.leader.election.enable", "true"),
    ];
    support::set(&options, SINGLE, &wrong).await;
    options.dev = false;
    let findings = support::until("the settings to be in force", || async {
        match refused(&options).await {
            OpenError::Topics(findings) if findings.iter().any(|finding| finding.contains("compact")) => Some(findings),
            _ => None,
        }
    })
    .await;
    let of_single: Vec<_> = findings.iter().filter(|finding| finding.contains("single:")).collect();
    let remedy = format!("kafka-configs.sh --bootstrap-server {} --alter ", options.bootstrap_servers);
    for (key, value) in wrong {
        let found = of_single.iter().find(|finding| finding.contains(&format!("{key} is {value} and must be")));
        let found = found.unwrap_or_else(|| panic!("{key} is not named: {of_single:?}"));
        assert!(found.contains(&remedy) && found.contains(&format!("--add-config {key}=")), "{found}");
    }
    for expected in ["min.insync.replicas is 1", "it has 1 replicas"] {
        assert!(of_single.iter().any(|finding| finding.contains(expected)), "{expected}: {of_single:?}");
    }
    assert_eq!(of_single.len(), wrong.len() + 2, "{of_single:?}");
    options.dev = true;
    let OpenError::Topics(findings) = refused(&options).await else { panic!("the settings are still wrong") };
    assert_eq!(findings.len(), wrong.len(), "one replica is enough for trying out: {findings:?}");
}

pub(crate) async fn a_topic_the_log_was_made_without_is_refused(bootstrap: String) {
    let (options, _log) = support::make(&bootstrap, 1).await;
    let error = KafkaLog::open(options.clone(), &[INPUT, Topic("other")]).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("made without other"), "{error}");
    let mut more = settings().to_vec();
    more[0].topic = Topic("other");
    let error = create(&options, &more, 1).await.unwrap_err();
    assert!(error.to_string().contains("cannot be added to a log"), "{error}");
}

pub(crate) async fn a_cluster_that_does_not_answer_is_unreachable(_bootstrap: String) {
    // A port nobody listens at: it was free a moment ago, and is ours.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = support::options(&listener.local_addr().unwrap().to_string(), 1);
    drop(listener);
    let opening = tokio::time::timeout(Duration::from_secs(60), KafkaLog::open(options, &ALL)).await;
    let error = opening.expect("opening gives up").map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
}
