//! What operators do: status, load, accounts, keys and tokens by command, and a stop in good order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use millrace_harness::events::{batch, conversion};
use millrace_harness::load::{Load, Plan};
use millrace_harness::process::printed;
use millrace_harness::wait::clock;
use millrace_harness::{Export, Follower, Launch, Server, until};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const VISIBLE: Duration = Duration::from_secs(45);

async fn started(home: &tempfile::TempDir) -> Server {
    Launch::new(BINARY, &home.path().join("data")).fast().start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_finishes_what_it_took() {
    let home = tempfile::tempdir().unwrap();
    let mut server = started(&home).await;
    let account = server.demo().account().to_owned();
    let plan = Plan { account, name: "stop".into(), rate: 400, per_request: 10, senders: 4, visitors: 100 };
    let load = Load::start(plan, &server.api());
    let mut follower = Follower::default();
    for _ in 0..3 {
        let before = load.acknowledged();
        until("a hundred events", VISIBLE, async || {
            let now = load.acknowledged() - before;
            if now >= 100 { Ok(()) } else { Err(format!("{now} so far")) }
        })
        .await;
        let launch = server.launch().clone();
        let status = server.terminate().await;
        assert!(status.success(), "SIGTERM ends it well: {status}");
        server = launch.start().await;
        follower.take(&Export::open(server.demo()).await.unwrap()).await.unwrap();
    }
    let sent = load.stop().await;
    let export = Export::open(server.demo()).await.unwrap();
    sent.wait_until_visible(&mut follower, &export, Duration::from_secs(30)).await;
    sent.assert_attributed(&follower);
}

#[tokio::test]
async fn a_request_whose_body_is_half_sent_at_sigterm_is_finished_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let launch = patient(&home);
    let server = launch.start().await;
    let event = conversion("ann", "half-sent", "purchase", clock().now_ms());
    let body = batch(server.demo().account(), vec![event]).to_string();
    let (before, after) = body.as_bytes().split_at(body.len() / 2);
    let mut client = begun(&server, body.len());
    client.write_all(before).unwrap();
    server.signal_term();
    let address = client.peer_addr().unwrap();
    until("it to be stopping: to take no connection", VISIBLE, async || match TcpStream::connect(address) {
        Ok(_) => Err("it takes one"),
        Err(_) => Ok(()),
    })
    .await;

    client.write_all(after).unwrap();
    assert_eq!(read(&mut client, "HTTP/1.1 204".len()), "HTTP/1.1 204");
    let status = server.stopped().await;
    assert!(status.success(), "in good order: {status}");

    let server = launch.start().await;
    let export = Export::open(server.demo()).await.unwrap();
    let rows = until("its row", VISIBLE, async || {
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("none yet".to_owned()) } else { Ok(rows) }
    })
    .await;
    assert_eq!((rows.len(), &rows[0]["uuid"]), (1, &json!("half-sent")));
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait_for_what_the_first_one_waits_for() {
    let home = tempfile::tempdir().unwrap();
    let server = patient(&home).start().await;
    // A request whose body does not come: the stop waits for it.
    let client = begun(&server, 100);
    server.signal_term();
    let output = server.launch().output_path();
    until("it to be stopping", VISIBLE, async || {
        let said = std::fs::read_to_string(&output).unwrap_or_default();
        if said.contains("finishing what was taken") { Ok(()) } else { Err(said) }
    })
    .await;
    let began = clock().elapsed();
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(1), "not in good order, and it says so");
    let took = clock().elapsed() - began;
    assert!(took < Duration::from_secs(5), "the first would have waited for 24 s, this one took {took:?}");
    drop(client);
}

/// Stops within 60 s, of which 24 s are for requests under way.
fn patient(home: &tempfile::TempDir) -> Launch {
    Launch::new(BINARY, &home.path().join("data")).fast().env("MILLRACE__STOP__DEADLINE", "60s")
}

/// A request to the Event API that has so far sent its head alone; the server reads the body of so many bytes.
fn begun(server: &Server, body_bytes: usize) -> TcpStream {
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let address = server.demo().api().strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(VISIBLE)).unwrap();
    let to = format!("POST /v1/events HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {}", server.demo().api_key());
    let body = format!("Content-Type: application/json\r\nContent-Length: {body_bytes}\r\nExpect: 100-continue");
    write!(client, "{to}\r\n{body}\r\n\r\n").unwrap();
    assert_eq!(read(&mut client, CONTINUE.len()), CONTINUE, "it is reading the body");
    client
}

/// The next so many bytes of an answer.
fn read(client: &mut TcpStream, bytes: usize) -> String {
    let mut answer = vec![0; bytes];
    client.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_status_says_is_complete_is_in_the_listing() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let account = server.demo().account();
    for n in 0..10 {
        let event = conversion("ann", &format!("told-{n}"), "purchase", clock().now_ms());
        server.api().post_taken(&batch(account, vec![event])).await;
    }
    let again = conversion("ann", "told-0", "purchase", clock().now_ms());
    server.api().post_taken(&batch(account, vec![again])).await;
    let taken_ms = clock().now_ms();
    let status = || -> Value { serde_json::from_str(&server.launch().command_ok(&["status", "--json"])).unwrap() };

    let told = until("status to say that everything is complete", VISIBLE, async || {
        let status = status();
        let through = status["accounts"][0]["complete_through_ms"].as_i64().unwrap_or(0);
        if through > taken_ms { Ok(status) } else { Err(format!("complete through {through}, sent until {taken_ms}")) }
    })
    .await;

    assert_eq!((&told["running"], &told["ready"], &told["not_ready"]), (&json!(true), &json!(true), &json!([])));
    assert_eq!(told["accounts"][0]["account"], account);
    let events = ["accepted", "duplicate", "rejected"].map(|what| told["events"][what].as_u64());
    assert_eq!(events, [Some(10), Some(1), Some(0)], "events, not records: {told:#}");
    let rows = Export::open(server.demo()).await.unwrap().rows("events").await.unwrap();
    assert_eq!(rows.len(), 10, "everything before complete_through is visible");
    let raw = told["log"]["topics"].as_array().unwrap().iter().find(|topic| topic["topic"] == "millrace.raw");
    assert!(raw.unwrap()["records"].as_u64().unwrap() >= 10 + 4, "events and settings at least: {told:#}");
    let text = server.launch().command_ok(&["status"]);
    assert!(text.contains(account) && text.contains("ready"), "people can read it: {text}");
}

#[tokio::test]
async fn status_tells_of_a_folder_nothing_runs_in() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let launch = server.launch().clone();
    assert!(server.terminate().await.success());

    let status: Value = serde_json::from_str(&launch.command_ok(&["status", "--json"])).unwrap();

    assert_eq!(status["running"], false);
    let elsewhere = Launch::new(BINARY, &home.path().join("elsewhere")).command(&["status"]);
    assert!(!elsewhere.status.success() && printed(&elsewhere).contains("elsewhere"), "{}", printed(&elsewhere));
}

#[tokio::test]
async fn load_fetches_each_file_once_and_checks_it() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let names: Vec<Value> =
        (0..3).map(|n| conversion("ann", &format!("loaded-{n}"), &format!("name-{n}"), 1)).collect();
    server.api().post_taken(&batch(server.demo().account(), names)).await;
    let export = Export::open(server.demo()).await.unwrap();
    let listed = until("three files", VISIBLE, async || {
        let listed = export.list().await.map_err(|error| error.to_string())?;
        if listed.len() == 3 { Ok(listed) } else { Err(format!("{} files", listed.len())) }
    })
    .await;
    let key = listed.keys().next().unwrap();
    let date = key.split('/').find_map(|part| part.strip_prefix("date=")).unwrap();
    let output = home.path().join("loaded");
    let folder = output.display().to_string();
    let load = || -> Value {
        let args = ["load", "--type", "events", "--date", date, "--output", &folder, "--json"];
        serde_json::from_str(&server.launch().command_ok(&args)).unwrap()
    };

    let first = load();
    assert_eq!((&first["fetched"], &first["already_there"], &first["failed"]), (&json!(3), &json!(0), &json!([])));
    for (key, listed) in &listed {
        let path = key.strip_prefix("v1/").unwrap();
        assert_eq!(std::fs::metadata(output.join(path)).expect(path).len(), listed.bytes);
    }
    let second = load();
    assert_eq!((&second["fetched"], &second["already_there"]), (&json!(0), &json!(3)));

    std::fs::write(output.join(key.strip_prefix("v1/").unwrap()), b"cut").unwrap();
    let third = load();
    assert_eq!((&third["fetched"], &third["already_there"]), (&json!(1), &json!(2)), "a cut file is fetched again");
}

#[tokio::test]
async fn an_origin_named_by_command_may_send_json_from_a_browser_until_it_is_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let (account, origin) = (server.demo().account(), "https://shop.example");
    let change = |args: &[&str]| server.launch().command_ok(&[&["accounts", "change", account], args].concat());
    // What a browser asks before it posts application/json, as sendBeacon does with such a Blob.
    let allowed = async || {
        let client = reqwest::Client::new();
        let asked = client.request(reqwest::Method::OPTIONS, format!("{}/v1/events", server.demo().api()));
        let asked = asked.header("Origin", origin).header("Access-Control-Request-Method", "POST");
        let answer = asked.header("Access-Control-Request-Headers", "content-type").send().await.unwrap();
        answer.headers().get("Access-Control-Allow-Origin").is_some_and(|value| value == origin)
    };
    assert!(!allowed().await);
    assert!(change(&["--origin", origin]).contains(origin));
    assert!(allowed().await);
    assert!(!change(&["--no-origins"]).contains(origin));
    assert!(!allowed().await);

    let wrong = printed(&server.launch().command(&["accounts", "change", account, "--slot", "7s"]));
    assert!(wrong.contains("slot_ms"), "{wrong}");
    let nothing = printed(&server.launch().command(&["accounts", "change", account]));
    assert!(nothing.contains("--origin"), "{nothing}");
}

#[tokio::test]
async fn an_account_made_by_command_sends_and_reads_its_own_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let (demo, command) =
        (server.demo(), |args: &[&str]| -> Value { serde_json::from_str(&server.launch().command_ok(args)).unwrap() });
    assert_eq!(command(&["accounts", "create", "--id", "shop", "--name", "Shop", "--json"])["id"], "shop");
    let key = command(&["keys", "create", "--account", "shop", "--name", "web", "--scope", "write", "--json"]);
    let person = ["--username", "ann", "--email", "ann@shop.example", "--role", "analyst"];
    let _ = command(&[&["users", "create", "--account", "shop"], &person[..], &["--json"]].concat());
    let token = command(&["tokens", "create", "--user", "ann", "--name", "laptop", "--json"]);
    let (secret, pat) = (key["key"].as_str().unwrap(), token["token"].as_str().unwrap());

    let shop = server.api().with_key(secret);
    let event = |account: &str| batch(account, vec![conversion("ann", "of-the-shop", "purchase", 1)]);
    shop.post_taken(&event("shop")).await;
    assert_eq!(shop.post(&event(demo.account())).await.unwrap().status, 403);
    assert_eq!(server.api().post(&event("shop")).await.unwrap().status, 403);

    let export = Export::open_as(demo, pat, "").await.unwrap();
    let rows = until("the shop's row", VISIBLE, async || {
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("none yet".to_owned()) } else { Ok(rows) }
    })
    .await;
    assert_eq!((rows.len(), &rows[0]["account_id"]), (1, &json!("shop")));
    let key_of_the_shop = rows[0]["_key"].as_str().unwrap();
    let others = Export::open(demo).await.unwrap();
    assert!(others.list().await.unwrap().is_empty(), "the demo account sees nothing of it");
    assert!(others.read(key_of_the_shop).await.is_err(), "not even a key it knows");

    let listed = server.launch().command_ok(&["keys", "list", "--json"]);
    assert!(listed.contains(key["id"].as_str().unwrap()) && !listed.contains(secret), "{listed}");
    let _ = server.launch().command_ok(&["keys", "revoke", key["id"].as_str().unwrap()]);
    let _ = server.launch().command_ok(&["tokens", "revoke", token["id"].as_str().unwrap()]);
    until("the key to be refused", Duration::from_secs(1), async || {
        let answer = shop.post(&event("shop")).await.map_err(|error| error.to_string())?;
        if answer.status == 401 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
    let bearer = format!("Bearer {pat}");
    let answer = server.api().get("/v2/export/credentials", &[("Authorization", &bearer)]).await.unwrap();
    assert_eq!(answer.status, 403, "a revoked token mints nothing: {}", answer.text());
}

#[tokio::test]
async fn secrets_are_in_no_log_line_and_in_no_readable_file() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let demo = server.demo().clone();
    let event = batch(demo.account(), vec![conversion("ann", "secret", "purchase", 1)]);
    let path = format!("/v1/events?access_token_query={}", demo.api_key());
    let answer = server.api().with_key("").post_bytes(&path, &[], event.to_string().into()).await.unwrap();
    assert_eq!(answer.status, 204);
    Export::open(&demo).await.unwrap().list().await.unwrap();
    let launch = server.launch().clone();
    assert!(server.terminate().await.success());

    for file in ["demo.env", "server-keys"] {
        let mode = std::fs::metadata(launch.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // The start prints the secrets once, for people: what follows it must not.
    let output = std::fs::read_to_string(launch.output_path()).unwrap();
    let secrets = [demo.api_key(), demo.pat(), demo.get("MILLRACE_PASSWORD")];
    for secret in secrets {
        let lines: Vec<&str> = output.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.len() <= 1 && lines.iter().all(|line| !line.contains("level")), "{lines:?}");
    }
    assert!(!holds(&launch.data().join("log"), demo.api_key().as_bytes()), "the log holds hashes only");
    assert!(!holds(&launch.data().join("store"), demo.pat().as_bytes()), "nor does the store");
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}
