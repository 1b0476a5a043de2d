//! The real clients: Python and npm packages that `tests/clients/install` puts into `tests/.cache`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::demo::Demo;
use crate::process::printed;

/// Programs and packages of the real clients.
pub struct Clients {
    tests: PathBuf,
}

impl Clients {
    /// The clients, if they are installed under `tests` (the repository's folder of that name).
    ///
    /// # Panics
    /// They are not, and `CI` is `true`: there a skipped test is a failed one.
    #[must_use]
    pub fn installed(tests: &Path, which: Which) -> Option<Self> {
        installed(tests, which.folder(), "tests/clients/install").map(|_| Self { tests: tests.to_owned() })
    }

    /// A Python script of `tests/clients`.
    #[must_use]
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.tests.join(".cache/py/bin/python"));
        command.arg(self.tests.join("clients").join(script));
        command
    }

    /// A program the Python packages brought, such as `aws`.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.tests.join(".cache/py/bin").join(name))
    }

    /// A JavaScript file of `tests/clients`.
    #[must_use]
    pub fn node(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.tests.join("clients").join(script));
        command.env("MILLRACE_NODE_MODULES", self.tests.join(".cache/node"));
        command
    }

    /// The folder of the programs, for a shell's `PATH`.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.tests.join(".cache/py/bin")
    }
}

/// The folder of something that an install script puts into `tests/.cache`. `None`: it is not there, which is said in one line.
///
/// # Panics
/// It is not there, and `CI` is `true`: there a skipped test is a failed one.
#[must_use]
pub fn installed(tests: &Path, name: &str, by: &str) -> Option<PathBuf> {
    let folder = tests.join(".cache").join(name);
    if folder.join(".installed").exists() {
        return Some(folder);
    }
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{name} is not installed: run {by}");
    eprintln!("skipped: {name} is not installed ({by})");
    None
}

/// Which clients a test needs.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// AWS CLI, boto3, DuckDB, pandas, pyarrow, the Optimizely Python SDK.
    Python,
    /// The Optimizely JavaScript SDK.
    JavaScript,
}

impl Which {
    fn folder(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::JavaScript => "node",
        }
    }
}

/// Runs a client against a server; answers with its standard output.
///
/// # Panics
/// It fails.
#[must_use]
pub fn run(mut command: Command, demo: &Demo) -> String {
    command.envs(demo.all());
    finish(command)
}

/// Runs a command that has to find out by itself where the server is: without any variable of ours or of AWS.
///
/// # Panics
/// It fails.
#[must_use]
pub fn run_as_a_stranger(mut command: Command) -> String {
    for (name, _) in std::env::vars_os() {
        if ["MILLRACE_", "AWS_"].iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    finish(command)
}

fn finish(mut command: Command) -> String {
    command.stdin(Stdio::null());
    let output: Output = command.output().expect("the client can be started");
    assert!(output.status.success(), "{command:?} failed: {}", printed(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
