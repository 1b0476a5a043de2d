use std::collections::HashMap;
use std::process::Command;

use super::skipped;

const APPENDS: usize = 20;

/// A call of the traced process, when it returned.
struct Call {
    name: String,
    text: String,
}

#[test]
fn the_journal_and_the_mark_are_synced_between_an_append_and_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-y", "-s", "64", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_millrace-log-writer"))
        .arg(folder.path().join("log"))
        .arg(APPENDS.to_string())
        .output();
    let output = match traced {
        Ok(output) if output.status.success() => output,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ptrace") => {
            return skipped("strace may not trace here");
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => return skipped("strace is not installed"),
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), APPENDS);
    let calls = completed(&std::fs::read_to_string(&trace).unwrap());
    let mut acks = 0;
    // Since the last answer, in this order: journal written, journal synced, mark written, mark synced.
    let mut reached = 0;
    for call in &calls {
        let synced = call.name == "fdatasync" || call.name == "fsync";
        let (journal, mark) = (call.text.contains(".jnl>"), call.text.contains("/mark>"));
        reached = match reached {
            0 if call.name == "write" && journal => 1,
            1 if synced && journal => 2,
            2 if call.name == "pwrite64" && mark => 3,
            3 if synced && mark => 4,
            reached => reached,
        };
        if call.text.contains(&format!("\"ack {acks}\\n\"")) {
            assert_eq!(reached, 4, "answer {acks} came before everything was synced");
            acks += 1;
            reached = 0;
        }
    }
    assert_eq!(acks, APPENDS);
}

/// Puts calls that were interrupted by another thread's together again, in the order in which they returned.
fn completed(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid, start.to_owned());
        } else {
            let text =
                if rest.starts_with("<...") { begun.remove(pid).unwrap_or_default() + rest } else { rest.to_owned() };
            let name = text.split('(').next().unwrap_or_default().to_owned();
            calls.push(Call { name, text });
        }
    }
    calls
}
