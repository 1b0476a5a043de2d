//! Bad input: each with a clear error, and nothing lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use millrace_harness::events::{batch, conversion};
use millrace_harness::rows::text;
use millrace_harness::wait::clock;
use millrace_harness::{Api, Export, Launch, Server, until};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const VISIBLE: Duration = Duration::from_secs(20);

async fn started(home: &tempfile::TempDir) -> Server {
    Launch::new(BINARY, &home.path().join("data")).fast().start().await
}

fn good(server: &Server, uuid: &str) -> Value {
    batch(server.demo().account(), vec![conversion("ann", uuid, "purchase", clock().now_ms())])
}

/// Posts a good event and waits for its row: the pipeline takes and publishes as before.
async fn still_works(server: &Server, uuid: &str) {
    server.api().post_taken(&good(server, uuid)).await;
    visible(server, uuid).await;
}

async fn visible(server: &Server, uuid: &str) {
    let export = Export::open(server.demo()).await.expect("credentials");
    until(&format!("the row of {uuid}"), VISIBLE, async || {
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        if rows.iter().any(|row| row["uuid"] == uuid) { Ok(()) } else { Err("no such row".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn requests_refused_as_a_whole_say_why_and_leave_no_row() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let api = server.api();
    let post = async |api: &Api, body: Vec<u8>, headers: &[(&str, &str)]| {
        api.post_bytes("/v1/events", headers, body.into()).await.expect("an answer")
    };

    let malformed = post(&api, b"{\"account_id\": \"a\",\n  \"visitors\": [}".to_vec(), &[]).await;
    assert_eq!(malformed.status, 400);
    let said = malformed.text();
    assert!(said.contains("line 2") && said.contains("column"), "it says where: {said}");

    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let mut nested = good(&server, "refused-nested");
    nested["visitors"][0]["snapshots"][0]["events"][0]["tags"]["deep"] = serde_json::from_str(&deep).unwrap();
    assert_eq!(post(&api, nested.to_string().into(), &[]).await.status, 400);

    let mut large = good(&server, "refused-large");
    large["padding"] = "x".repeat(4 * 1024 * 1024).into();
    let answer = post(&api, large.to_string().into(), &[]).await;
    assert_eq!((answer.status, answer.header("Connection")), (413, "close"));

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(b"{\"account_id\":\"").unwrap();
    for _ in 0..256 {
        bomb.write_all(&[b'x'; 1024 * 1024]).unwrap();
    }
    let answer = post(&api, bomb.finish().unwrap(), &[("Content-Encoding", "gzip")]).await;
    assert_eq!(answer.status, 413, "256 MiB of x behind a few kilobytes");

    let wrong = api.with_key(&format!("sk-live-{}", "0".repeat(32)));
    let answer = post(&wrong, good(&server, "refused-key").to_string().into(), &[]).await;
    assert_eq!((answer.status, answer.json()), (401, json!({"detail": "Invalid API key"})));
    let answer = post(&api.with_key(""), good(&server, "refused-no-key").to_string().into(), &[]).await;
    assert_eq!((answer.status, answer.json()), (401, json!({"detail": "Not authenticated"})));
    let by_query = format!("/v1/events?access_token_query={}", server.demo().pat());
    let body = good(&server, "refused-pat").to_string();
    let answer = api.with_key("").post_bytes(&by_query, &[], body.into()).await.unwrap();
    assert_eq!(answer.status, 401, "a personal access token sends no events");

    let foreign = batch("somebody-else", vec![conversion("ann", "refused-foreign", "purchase", 1)]);
    assert_eq!(post(&api, foreign.to_string().into(), &[]).await.status, 403);

    let mut no_account = good(&server, "refused-no-account");
    no_account.as_object_mut().unwrap().remove("account_id");
    assert_eq!(post(&api, no_account.to_string().into(), &[]).await.status, 400);

    still_works(&server, "good-after-bad").await;
    let export = Export::open(server.demo()).await.unwrap();
    let rows = export.rows("events").await.unwrap();
    assert_eq!(rows.iter().map(|row| text(&row["uuid"])).collect::<Vec<_>>(), ["good-after-bad"]);
    let rejected = Export::open_narrow(server.demo(), "type=rejected").await.unwrap();
    assert!(rejected.rows("rejected").await.unwrap().is_empty(), "a request refused as a whole leaves no record");
}

#[tokio::test]
async fn a_wrong_type_in_one_event_of_fifty_becomes_a_reject_and_the_others_are_taken() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let now = clock().now_ms();
    let visitors = (0..50).map(|n| conversion(&format!("visitor-{n}"), &format!("fifty-{n}"), "purchase", now));
    let mut body = batch(server.demo().account(), visitors.collect());
    body["visitors"][17]["snapshots"][0]["events"][0]["timestamp"] = "yesterday".into();

    let api = server.api();
    let headers = [("X-Optimizely-Strict", "true")];
    let strict = api.post_bytes("/v1/events", &headers, body.to_string().into()).await.unwrap();
    assert_eq!(strict.status, 400, "strict: all or nothing");
    assert!(strict.text().contains("timestamp"), "it says which field: {}", strict.text());

    let answer = api.post(&body).await.unwrap();
    let counts = (answer.header("X-Millrace-Accepted"), answer.header("X-Millrace-Rejected"));
    assert_eq!((answer.status, counts), (204, ("49", "1")));

    let export = Export::open(server.demo()).await.unwrap();
    until("49 rows", VISIBLE, async || {
        let count = export.rows("events").await.map_err(|error| error.to_string())?.len();
        if count == 49 { Ok(()) } else { Err(format!("{count} rows")) }
    })
    .await;
    let rejected = Export::open_narrow(server.demo(), "type=rejected").await.unwrap();
    let rows = until("the reject", VISIBLE, async || {
        let rows = rejected.rows("rejected").await.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("no row".to_owned()) } else { Ok(rows) }
    })
    .await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["outcome"], "rejected");
    assert!(text(&rows[0]["field"]).contains("timestamp"), "{:?}", rows[0]);
    assert!(text(&rows[0]["original"]).contains("yesterday"), "the bytes as sent are kept: {:?}", rows[0]);
    assert_eq!(text(&rows[0]["position"]), "17");
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_by_name_and_its_owner_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let second = Launch::new(BINARY, server.launch().data());

    let said = second.refused().await;

    assert!(said.contains(&server.launch().data().display().to_string()), "it names the folder: {said}");
    assert!(said.contains("in use"), "it says why: {said}");
    still_works(&server, "the-first-goes-on").await;
}

#[tokio::test]
async fn a_data_folder_whose_path_leaves_no_room_for_a_socket_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let said = Launch::new(BINARY, &home.path().join("d".repeat(108))).refused().await;
    assert!(said.contains("at most 107 bytes") && said.contains("choose a shorter --data"), "{said}");
}

#[tokio::test]
async fn unknown_configuration_keys_are_refused_all_at_once() {
    let home = tempfile::tempdir().unwrap();
    let launch = Launch::new(BINARY, &home.path().join("data"))
        .env("MILLRACE__INGEST__NO_SUCH_KEY", "1")
        .env("MILLRACE__NO_SUCH_SECTION__KEY", "1");

    let said = launch.refused().await.to_lowercase();

    assert!(said.contains("no_such_key") && said.contains("no_such_section"), "it names both: {said}");
    assert!(!launch.data().join("log").exists(), "nothing was made");
}

#[tokio::test]
async fn a_damaged_log_file_is_refused_by_name_and_first_lost_offset() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    for n in 0..200 {
        server.api().post_taken(&good(&server, &format!("kept-{n}"))).await;
    }
    let launch = server.launch().clone();
    server.kill_9();
    let files = data_files(&launch.data().join("log"));
    let (victim, original) = files
        .iter()
        .map(|path| (path, std::fs::read(path).unwrap()))
        .find(|(_, bytes)| bytes.windows(6).any(|window| window == b"kept-5"))
        .expect("a file of the log holds the events");
    let at = original.windows(6).position(|window| window == b"kept-5").expect("found above");
    let mut damaged = original.clone();
    damaged[at..at + 6].copy_from_slice(b"KEPT_5");
    std::fs::write(victim, &damaged).unwrap();

    let said = launch.refused().await;

    let name = victim.file_name().unwrap().to_string_lossy().into_owned();
    assert!(said.contains(&name), "it names the file {name}: {said}");
    assert!(said.contains("offset"), "it names the first lost offset: {said}");
    assert_eq!(std::fs::read(victim).unwrap(), damaged, "nothing was cut or mended in silence");

    std::fs::write(victim, &original).unwrap();
    let server = launch.start().await;
    for n in [0, 5, 199] {
        visible(&server, &format!("kept-{n}")).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_with_503_loses_nothing_and_recovers_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&home.path().join("disk"), "192m") else { return };
    let server = Launch::new(BINARY, &disk.0.join("data")).fast().start().await;
    still_works(&server, "before").await;

    let filler = disk.0.join("filler");
    fill(&filler);
    let mut taken = vec!["before".to_owned()];
    let mut n = 0;
    let refused = until("a refusal", Duration::from_secs(60), async || {
        n += 1;
        let mut body = good(&server, &format!("full-{n}"));
        body["visitors"][0]["snapshots"][0]["events"][0]["tags"]["padding"] = "x".repeat(200_000).into();
        let answer = server.api().post(&body).await.map_err(|error| error.to_string())?;
        if answer.status == 204 {
            taken.push(format!("full-{n}"));
            return Err(format!("event {n} was taken"));
        }
        Ok(answer)
    })
    .await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.header("Retry-After").is_empty(), "it says when to come back");

    std::fs::remove_file(&filler).unwrap();
    until("events to be taken again", Duration::from_secs(30), async || {
        let answer = server.api().post(&good(&server, "after")).await.map_err(|error| error.to_string())?;
        if answer.status == 204 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    })
    .await;
    taken.push("after".into());
    let export = Export::open(server.demo()).await.unwrap();
    until("every acknowledged event", Duration::from_secs(40), async || {
        let rows = export.rows("events").await.map_err(|error| error.to_string())?;
        let found: Vec<String> = rows.iter().map(|row| text(&row["uuid"])).collect();
        let missing: Vec<&String> = taken.iter().filter(|uuid| !found.contains(uuid)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are missing")) }
    })
    .await;
}

/// Fills the file system a file stands on, to the last byte.
fn fill(filler: &Path) {
    let mut file = std::fs::File::create(filler).unwrap();
    for size in [1024 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A small file system in memory; unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            other => {
                assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "no tmpfs can be mounted: {other:?}");
                eprintln!("skipped: no tmpfs can be mounted here (that needs root)");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: the server inside may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(data_files(&path)) } else { files.push(path) }
    }
    files
}
