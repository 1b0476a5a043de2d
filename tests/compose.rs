//! `docker-compose.yml`: Docker accepts it. That what it sets are settings there are, a test of the configuration says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::Command;

/// Compose as a plugin of Docker, and as the program that Debian packages.
const COMPOSE: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

#[test]
fn compose_accepts_the_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
    let command = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    let there = |words: &&&[&str]| command(words).arg("version").output().is_ok_and(|said| said.status.success());
    let Some(words) = COMPOSE.iter().find(there) else {
        eprintln!("skipped: there is no docker compose (apt-get install docker-compose)");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI skips nothing");
        return;
    };
    let checked = command(words).arg("--file").arg(&file).args(["config", "--quiet"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
