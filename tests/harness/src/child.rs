//! Child processes and the ports they get.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// Lines of what a child printed that are shown where it fails, unless `MILLRACE_LAST_LINES` says how many.
const LAST_LINES: usize = 200;

/// A child that does not outlive its owner.
pub struct Killed(pub(crate) Child);

impl Killed {
    /// Starts a command.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
    }

    /// Starts a command without input that appends all it prints to a file.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn_into(command: &mut Command, output: &Path) -> Self {
        let out = OpenOptions::new().create(true).append(true).open(output).expect("an output file");
        let also = out.try_clone().expect("a second handle of the output file");
        Self::spawn(command.stdin(Stdio::null()).stdout(out).stderr(also))
    }

    /// Waits until `/readyz` of a Millrace at `address` that prints into `output` says so.
    ///
    /// # Panics
    /// It has ended, or is not ready in time.
    pub async fn ready(&mut self, name: &str, address: &str, output: &Path, within: Duration) {
        let ready = format!("http://{address}/readyz");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client");
        until(&format!("{name} to be ready"), within, async || {
            if let Some(status) = self.ended() {
                panic!("{name} ended by itself: {status}\n{}", last_lines(output));
            }
            let response = client.get(&ready).send().await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = response.text().await.unwrap_or_default();
            if status.is_success() { Ok(()) } else { Err(format!("{status} {body}")) }
        })
        .await;
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child's status can be asked for")
    }

    /// Resident memory in bytes; 0 where the system does not tell.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child can be signalled");
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A free port of the loopback interface, outside the range the system takes ports for outgoing connections from: there, a
/// sender that tries to reach a killed server could be given the server's own port.
#[must_use]
pub fn free_port() -> u16 {
    let candidates = std::iter::repeat_with(|| rand::random_range(10_240..32_000));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.into_iter().find(free).expect("the search ends with a free port only")
}

/// [`free_port`] as an address.
#[must_use]
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// What a Millrace printed last; a line a request would hide what matters.
#[must_use]
pub(crate) fn last_lines(output: &Path) -> String {
    let printed = fs::read_to_string(output).unwrap_or_default();
    let lines: Vec<&str> = printed.lines().filter(|line| !line.contains("millrace::request")).collect();
    let shown = std::env::var("MILLRACE_LAST_LINES").ok().and_then(|count| count.parse().ok()).unwrap_or(LAST_LINES);
    lines[lines.len().saturating_sub(shown)..].join("\n")
}
