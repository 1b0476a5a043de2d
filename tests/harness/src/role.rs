//! One role of a cluster as a child process: `millrace ingest`, `process`, `export` or `serve`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{Killed, free_address, last_lines};
use crate::wait::until;

/// How long a start may take on two busy cores, recovery of every partition included.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long a SIGTERM may take.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Takes events.
    Ingest,
    /// Enriches.
    Process,
    /// Seals and publishes.
    Export,
    /// Gives credentials and files out.
    Serve,
}

impl Kind {
    /// Every kind, in the order of the data.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Process, Self::Export, Self::Serve];

    /// Its command.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Export => "export",
            Self::Serve => "serve",
        }
    }
}

/// A process of one kind; it keeps its name and addresses over all its lives. Dropped, it is killed.
pub struct Role {
    kind: Kind,
    name: String,
    binary: PathBuf,
    config: PathBuf,
    envs: Vec<(String, String)>,
    api: String,
    s3: String,
    output: PathBuf,
    process: Option<Killed>,
}

impl Role {
    /// A process that does not run yet. Its output goes to a file in `home`.
    #[must_use]
    pub fn new(binary: &str, kind: Kind, number: usize, config: &Path, envs: &[(String, String)], home: &Path) -> Self {
        let name = format!("{}-{number}", kind.command());
        Self {
            kind,
            output: home.join(format!("{name}.output")),
            name,
            binary: binary.into(),
            config: config.to_owned(),
            envs: envs.to_vec(),
            api: free_address(),
            s3: free_address(),
            process: None,
        }
    }

    /// Its name among the processes of the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `http://address:port` of its HTTP side.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.api)
    }

    /// `http://address:port` of its S3 gateway.
    #[must_use]
    pub fn s3(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// Whether it runs, paused or not.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it, without waiting; nothing if it runs.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let mut command = Command::new(&self.binary);
        command.arg(self.kind.command()).arg("--config").arg(&self.config).args(["--instance", &self.name]);
        command.args(["--listen", &self.api]);
        if self.kind == Kind::Serve {
            command.args(["--s3-listen", &self.s3]);
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        self.process = Some(Killed::spawn_into(&mut command, &self.output));
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// It has ended, or is not ready in time.
    pub async fn wait_ready(&mut self) {
        let process = self.process.as_mut().expect("a role that was started");
        process.ready(&self.name, &self.api, &self.output, READY_WITHIN).await;
    }

    /// `kill -9`; nothing if it does not run.
    ///
    /// # Panics
    /// It had ended by itself before.
    pub fn kill_9(&mut self) {
        self.assert_alive();
        self.process = None;
    }

    /// Fails the test if it has ended by itself.
    ///
    /// # Panics
    /// It has.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.process.as_mut().and_then(Killed::ended) {
            panic!("{} ended by itself: {status}\n{}", self.name, last_lines(&self.output));
        }
    }

    /// Waits until it has ended by itself; gives how, and its last lines.
    ///
    /// # Panics
    /// It runs on.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let process = self.process.as_mut().expect("a role that was started");
        let what = format!("{} to end", self.name);
        let status = until(&what, READY_WITHIN, async || process.ended().ok_or("it runs")).await;
        self.process = None;
        (status, last_lines(&self.output))
    }

    /// SIGTERM, and waits until it has stopped.
    ///
    /// # Panics
    /// It does not stop in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("a role that was started");
        process.signal(Signal::TERM);
        let what = format!("{} to stop after SIGTERM", self.name);
        let status = until(&what, STOP_WITHIN, async || process.ended().ok_or("it runs")).await;
        self.process = None;
        status
    }

    /// SIGSTOP.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        self.process.as_ref().expect("a role that runs").signal(Signal::STOP);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self) {
        self.process.as_ref().expect("a role that runs").signal(Signal::CONT);
    }

    /// Resident memory in bytes; 0 while it does not run.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.process.as_ref().map_or(0, Killed::memory_bytes)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the last lines of {}\n{}\n---", self.name, last_lines(&self.output));
        }
    }
}
