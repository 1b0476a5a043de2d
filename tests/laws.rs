//! What must hold whatever else changes, where no other test tries to break it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::wait::clock;
use millrace_harness::{Export, Follower, Launch, until};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const VISIBLE: Duration = Duration::from_secs(20);

/// 2xx means durable: a page cache survives `kill -9`, so only the system calls tell.
#[tokio::test]
async fn an_fsync_completes_between_a_request_and_its_2xx() {
    let strace_is_there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !strace_is_there {
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "strace is not installed");
        eprintln!("skipped: strace is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let server = Launch::new(BINARY, &home.path().join("data")).fast().start().await;
    let trace_path = home.path().join("trace");
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-s", "4096", "-e", "trace=fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg", "-p"])
        .arg(server.pid().to_string())
        .arg("-o")
        .arg(&trace_path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace can be started");
    let trace = || std::fs::read(&trace_path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    until("strace to be attached", Duration::from_secs(10), async || match trace() {
        Ok(text) if !text.is_empty() => Ok(()),
        _ => Err("no line of it yet"),
    })
    .await;

    let body = batch(server.demo().account(), vec![conversion("ann", "traced-uuid", "purchase", clock().now_ms())]);
    server.api().post_taken(&body).await;
    let lines = until("the answer in the trace", Duration::from_secs(10), async || {
        let text = trace().map_err(|error| error.to_string())?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.iter().any(|line| line.contains("HTTP/1.1 204")) { Ok(lines) } else { Err("no 204".to_owned()) }
    })
    .await;
    drop(server);
    let _ = strace.wait();
    let mut said = String::new();
    let _ = strace.stderr.take().expect("piped").read_to_string(&mut said);

    let at = |needle: &str| lines.iter().position(|line| line.contains(needle));
    let request = at("traced-uuid").unwrap_or_else(|| panic!("the request is not in the trace: {said}"));
    let answer = at("HTTP/1.1 204").expect("the answer is in the trace");
    let synced = lines[request..answer].iter().any(|line| {
        let sync = line.contains("fsync") || line.contains("fdatasync");
        sync && line.trim_end().ends_with("= 0")
    });
    assert!(synced, "no fsync completed between them:\n{}", lines[request..=answer].join("\n"));
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
