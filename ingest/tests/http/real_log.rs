//! The same walk into the embedded log: what was acknowledged is there.

use std::sync::Arc;

use millrace_clock::{SharedClock, SystemClock};
use millrace_directory::Node;
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::{Log, Topic, TopicSpec};
use millrace_ingest::{Config, Services, router};
use millrace_schemas::codec::Versioned;
use millrace_schemas::raw::{Raw, raw};
use millrace_schemas::topics;
use tokio_util::sync::CancellationToken;

use crate::world::{batch, populate, purchase, send, visitor};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_embedded_log() {
    let home = tempfile::tempdir().unwrap();
    let clock: SharedClock = SystemClock::shared();
    let specs = [(topics::RAW, 4), (topics::ENRICHED, 4), (topics::ACCESS, 1), (topics::AUDIT, 4)]
        .map(|(name, partitions)| TopicSpec { topic: Topic(name), partitions });
    let log = EmbeddedLog::open(home.path(), &specs, clock.clone(), Options::default()).unwrap();
    let node = Node::start(log.clone(), clock.clone(), CancellationToken::new()).await.unwrap();
    let keys = populate(&node).await;
    let services = Services { log: log.clone(), node, clock, config: Config::default() };
    let router = router(services);
    let post = |n: usize| {
        let bad = visitor("bob", serde_json::json!({"uuid": n.to_string()}));
        let body = batch(vec![visitor(&format!("v-{n}"), purchase(&n.to_string())), bad]);
        let request = http::Request::post("/v1/events").header("X-API-Key", &keys.write);
        tokio::spawn(send(router.clone(), request.body(body.to_string().into()).unwrap()))
    };
    for answer in (0..50).map(post).collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.counts()), (204, ("1", "1")));
    }
    let log: Arc<dyn Log> = log;
    let (mut events, mut rejects) = (0, 0);
    for partition in 0..4 {
        let chunk = log.read(Topic(topics::RAW), partition, 0, usize::MAX).await.unwrap();
        for record in chunk.records {
            match Raw::from_versioned(record.version, record.value).unwrap().body {
                Some(raw::Body::Event(_)) => events += 1,
                Some(raw::Body::Reject(_)) => rejects += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((events, rejects), (50, 50));
}
