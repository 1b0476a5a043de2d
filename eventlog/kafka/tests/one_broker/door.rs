//! A broker that wants TLS and a password: settings that are passed through open its door, and nothing else does.

use std::time::Duration;

use millrace_eventlog::conformance;
use millrace_eventlog_kafka::{KafkaLog, OpenError, Options};

use crate::support::{self, ALL};

/// Appends, a reader, a member of a group and its transaction: a client of each kind.
const CHECKS: [&str; 2] =
    ["acknowledged_records_are_there_after_reopening", "outputs_and_positions_are_committed_together"];

/// What is said when these options do not open the log.
async fn refusal(options: Options) -> String {
    let opening = tokio::time::timeout(Duration::from_secs(60), KafkaLog::open(options, &ALL)).await;
    let error = opening.expect("opening gives up").map(|_| ()).expect_err("the door is shut");
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password_open_the_log_and_neither_can_be_left_out() {
    let Some(broker) = support::broker_with_door().await else { return };
    let door = broker.cluster.door().expect("it was started with one");
    let coming_with = |change: &dyn Fn(&mut Options)| {
        let mut options = support::options(&door.bootstrap(), 1);
        options.properties = door.keys();
        change(&mut options);
        options
    };

    for check in conformance::checks().into_iter().filter(|check| CHECKS.contains(&check.name)) {
        support::within(crate::suite::run(&check, coming_with(&|_| ()))).await;
    }

    let stranger = refusal(coming_with(&|options| {
        options.properties.insert("sasl.password".into(), "another".into());
    }));
    let trusting_nobody = refusal(coming_with(&|options| {
        options.properties.remove("ssl.ca.location");
    }));
    let in_the_clear = refusal(coming_with(&|options| options.properties.clear()));
    let (stranger, trusting_nobody, _) = tokio::join!(stranger, trusting_nobody, in_the_clear);
    assert!(stranger.contains("uthentication failed") && !stranger.contains("another"), "{stranger}");
    assert!(trusting_nobody.contains("certificate"), "{trusting_nobody}");
}
