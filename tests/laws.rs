//! What must hold whatever else changes, where no other test tries to break it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::wait::clock;
use millrace_harness::{Export, Follower, Launch, Server, until};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const VISIBLE: Duration = Duration::from_secs(20);

/// The system calls of a running server: a page cache survives `kill -9`, so only they tell what would survive a power cut.
struct Traced {
    server: Server,
    strace: Child,
    path: PathBuf,
}

impl Traced {
    /// `None`, and a line that says so, where strace is not installed.
    async fn start(home: &Path, calls: &str) -> Option<Self> {
        if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "strace is not installed");
            eprintln!("skipped: strace is not installed");
            return None;
        }
        let server = Launch::new(BINARY, &home.join("data")).fast().start().await;
        let path = home.join("trace");
        let strace = Command::new("strace")
            .args(["-f", "-q", "-y", "-s", "4096", "-e", calls, "-p"])
            .arg(server.pid().to_string())
            .arg("-o")
            .arg(&path)
            .spawn()
            .expect("strace can be started");
        let traced = Self { server, strace, path };
        traced.lines_until("strace to be attached", |lines| !lines.is_empty()).await;
        Some(traced)
    }

    async fn lines_until(&self, what: &str, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        until(what, Duration::from_secs(20), async || {
            let bytes = std::fs::read(&self.path).map_err(|error| error.to_string())?;
            let lines: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
            if enough(&lines) { Ok(lines) } else { Err(format!("{} lines", lines.len())) }
        })
        .await
    }

    fn end(mut self) {
        drop(self.server);
        let _ = self.strace.wait();
    }
}

/// The first line from `from` on in which a sync of a file with `path` in its path returned.
fn synced(lines: &[String], path: &str) -> Option<usize> {
    let of_path = |line: &String| (line.contains("fsync(") || line.contains("fdatasync(")) && line.contains(path);
    lines.iter().position(of_path).and_then(|begun| {
        let thread = lines[begun].split_whitespace().next().unwrap_or_default();
        // A call that another thread's line interrupts goes on in a line of its own.
        let ends =
            |line: &String| line.starts_with(thread) && line.contains("sync") && line.trim_end().ends_with("= 0");
        lines[begun..].iter().position(ends).map(|after| begun + after)
    })
}

/// 2xx means durable.
#[tokio::test]
async fn an_fsync_completes_between_a_request_and_its_2xx() {
    let home = tempfile::tempdir().unwrap();
    let calls = "trace=fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg";
    let Some(traced) = Traced::start(home.path(), calls).await else { return };

    let server = &traced.server;
    let body = batch(server.demo().account(), vec![conversion("ann", "traced-uuid", "purchase", clock().now_ms())]);
    server.api().post_taken(&body).await;
    let is_answer = |line: &String| line.contains("HTTP/1.1 204");
    let lines = traced.lines_until("the answer in the trace", |lines| lines.iter().any(is_answer)).await;
    traced.end();

    let request = lines.iter().position(|line| line.contains("traced-uuid")).expect("the request is in the trace");
    let answer = lines.iter().position(is_answer).expect("the answer is in the trace");
    let between = &lines[request..answer];
    assert!(synced(between, "/log/").is_some(), "no fsync completed between them:\n{}", between.join("\n"));
}

/// What is said to be published is on disk.
#[tokio::test]
async fn a_published_file_is_synced_before_the_record_that_says_so() {
    let home = tempfile::tempdir().unwrap();
    let Some(traced) = Traced::start(home.path(), "trace=fsync,fdatasync").await else { return };

    let server = &traced.server;
    let body = batch(server.demo().account(), vec![decision("ann", "traced", "9300", "9302", clock().now_ms())]);
    server.api().post_taken(&body).await;
    let published = |lines: &[String]| synced(lines, "/_millrace/published/");
    let file = |lines: &[String]| lines.iter().position(|line| line.contains(".parquet"));
    let lines = traced
        .lines_until("a record after the file in the trace", |lines| {
            file(lines).is_some_and(|file| published(&lines[file..]).is_some())
        })
        .await;
    traced.end();

    let begun = file(&lines).expect("a file");
    let done = synced(&lines[begun..], ".parquet").map(|after| begun + after).expect("the file's fsync returned");
    let recorded = published(&lines[begun..]).map(|after| begun + after).expect("a record");
    assert!(done < recorded, "{}", lines[begun..=recorded].join("\n"));
}

/// State is a function of the log: without it, the same answers come out.
#[tokio::test]
async fn a_lost_state_folder_is_folded_anew_from_the_log() {
    let home = tempfile::tempdir().unwrap();
    let launch = Launch::new(BINARY, &home.path().join("data")).fast();
    let server = launch.start().await;
    let account = server.demo().account().to_owned();
    let now = clock().now_ms();
    let before = batch(&account, vec![decision("ann", "decided", "9300", "9302", now)]);
    server.api().post_taken(&before).await;
    let export = Export::open(server.demo()).await.unwrap();
    let mut follower = Follower::default();
    until("the decision to be out", VISIBLE, async || {
        follower.take(&export).await.map_err(|error| error.to_string())?;
        follower.row("decisions", "ann", "decided").map(|_| ()).ok_or_else(|| "no row".to_owned())
    })
    .await;
    assert!(server.terminate().await.success());
    std::fs::remove_dir_all(launch.data().join("state")).expect("the processor keeps its state in a folder of its own");

    let server = launch.start().await;
    server.api().post_taken(&before).await;
    server.api().post_taken(&batch(&account, vec![conversion("ann", "bought", "purchase", now + 1)])).await;

    let export = Export::open(server.demo()).await.unwrap();
    let row = until("the conversion to be out", VISIBLE, async || {
        // Taking asserts that the decision, sent a second time, made no second row.
        follower.take(&export).await.map_err(|error| error.to_string())?;
        follower.row("events", "ann", "bought").cloned().ok_or_else(|| "no row".to_owned())
    })
    .await;
    assert_eq!(&*row.experiments, "9300=9302", "the assignment was remembered");
}
