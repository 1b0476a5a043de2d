//! The whole thing in this process: an event in by HTTP, its Parquet file in the store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use millrace::{App, Config, Listeners};
use millrace_clock::SystemClock;
use millrace_harness::events::{batch, conversion};
use millrace_harness::until;
use millrace_harness::wait::clock;
use millrace_harness::{Api, Demo};
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

/// A configuration with short durations, in this folder.
fn config(data: &Path) -> Config {
    let flag = |name, key, value: &str| millrace::config::Flag { name, key, value: value.to_owned() };
    let flags = [
        flag("--data", "data", &data.display().to_string()),
        flag("--slot", "export.slot", "1s"),
        flag("--grace", "attribution.grace", "1s"),
        flag("--seal-age", "export.seal_age", "200ms"),
    ];
    Config::load(None, [], &flags).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_becomes_a_parquet_file_and_a_stop_frees_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let stop = CancellationToken::new();
    let listeners = Listeners::on_free_ports().await.unwrap();
    let app = App::start(config(&data), SystemClock::shared(), listeners, stop.clone()).await.unwrap();
    assert!(app.demo().is_some(), "the first start makes the demo account");
    let demo = Demo::read(&data.join("demo.env")).unwrap();
    assert_eq!(demo.api(), app.urls().api);

    let body = batch(demo.account(), vec![conversion("ann", "smoke", "purchase", clock().now_ms())]);
    Api::of(&demo).post_taken(&body).await;

    let folder = format!("v1/account_id={}/type=events/", demo.account());
    until("a Parquet file of the event", Duration::from_secs(30), async || {
        let listed: Vec<_> = app.store().list(None).try_collect().await.map_err(|error| error.to_string())?;
        let keys: Vec<String> = listed.into_iter().map(|meta| meta.location.to_string()).collect();
        let found = keys.iter().any(|key| key.starts_with(&folder) && key.ends_with(".parquet"));
        if found { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
    assert_eq!(app.readiness().check(), Ok(()));

    stop.cancel();
    app.finished().await.unwrap();
    let stop = CancellationToken::new();
    let listeners = Listeners::on_free_ports().await.unwrap();
    let again = App::start(config(&data), SystemClock::shared(), listeners, stop.clone()).await.unwrap();
    assert!(again.demo().is_none(), "a later start makes none");
    let refreshed = Demo::read(&data.join("demo.env")).unwrap();
    assert_eq!((refreshed.api(), refreshed.pat()), (again.urls().api.as_str(), demo.pat()));
    assert_ne!(refreshed.api(), demo.api(), "the addresses are brought up to date");
    stop.cancel();
    again.finished().await.unwrap();
}
