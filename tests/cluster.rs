//! A cluster as its operator meets it: every role a process of its own, on a real broker and a real S3 store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use millrace_harness::deployment::{Deployment, Size};
use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::process::printed;
use millrace_harness::role::Kind;
use millrace_harness::rows::{Row, text};
use millrace_harness::wait::clock;
use millrace_harness::{Api, Demo, Export, Follower, Launch, until};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const SIZE: Size = Size { brokers: 1, partitions: 4, of_each: 1 };
const VISIBLE: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(60);

async fn deployed(home: &tempfile::TempDir) -> Option<Deployment> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Deployment::start(BINARY, &tests, home.path(), SIZE).await
}

fn json_of(deployment: &Deployment, args: &[&str]) -> Value {
    serde_json::from_str(&deployment.command_ok(&[args, &["--json"]].concat())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_goes_through_every_role_to_a_row_that_its_data_team_alone_fetches() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    let (account, team, now) = (deployment.account().to_owned(), deployment.team(0), clock().now_ms());
    let sent = vec![conversion("ann", "bought", "purchase", now), decision("ann", "decided", "9300", "9302", now)];
    deployment.apis()[0].post_taken(&batch(&account, sent)).await;

    let export = Export::open(&team).await.unwrap();
    let rows = until("the row", VISIBLE, async || {
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("none yet".to_owned()) } else { Ok(rows) }
    })
    .await;
    assert_eq!((rows.len(), &rows[0]["uuid"]), (1, &json!("bought")));
    assert_eq!(rows[0]["experiments"][0]["variation_id"], "9302", "the decision came in the same request, after it");

    let date = rows[0]["_key"].as_str().unwrap().split("date=").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let output = home.path().join("loaded").display().to_string();
    let mut load = std::process::Command::new(BINARY);
    load.args(["load", "--type", "events", "--date", &date, "--output", &output, "--json", "--api", team.api()]);
    load.args(["--s3", team.s3(), "--pat", team.pat(), "--account", &account]);
    let loaded = load.output().unwrap();
    assert!(loaded.status.success(), "{}", printed(&loaded));
    assert_eq!(serde_json::from_slice::<Value>(&loaded.stdout).unwrap()["fetched"], 1);

    let status = json_of(&deployment, &["status"]);
    assert!(status.get("running").is_none(), "a command cannot know how the roles are: {status:#}");
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4, "{status:#}");
    assert!(status["accounts"][0]["complete_through_ms"].as_i64().unwrap() > now, "{status:#}");
    for partition in status["partitions"].as_array().unwrap() {
        let of = |name: &str| partition[name].as_i64().unwrap();
        assert!(of("folded") > 0 && of("folded") <= of("raw_end"), "{partition}");
        assert!(of("sealed") > 0 && of("sealed") <= of("enriched_end"), "{partition}");
        assert!(of("sealed_watermark_ms") > now && of("sealed_watermark_ms") <= of("log_time_ms"), "{partition}");
    }
    for address in [deployment.apis().remove(0), Api::of(&team)] {
        let answer = address.get("/local/accounts", &[]).await.unwrap();
        assert_eq!(answer.status, 404, "the operator's routes are on no address");
    }
    let topics = json_of(&deployment, &["topics"]);
    assert_eq!(topics["log"], status["log"]["id"]);
    assert!(topics["topics"].as_array().unwrap().iter().all(|topic| topic["made_now"] == false), "{topics:#}");
    for role in &mut deployment.roles {
        let ended = role.terminate().await;
        assert!(ended.success(), "{} ends well: {ended}", role.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_by_ingest_within_a_second_and_a_new_account_needs_no_restart() {
    let home = tempfile::tempdir().unwrap();
    let Some(deployment) = deployed(&home).await else { return };
    let made = json_of(&deployment, &["accounts", "create", "--id", "second", "--name", "Second"]);
    assert_eq!(made["id"], "second");
    let key = json_of(&deployment, &["keys", "create", "--account", "second", "--name", "web", "--scope", "write"]);
    let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let api = deployment.apis()[0].with_key(secret);
    let event = |uuid: &str| batch("second", vec![conversion("ann", uuid, "purchase", clock().now_ms())]);
    api.post_taken(&event("first")).await;
    let listed = deployment.command_ok(&["keys", "list", "--account", "second"]);
    assert!(listed.contains(id) && !listed.contains(secret), "{listed}");
    let _ = deployment.command_ok(&["keys", "revoke", id]);
    until("the key to be refused", Duration::from_secs(1), async || {
        let answer = api.post(&event("late")).await.map_err(|error| error.to_string())?;
        if answer.status == 401 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_topic_is_refused_by_every_role_with_the_words_that_mend_it() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    terminate_all(&mut deployment).await;
    let (tool, topic) = ("org.apache.kafka.tools.ConfigCommand", "millrace.access");
    let spoil = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", "retention.ms=86400000"];
    let _ = deployment.brokers.tool(tool, &spoil);
    let mut remedy = None;
    for role in &mut deployment.roles {
        role.start();
        let (status, said) = role.ended().await;
        assert_eq!(status.code(), Some(7), "{}: {said}", role.name());
        let told = said.split_once("mend it with kafka-configs.sh ").and_then(|(_, told)| told.lines().next());
        let told = told.unwrap_or_else(|| panic!("{}: {said}", role.name()));
        assert!(told.ends_with("--entity-name millrace.access --add-config retention.ms=-1"), "{told}");
        remedy = Some(told.to_owned());
    }
    let checked = deployment.command(&["topics", "--check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(7), "{}", printed(&checked));
    let remedy = remedy.expect("there are roles");
    let _ = deployment.brokers.tool_as_told(tool, &remedy.split_whitespace().collect::<Vec<_>>());
    for role in &mut deployment.roles {
        role.start();
        role.wait_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_waited_for_and_one_without_the_bucket_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    let team = deployment.team(0);
    let mut of_store: Vec<_> =
        [Kind::Process, Kind::Export, Kind::Serve].into_iter().flat_map(|kind| deployment.of(kind)).collect();
    for index in &of_store {
        deployment.roles[*index].terminate().await;
    }
    deployment.s3.kill();
    for index in &of_store {
        let role = &mut deployment.roles[*index];
        role.start();
        let ready = format!("{}/readyz", role.api());
        until("it to say what it waits for", SOON, async || {
            let answer = reqwest::get(&ready).await.map_err(|error| error.to_string())?;
            let body: Value = answer.json().await.map_err(|error| error.to_string())?;
            let waits = body["not_ready"]["store"].as_str().is_some_and(|reason| reason.starts_with("waiting: "));
            if waits { Ok(()) } else { Err(body.to_string()) }
        })
        .await;
    }
    deployment.s3.start_again().await;
    deployment.wait_ready().await;
    assert!(Export::open(&team).await.unwrap().list().await.is_ok());

    of_store.retain(|index| deployment.roles[*index].kind() == Kind::Export);
    let exporter = &mut deployment.roles[of_store[0]];
    exporter.terminate().await;
    let config = std::fs::read_to_string(deployment.config()).unwrap();
    let bucket = format!("bucket = \"{}\"", deployment.s3.bucket());
    std::fs::write(deployment.config(), config.replace(&bucket, "bucket = \"no-such-bucket\"")).unwrap();
    let exporter = &mut deployment.roles[of_store[0]];
    exporter.start();
    let (status, said) = exporter.ended().await;
    assert_eq!(status.code(), Some(8), "{said}");
    assert!(said.contains("no-such-bucket") && said.contains("NoSuchBucket"), "{said}");
}

/// Deletes a topic and makes it again, with the partitions and settings it had.
async fn make_anew(deployment: &Deployment, name: &str) {
    let topics = json_of(deployment, &["topics", "--check"]);
    let topic = topics["topics"].as_array().unwrap().iter().find(|topic| topic["topic"] == name).unwrap().clone();
    let tool = |args: &[&str]| deployment.brokers.tool("org.apache.kafka.tools.TopicCommand", args);
    let _ = tool(&["--delete", "--topic", name]);
    until("the topic to be gone", SOON, async || {
        let listed = tool(&["--list"]);
        if listed.lines().any(|line| line == name) { Err(listed) } else { Ok(()) }
    })
    .await;
    let partitions = topic["partitions"].to_string();
    let settings = topic["settings"].as_object().unwrap().iter().map(|(key, value)| format!("{key}={}", text(value)));
    let settings: Vec<String> = settings.collect();
    let mut create = vec!["--create", "--topic", name, "--partitions", &partitions];
    for setting in &settings {
        create.extend(["--config", setting.as_str()]);
    }
    let _ = tool(&create);
}

/// Starts every role of these kinds, and expects each to end with this code and these words.
async fn refuse_to_run(deployment: &mut Deployment, kinds: &[Kind], code: i32, words: &str) {
    for index in kinds.iter().flat_map(|kind| deployment.of(*kind)).collect::<Vec<_>>() {
        let role = &mut deployment.roles[index];
        role.start();
        let (status, said) = role.ended().await;
        assert_eq!(status.code(), Some(code), "{}: {said}", role.name());
        assert!(said.contains(words), "{}: {said}", role.name());
    }
}

async fn terminate_all(deployment: &mut Deployment) {
    for role in &mut deployment.roles {
        role.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_stops_every_role_that_counts_on_it() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    let (account, team) = (deployment.account().to_owned(), deployment.team(0));
    let sent = vec![decision("ann", "decided", "9300", "9302", clock().now_ms())];
    deployment.apis()[0].post_taken(&batch(&account, sent)).await;
    let export = Export::open(&team).await.unwrap();
    until("the row", VISIBLE, async || {
        let rows = export.rows("decisions").await.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })
    .await;
    terminate_all(&mut deployment).await;
    let stored = Export::of_store(deployment.s3.store(), &account).unwrap();
    let listed = stored.list().await.unwrap();

    make_anew(&deployment, "millrace.enriched").await;
    refuse_to_run(&mut deployment, &[Kind::Process, Kind::Export], 1, "millrace.enriched").await;

    make_anew(&deployment, "millrace.access").await;
    let words = "millrace.access is not the topic log";
    refuse_to_run(&mut deployment, &Kind::ALL, 7, words).await;
    for args in [&["topics"][..], &["topics", "--check"], &["accounts", "list"]] {
        let output = deployment.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{args:?}: {}", printed(&output));
        assert!(printed(&output).contains(words), "{args:?} heals nothing: {}", printed(&output));
    }
    assert_eq!(stored.list().await.unwrap(), listed, "nothing was published, and nothing is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_topic_that_was_made_anew_is_not_given_settings() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    // A processor that is ready has folded the settings; a tick later it has said so in the enriched topic.
    until("every partition to be folded", SOON, async || {
        let status = json_of(&deployment, &["status"]);
        let folded = |partition: &Value| partition["folded"].as_i64().is_some_and(|folded| folded > 0);
        if status["partitions"].as_array().unwrap().iter().all(folded) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    terminate_all(&mut deployment).await;

    make_anew(&deployment, "millrace.raw").await;
    let words = "millrace.raw is not the topic log";
    refuse_to_run(&mut deployment, &Kind::ALL, 7, words).await;
    let made = deployment.command(&["topics"]).output().unwrap();
    assert_eq!(made.status.code(), Some(7), "{}", printed(&made));
    assert!(printed(&made).contains(words), "{}", printed(&made));
}

/// Group positions expire and a state folder is lost with its machine: neither says where to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_groups_positions_and_the_local_state_every_row_comes_once() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut deployment) = deployed(&home).await else { return };
    let (account, api, now) = (deployment.account().to_owned(), deployment.apis().remove(0), clock().now_ms());
    let (mut follower, mut sent) = (Follower::default(), Vec::new());
    for round in 0..2 {
        let stopped = [deployment.of(Kind::Process), deployment.of(Kind::Export)].concat();
        for index in &stopped {
            deployment.roles[*index].kill_9();
        }
        for group in ["millrace-processor", "millrace-exporter"] {
            // A dead static member is one of its group until its session has ended.
            until("the group's positions to be deleted", SOON, async || {
                let said = deployment.brokers.tool(
                    "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                    &["--delete", "--group", group],
                );
                if said.contains("was successful") || said.contains("does not exist") { Ok(()) } else { Err(said) }
            })
            .await;
        }
        std::fs::remove_dir_all(home.path().join("state")).unwrap();
        for index in stopped {
            deployment.roles[index].start();
        }
        deployment.wait_ready().await;

        for visitor in ["ann", "bob", "cid", "dan"] {
            sent.push(decision(visitor, &format!("decided-{round}-{visitor}"), "9300", "9302", now));
            sent.push(conversion(visitor, &format!("bought-{round}-{visitor}"), "purchase", now));
        }
        // All of before comes again: none of it may make a second row, which the follower asserts.
        api.post_taken(&batch(&account, sent.clone())).await;
        let export = Export::open(&deployment.team(0)).await.unwrap();
        // Its conversions are held still, mostly, when the next round stops everything.
        until("the decisions", VISIBLE, async || {
            follower.take(&export).await.map_err(|error| error.to_string())?;
            let last = follower.row("decisions", "dan", &format!("decided-{round}-dan"));
            last.map(|_| ()).ok_or_else(|| format!("{} rows", follower.row_count()))
        })
        .await;
    }
    let export = Export::open(&deployment.team(0)).await.unwrap();
    until("every row", VISIBLE, async || {
        follower.take(&export).await.map_err(|error| error.to_string())?;
        if follower.row_count() == sent.len() { Ok(()) } else { Err(format!("{} rows", follower.row_count())) }
    })
    .await;
    for visitor in ["ann", "bob", "cid", "dan"] {
        for round in 0..2 {
            let row = follower.row("events", visitor, &format!("bought-{round}-{visitor}")).unwrap();
            assert_eq!(&*row.experiments, "9300=9302", "{visitor} in round {round}");
        }
    }
}

/// Requests with all that could be told apart: decisions before, with and after their conversions, a visitor with two variations,
/// an event sent twice, sessions that end, and a reject.
fn requests(account: &str) -> Vec<Value> {
    let noon = 1_790_000_000_000;
    let minutes = |minutes: i64| noon + minutes * 60_000;
    let bad = json!({"visitor_id": "eve", "attributes": [], "snapshots": [{"decisions": [], "events": [{"uuid": "bad", "timestamp": "soon"}]}]});
    vec![
        batch(account, vec![decision("ann", "a1", "9300", "9301", noon), conversion("ann", "a2", "purchase", noon)]),
        batch(account, vec![conversion("bob", "b1", "purchase", minutes(1)), bad]),
        batch(account, vec![decision("bob", "b2", "9300", "9302", minutes(1))]),
        batch(
            account,
            vec![decision("ann", "a3", "9300", "9302", minutes(2)), decision("ann", "a4", "9400", "9401", minutes(2))],
        ),
        batch(
            account,
            vec![conversion("ann", "a5", "purchase", minutes(1)), conversion("ann", "a6", "purchase", minutes(3))],
        ),
        batch(
            account,
            vec![conversion("ann", "a2", "purchase", noon), conversion("cid", "c1", "add:to:cart", minutes(5))],
        ),
        batch(
            account,
            vec![conversion("ann", "a7", "purchase", minutes(50)), decision("cid", "c2", "9300", "9301", minutes(90))],
        ),
    ]
}

/// Every row without what differs from run to run: when, by whom and with which request it was taken, and the file it stands in.
async fn rows_of(api: &Api, team: &Demo, account: &str) -> Vec<(String, Row)> {
    for request in requests(account) {
        api.post_taken(&request).await;
    }
    let mut taken = Vec::new();
    for (of_type, count) in [("decisions", 5), ("events", 6), ("rejected", 1)] {
        let export = Export::open_narrow(team, &format!("type={of_type}")).await.unwrap();
        let rows = until("every row", VISIBLE, async || {
            let rows = export.rows(of_type).await.map_err(|error| error.to_string())?;
            if rows.len() == count { Ok(rows) } else { Err(format!("{} of {count} {of_type}", rows.len())) }
        })
        .await;
        taken.extend(rows.into_iter().map(|mut row| {
            for of_this_run in ["process_timestamp", "source", "request_id", "_key"] {
                row.remove(of_this_run);
            }
            (format!("{of_type} {}", text(&row["uuid"])), row)
        }));
    }
    taken.sort_by(|(one, _), (other, _)| one.cmp(other));
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_events_through_the_embedded_log_and_through_kafka_give_the_same_rows() {
    let home = tempfile::tempdir().unwrap();
    let Some(deployment) = deployed(&home).await else { return };
    let account = deployment.account().to_owned();
    let through_kafka = rows_of(&deployment.apis()[0], &deployment.team(0), &account).await;

    let server =
        Launch::new(BINARY, &home.path().join("embedded")).args(&["--slot", "2s", "--grace", "3s"]).start().await;
    let create = |args: &[&str], field: &str| {
        let made = server.launch().command_ok(&[args, &["--json"]].concat());
        text(&serde_json::from_str::<Value>(&made).unwrap()[field])
    };
    create(&["accounts", "create", "--id", &account, "--name", "Shop"], "id");
    let key = create(&["keys", "create", "--account", &account, "--name", "web", "--scope", "write"], "key");
    let user = ["users", "create", "--account", &account, "--username", "ann", "--email", "ann@shop.example"];
    let user = create(&[&user[..], &["--role", "analyst"]].concat(), "id");
    let token = create(&["tokens", "create", "--user", &user, "--name", "laptop"], "token");
    let demo = server.demo();
    let team = Demo::of([
        ("MILLRACE_API", demo.api().to_owned()),
        ("MILLRACE_S3", demo.s3().to_owned()),
        ("MILLRACE_PAT", token),
    ]);
    let through_the_embedded_log = rows_of(&Api::at(demo.api(), &key), &team, &account).await;
    assert_eq!(through_kafka, through_the_embedded_log);
    let attributed =
        through_kafka.iter().filter(|(_, row)| row.get("experiments").is_some_and(|list| *list != json!([])));
    assert_eq!(attributed.count(), 5, "all conversions but cid's, whose decision is later");
}
