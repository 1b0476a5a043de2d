//! The roles and commands of a cluster, as far as no broker is needed: what is said when something is wrong, and how a role
//! waits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use clap::Parser;
use millrace::cli::Cli;
use millrace_harness::process::printed;
use millrace_harness::until;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const ROLES: [&str; 4] = ["ingest", "process", "export", "serve"];
const SOON: Duration = Duration::from_secs(30);

fn millrace(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    millrace(args).output().unwrap()
}

/// An address at which nobody answers.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A configuration whose brokers and store are not there, and the server keys of `serve`.
fn configuration(home: &Path) -> PathBuf {
    let keys = home.join("server-keys");
    assert!(output(&["server-keys", "create", keys.to_str().unwrap()]).status.success());
    let (brokers, store) = (nobody(), nobody());
    let text = format!(
        "[kafka]\nbootstrap_servers = '{brokers}'\n[store]\nbucket = 'exports'\nendpoint = 'http://{store}'\n\
         access_key_id = 'id'\nsecret_access_key = 'hush'\n[serve]\nserver_keys = '{}'\n[processor]\nstate = '{}'",
        keys.display(),
        home.join("state").display()
    );
    let path = home.join("cluster.toml");
    std::fs::write(&path, text).unwrap();
    path
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_role_tells_every_mistake_at_once_and_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("wrong.toml");
    std::fs::write(&path, "data = './x'\n[topics]\npartitions = 0\n[kafka.properties]\nacks = '0'").unwrap();
    for role in ROLES {
        let refused = output(&[role, "--config", path.to_str().unwrap(), "--instance", "no name"]);
        let said = printed(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let mistakes =
            ["data: unknown key", "topics.partitions", "acks", "no name", "kafka.bootstrap_servers: must be set"];
        for mistake in mistakes {
            assert!(said.contains(mistake), "{role} does not say {mistake}: {said}");
        }
        assert_eq!(said.contains("store.bucket: must be set"), role != "ingest", "{said}");
        assert_eq!(said.contains("serve.server_keys: must be set"), role == "serve", "{said}");
    }
}

#[test]
fn a_switched_off_verification_is_a_mistake() {
    let refused = millrace(&["ingest"])
        .env("MILLRACE__KAFKA__BOOTSTRAP_SERVERS", nobody())
        .env("MILLRACE__KAFKA__PROPERTIES__ENABLE__SSL__CERTIFICATE__VERIFICATION", "false")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
    assert!(printed(&refused).contains("enable.ssl.certificate.verification"), "{}", printed(&refused));
}

#[test]
fn serve_refuses_keys_that_are_not_there_or_could_be_guessed() {
    let home = tempfile::tempdir().unwrap();
    let config = configuration(home.path());
    let keys = home.path().join("server-keys");
    let serve = || {
        let args =
            ["serve", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
        let refused = output(&args);
        assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
        printed(&refused)
    };
    let weak = format!("0badcafe {} -\n", "ab".repeat(32));
    std::fs::write(&keys, &weak).unwrap();
    let said = serve();
    assert!(said.contains("weak") && said.contains("serve.server_keys") && !said.contains("abab"), "{said}");
    std::fs::remove_file(&keys).unwrap();
    let said = serve();
    assert!(said.contains("millrace server-keys create"), "{said}");
}

#[test]
fn a_key_signs_only_once_it_was_announced() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("keys");
    // A bare name, as the page for operators has it.
    let keys = |action: &str| millrace(&["server-keys", action, "keys"]).current_dir(home.path()).output().unwrap();
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert!(keys("create").status.success());
    let first = lines();
    assert!(first.len() == 1 && first[0].ends_with(" -"), "one key, which signs");
    assert!(!keys("create").status.success() && lines() == first, "keys in use are never replaced");
    assert!(!keys("rotate").status.success() && lines() == first, "nobody knows another key yet");
    assert!(keys("announce").status.success());
    let announced = lines();
    assert!(announced.len() == 2 && announced[0] == first[0] && announced[1].ends_with(" next"));
    assert!(keys("rotate").status.success());
    let rotated = lines();
    let (next, last) = (announced[1].trim_end_matches("next"), first[0].trim_end_matches('-'));
    assert!(
        rotated[0] == format!("{next}-") && rotated[1].starts_with(last),
        "the announced key signs, the first is retired"
    );
}

#[tokio::test]
async fn a_role_without_its_brokers_lives_says_what_it_waits_for_and_takes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let config = configuration(home.path());
    for role in ROLES {
        let address: SocketAddr = nobody().parse().unwrap();
        let listen = address.to_string();
        let mut command = millrace(&[role, "--config", config.to_str().unwrap(), "--listen", &listen]);
        if role == "serve" {
            command.args(["--s3-listen", &nobody()]);
        }
        let log = std::fs::File::create(home.path().join(role)).unwrap();
        let mut process = Killed(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let client = reqwest::Client::new();
        let get = async |path: &str| client.get(format!("http://{address}{path}")).send().await;

        until("it to live, and to say what it waits for", SOON, async || {
            let lives = get("/livez").await.map_err(|error| error.to_string())?.status();
            assert!(lives.is_success(), "{role}: {lives}");
            let ready = get("/readyz").await.map_err(|error| error.to_string())?;
            assert_eq!(ready.status(), 503, "{role}");
            let body: serde_json::Value = ready.json().await.map_err(|error| error.to_string())?;
            let waits = body["not_ready"]["log"].as_str().unwrap_or_default().to_owned();
            if waits.starts_with("waiting: ") { Ok(()) } else { Err(body.to_string()) }
        })
        .await;
        assert!(get("/metrics").await.unwrap().text().await.unwrap().contains("millrace_"), "{role}");
        let early = client.post(format!("http://{address}/v1/events")).body("{}").send().await.unwrap();
        assert_eq!(early.status(), 503, "{role} takes nothing yet");
        assert!(early.headers().contains_key("retry-after"), "{role} says to come again");

        assert!(Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap().success());
        let status = until("it to stop", SOON, async || process.0.try_wait().unwrap().ok_or("it runs")).await;
        assert!(status.success(), "{role} stops well while it waits: {status}");
        let logged = std::fs::read_to_string(home.path().join(role)).unwrap();
        assert!(logged.contains("waiting") && !logged.contains("hush"), "{role}: {logged}");
    }
}

#[test]
fn an_address_in_use_is_told_with_its_flag() {
    let home = tempfile::tempdir().unwrap();
    let config = configuration(home.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let refused = output(&["ingest", "--config", config.to_str().unwrap(), "--listen", &listen]);
    assert_eq!(refused.status.code(), Some(5), "{}", printed(&refused));
    assert!(printed(&refused).contains("--listen"), "{}", printed(&refused));
}

#[test]
fn commands_say_that_the_brokers_cannot_be_reached() {
    let home = tempfile::tempdir().unwrap();
    let config = configuration(home.path());
    let say_so = |command: &[&str]| {
        let args = [command, &["--config", config.to_str().unwrap()]].concat();
        let failed = output(&args);
        assert_eq!(failed.status.code(), Some(1), "{command:?}: {}", printed(&failed));
        assert!(printed(&failed).contains("Kafka cannot be reached"), "{command:?}: {}", printed(&failed));
        assert!(!printed(&failed).contains("hush"));
    };
    // Each gives the brokers time to answer: all at once.
    std::thread::scope(|scope| {
        for command in [&["topics"][..], &["topics", "--check"], &["accounts", "list"], &["status"]] {
            scope.spawn(move || say_so(command));
        }
    });
}

#[test]
fn a_command_is_about_a_folder_or_a_cluster_never_both() {
    let refused = output(&["accounts", "list", "--config", "cluster.toml", "--data", "folder"]);
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
}

#[test]
fn where_the_environment_names_the_brokers_a_command_needs_no_file() {
    let mut list = millrace(&["accounts", "list"]);
    list.env("MILLRACE__KAFKA__BOOTSTRAP_SERVERS", nobody()).env("MILLRACE__STORE__BUCKET", "exports");
    let failed = list.output().unwrap();
    assert!(printed(&failed).contains("Kafka cannot be reached"), "{}", printed(&failed));
    let home = tempfile::tempdir().unwrap();
    let failed = list.arg("--data").arg(home.path()).output().unwrap();
    assert!(
        printed(&failed).contains("there is no Millrace in"),
        "a folder that is named goes first: {}",
        printed(&failed)
    );
}

#[test]
fn help_leads_from_nothing_to_a_first_account() {
    let help = printed(&output(&["help"]));
    let order = ["millrace topics", "millrace server-keys create", "millrace accounts create --name Shop --config"];
    let places: Vec<usize> = order.iter().map(|step| help.find(step).unwrap_or_else(|| panic!("no {step}"))).collect();
    assert!(places.is_sorted(), "in the order in which they are needed: {help}");
    for role in ROLES {
        assert!(printed(&output(&[role, "--help"])).contains("Examples:"), "{role}");
    }
}

#[test]
fn every_command_on_the_page_for_operators_is_one_there_is() {
    let page = include_str!("../docs/RUNNING_A_CLUSTER.md");
    let mut commands = 0;
    for line in page.lines().filter(|line| line.starts_with("millrace ")) {
        // Today, as the shell writes it.
        let line = line.replace("\"$(date -u +%F)\"", "2026-11-24");
        let line = line.split(" #").next().unwrap_or_default().trim_end_matches('&');
        if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
            panic!("{line}: {error}");
        }
        commands += 1;
    }
    assert!(commands >= 10, "the page has commands: {commands}");
}
