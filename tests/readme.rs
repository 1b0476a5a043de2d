//! README.md's five minutes, run as they would be pasted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use millrace_harness::Launch;
use millrace_harness::clients::{Clients, Which, run_as_a_stranger};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

#[tokio::test]
async fn the_five_minutes_work_when_pasted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Clients::installed(&root.join("tests"), Which::Python).is_none() {
        return;
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = shell_blocks(section(&readme, "## Five minutes"));
    assert!(blocks.len() >= 5, "the five minutes have code: {blocks:?}");
    // A folder that looks like a clone after the README's first command, which is the server's.
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for name in ["tests", "examples"] {
        symlink(root.join(name), folder.join(name)).unwrap();
    }
    std::fs::create_dir_all(folder.join("target/release")).unwrap();
    symlink(BINARY, folder.join("target/release/millrace")).unwrap();
    let _server = Launch::new(BINARY, &folder.join("millrace-data")).in_folder(folder).start().await;

    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("set -e\n{}", blocks.join("\n"))).current_dir(folder);
    let printed = run_as_a_stranger(shell);

    assert!(printed.contains("HTTP/1.1 204 No Content"), "sent: {printed}");
    assert!(printed.contains("PRE experiment=9300/"), "listed: {printed}");
    assert!(printed.contains("/type=events/"), "fetched: {printed}");
    let row = printed.lines().find(|line| line.contains("9302") && line.contains("42.0"));
    assert!(row.is_some_and(|row| row.contains("9300")), "queried: {printed}");
}

#[test]
fn the_commands_that_run_and_test_it_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert_eq!(shell_blocks(section(&readme, "## Run it")), ["cargo run --release -- run"]);
    assert_eq!(shell_blocks(section(&readme, "## Test it")), ["tests/run"]);
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(root.join(link).exists(), "README.md links to {link}, which is not there");
    }
}

/// From a heading to the next of the same depth.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let rest = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

fn shell_blocks(text: &str) -> Vec<&str> {
    let after = text.split("```sh\n").skip(1);
    after.map(|rest| rest.split_once("\n```").expect("a block has an end").0).collect()
}
