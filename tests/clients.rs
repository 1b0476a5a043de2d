//! The real clients, unchanged: SDKs that send, and the tools of data teams that read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millrace_harness::clients::{Clients, Which, run};
use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::rows::{Row, text};
use millrace_harness::wait::clock;
use millrace_harness::{Demo, Export, Launch, Server, until};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// What `millrace run` promises with its default durations, and 5 s for a busy machine.
const FRESH: Duration = Duration::from_secs(25);
const VISITORS: [&str; 12] = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "leo"];

fn clients(which: Which) -> Option<Clients> {
    Clients::installed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), which)
}

/// Sends with a real SDK under default settings, and checks that every row comes out, attributed, in time.
async fn an_sdk_is_understood(send: impl Fn(&Demo) -> String, client_engine: &str) {
    let home = tempfile::tempdir().unwrap();
    let server = Launch::new(BINARY, &home.path().join("data")).start().await;
    let given: BTreeMap<String, String> = serde_json::from_str(&send(server.demo())).expect("what the script printed");
    assert_eq!(given.len(), VISITORS.len());
    assert!(
        given.values().any(|key| key == "old") && given.values().any(|key| key == "new"),
        "both are given: {given:?}"
    );

    let export = Export::open(server.demo()).await.expect("credentials");
    let (decisions, events) = until("every row of the SDK", FRESH, async || {
        let rows = async |of_type| export.rows(of_type).await.map_err(|error| error.to_string());
        let (decisions, events) = (rows("decisions").await?, rows("events").await?);
        let complete = decisions.len() >= VISITORS.len() && events.len() >= 2 * VISITORS.len();
        if complete { Ok((decisions, events)) } else { Err(format!("{} + {}", decisions.len(), events.len())) }
    })
    .await;

    assert_eq!((decisions.len(), events.len()), (VISITORS.len(), 2 * VISITORS.len()));
    for (visitor, variation_key) in &given {
        let variation = if variation_key == "old" { "9301" } else { "9302" };
        let of_visitor = |rows: &[Row]| -> Vec<Row> {
            rows.iter().filter(|row| row["visitor_id"] == visitor.as_str()).cloned().collect()
        };
        let decided = &of_visitor(&decisions)[0];
        assert_eq!((&decided["experiment_id"], &decided["variation_id"]), (&json!("9300"), &json!(variation)));
        assert_eq!(decided["client_engine"], client_engine);
        let done = of_visitor(&events);
        let mut names: Vec<String> = done.iter().map(|row| text(&row["event_name"])).collect();
        names.sort();
        assert_eq!(names, ["add:to:cart", "purchase"]);
        for row in &done {
            let expected = json!([{
                "campaign_id": "9200", "experiment_id": "9300", "variation_id": variation, "is_holdback": null,
            }]);
            assert_eq!(row["experiments"], expected, "the SDKs send no holdback; {visitor} {row:?}");
            if row["event_name"] == "purchase" {
                assert_eq!((&row["revenue"], &row["value"]), (&json!(4200), &json!(1.5)));
                assert_eq!(row["tags"]["colour"], "red");
            }
        }
    }
}

#[tokio::test]
async fn the_python_sdk_with_the_key_in_a_header_is_understood() {
    let Some(clients) = clients(Which::Python) else { return };
    let send = |demo: &Demo| {
        let mut command = clients.python("python_sdk.py");
        command.arg("header").args(VISITORS);
        run(command, demo)
    };
    an_sdk_is_understood(send, "python-sdk").await;
}

#[tokio::test]
async fn the_python_sdk_with_the_key_in_the_query_is_understood() {
    let Some(clients) = clients(Which::Python) else { return };
    let send = |demo: &Demo| {
        let mut command = clients.python("python_sdk.py");
        command.arg("query").args(VISITORS);
        run(command, demo)
    };
    an_sdk_is_understood(send, "python-sdk").await;
}

#[tokio::test]
async fn the_javascript_sdk_with_the_key_in_the_query_is_understood() {
    let Some(clients) = clients(Which::JavaScript) else { return };
    let send = |demo: &Demo| {
        let mut command = clients.node("javascript_sdk.mjs");
        command.args(VISITORS);
        run(command, demo)
    };
    an_sdk_is_understood(send, "node-sdk").await;
}

/// A server whose export holds, complete, one decision and one conversion of each visitor.
async fn filled(home: &Path) -> (Server, Export) {
    let server = Launch::new(BINARY, &home.join("data")).fast().start().await;
    send_more(&server, "first").await;
    let export = Export::open(server.demo()).await.expect("credentials");
    wait_for_rows(&export, VISITORS.len()).await;
    (server, export)
}

async fn send_more(server: &Server, name: &str) {
    let now = clock().now_ms();
    let visitors = VISITORS.iter().enumerate().flat_map(|(n, visitor)| {
        let experiment = ["9300", "9400", "a/b=c"][n % 3];
        let decided = decision(visitor, &format!("{name}-decided-{visitor}"), experiment, "v1", now);
        [decided, conversion(visitor, &format!("{name}-bought-{visitor}"), "add:to:cart", now)]
    });
    server.api().post_taken(&batch(server.demo().account(), visitors.collect())).await;
}

async fn wait_for_rows(export: &Export, count: usize) {
    until(&format!("{count} rows of each type"), Duration::from_secs(20), async || {
        let rows = async |of_type| export.rows(of_type).await.map_err(|error| error.to_string());
        let found = (rows("decisions").await?.len(), rows("events").await?.len());
        if found == (count, count) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// Credentials as the AWS tools want them: in the environment.
async fn aws_environment(server: &Server) -> Vec<(&'static str, String)> {
    let bearer = format!("Bearer {}", server.demo().pat());
    let answer = server.api().get("/v2/export/credentials?duration=1h", &[("Authorization", &bearer)]).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let part = |name: &str| text(&answer["credentials"][name]);
    vec![
        ("AWS_ACCESS_KEY_ID", part("accessKeyId")),
        ("AWS_SECRET_ACCESS_KEY", part("secretAccessKey")),
        ("AWS_SESSION_TOKEN", part("sessionToken")),
        ("AWS_ENDPOINT_URL_S3", server.demo().s3().to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("S3_PATH", text(&answer["s3Path"])),
    ]
}

async fn aws(clients: &Clients, server: &Server, args: &[&str]) -> String {
    let environment = aws_environment(server).await;
    let s3_path = &environment.last().expect("the last one").1;
    let mut command: Command = clients.program("aws");
    command.args(args.iter().map(|arg| arg.replace("S3_PATH", s3_path))).envs(environment.clone());
    run(command, server.demo())
}

#[tokio::test]
async fn aws_s3_ls_lists_the_days_experiments_as_folders() {
    let Some(clients) = clients(Which::Python) else { return };
    let home = tempfile::tempdir().unwrap();
    let (server, export) = filled(home.path()).await;
    let date = only_date(&export).await;

    let listed = aws(&clients, &server, &["s3", "ls", &format!("S3_PATHtype=decisions/date={date}/")]).await;

    let folders: Vec<&str> = listed.lines().filter_map(|line| line.trim().strip_prefix("PRE ")).collect();
    assert_eq!(folders, ["experiment=9300/", "experiment=9400/", "experiment=a%2Fb%3Dc/"], "{listed}");
}

#[tokio::test]
async fn aws_s3_sync_twice_fetches_every_file_once() {
    let Some(clients) = clients(Which::Python) else { return };
    let home = tempfile::tempdir().unwrap();
    let (server, export) = filled(home.path()).await;
    let folder = home.path().join("synced").display().to_string();
    let sync = ["s3", "sync", "--no-progress", "S3_PATH", &folder];
    let downloads = |printed: &str| printed.lines().filter(|line| line.starts_with("download:")).count();

    let keys = export.list().await.unwrap().len();
    assert_eq!(downloads(&aws(&clients, &server, &sync).await), keys);
    assert_eq!(aws(&clients, &server, &sync).await, "", "the second sync has nothing to fetch");

    send_more(&server, "second").await;
    wait_for_rows(&export, 2 * VISITORS.len()).await;
    let more = export.list().await.unwrap().len();
    assert!(more > keys);
    assert_eq!(downloads(&aws(&clients, &server, &sync).await), more - keys, "only what is new is fetched");
}

#[tokio::test]
async fn the_boto3_sample_lists_and_reads() {
    let Some(clients) = clients(Which::Python) else { return };
    let home = tempfile::tempdir().unwrap();
    let (server, export) = filled(home.path()).await;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fetch_with_boto3.py");
    let mut command = clients.program("python");
    command.arg(sample).env("AWS_ENDPOINT_URL_S3", server.demo().s3()).current_dir(home.path());

    let printed = run(command, server.demo());

    let listed = export.list().await.unwrap();
    for key in listed.keys() {
        assert!(printed.contains(key.as_str()), "{key} is not among what the sample printed:\n{printed}");
    }
    let first = listed.keys().find(|key| key.ends_with(".parquet")).expect("a Parquet file");
    assert!(printed.trim_end().ends_with(&format!("; read the head of {first}")), "it read one:\n{printed}");
}

#[tokio::test]
async fn duckdb_pyarrow_and_pandas_read_both_types_with_the_account_as_text() {
    let Some(clients) = clients(Which::Python) else { return };
    let home = tempfile::tempdir().unwrap();
    let (server, _export) = filled(home.path()).await;
    let account = server.demo().account();
    let root = home.path().join("synced");
    let folder = root.join(format!("account_id={account}")).display().to_string();
    let _ = aws(&clients, &server, &["s3", "sync", "--no-progress", "S3_PATH", &folder]).await;

    for reader in ["duckdb", "pyarrow", "pandas"] {
        let mut command = clients.python("read_parquet.py");
        command.arg(reader).arg(&root);
        let found: Value = serde_json::from_str(&run(command, server.demo())).expect("what the script printed");
        // pandas looks at no folder names: it sees them as they are escaped.
        let names = if reader == "pandas" { ["add%3Ato%3Acart", "a%2Fb%3Dc"] } else { ["add:to:cart", "a/b=c"] };
        let rows = VISITORS.len();
        let expected = json!({
            "decisions": {"rows": rows, "account_ids": [account], "names": ["9300", "9400", names[1]]},
            "events": {"rows": rows, "account_ids": [account], "names": [names[0]]},
        });
        assert_eq!(found, expected, "{reader}");
    }
}

async fn only_date(export: &Export) -> String {
    let keys = export.list().await.unwrap();
    let mut dates = keys.keys().filter_map(|key| key.split('/').find_map(|part| part.strip_prefix("date=")));
    dates.next_back().expect("a date").to_owned()
}
