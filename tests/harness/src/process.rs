//! The real binary as a child process.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::api::Api;
use crate::child::{Killed, free_address, last_lines};
use crate::demo::Demo;
use crate::wait::{pause, until};
use rustix::process::Signal;

/// How long a start may take, recovery included.
const READY_WITHIN: Duration = Duration::from_secs(40);
/// How long a SIGTERM may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How Millrace is to be started: again and again with the same data folder and addresses.
#[derive(Debug, Clone)]
pub struct Launch {
    binary: PathBuf,
    data: PathBuf,
    api: String,
    s3: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    working_dir: Option<PathBuf>,
}

impl Launch {
    /// `binary run` on free ports, with `data` as its data folder and the default durations.
    #[must_use]
    pub fn new(binary: &str, data: &Path) -> Self {
        Self {
            binary: binary.into(),
            data: data.to_owned(),
            api: free_address(),
            s3: free_address(),
            args: Vec::new(),
            envs: Vec::new(),
            working_dir: None,
        }
    }

    /// Short durations, for tests that are not about the default ones.
    #[must_use]
    pub fn fast(self) -> Self {
        self.args(&["--slot", "1s", "--grace", "1s", "--seal-age", "200ms"])
    }

    /// Further arguments of `run`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// A further environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it in this folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.working_dir = Some(folder.to_owned());
        self
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its output goes: beside the data folder.
    #[must_use]
    pub fn output_path(&self) -> PathBuf {
        self.data.with_extension("output")
    }

    /// Starts it and waits until `/readyz` says so.
    ///
    /// # Panics
    /// It ends, or is not ready within 40 s.
    pub async fn start(&self) -> Server {
        let mut server = self.spawn();
        server.child.ready("the server", &self.api, &self.output_path(), READY_WITHIN).await;
        server.demo = Some(Demo::read(&self.data.join("demo.env")).expect("demo.env of the first start"));
        server
    }

    /// Starts it and kills it so long after the spawn, ready or not: the kill meets the start and what it recovers.
    ///
    /// # Panics
    /// It had ended by itself before.
    pub async fn start_and_kill(&self, after: Duration) {
        let server = self.spawn();
        pause(after).await;
        server.kill_9();
    }

    /// Starts it where it must refuse to run; answers with what it printed.
    ///
    /// # Panics
    /// It runs, or ends as if all were well.
    pub async fn refused(&self) -> String {
        let mut command = self.run_command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed::spawn(&mut command);
        let stdout = drain(child.0.stdout.take());
        let stderr = drain(child.0.stderr.take());
        let status = until("it to refuse instead of running", READY_WITHIN, async || ended(&mut child)).await;
        let printed = [stdout, stderr].map(|reader| reader.join().expect("reading does not panic")).concat();
        assert!(!status.success(), "it refuses with an exit code; it printed: {printed}");
        printed
    }

    /// Another command of the binary, against this data folder: `args` then `--data DIR`.
    ///
    /// # Panics
    /// The binary cannot be started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--data").arg(&self.data).stdin(Stdio::null());
        command.output().expect("the binary can be started")
    }

    /// Like [`Launch::command`]; answers with its standard output.
    ///
    /// # Panics
    /// The command fails.
    #[must_use]
    pub fn command_ok(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "millrace {args:?} failed: {}", printed(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The command line of `run`, to be started by the test itself (under strace, say).
    #[must_use]
    pub fn run_command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--data").arg(&self.data).args(["--listen", &self.api, "--s3-listen", &self.s3]);
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.working_dir {
            command.current_dir(folder);
        }
        command
    }

    fn spawn(&self) -> Server {
        let child = Killed::spawn_into(&mut self.run_command(), &self.output_path());
        Server { launch: self.clone(), child, demo: None }
    }
}

/// A running Millrace. Dropped, it is killed.
pub struct Server {
    launch: Launch,
    child: Killed,
    demo: Option<Demo>,
}

impl Server {
    /// How it was started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Its `demo.env`.
    #[must_use]
    pub fn demo(&self) -> &Demo {
        self.demo.as_ref().expect("a server that is ready has a demo.env")
    }

    /// Its API, with the demo key.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::of(self.demo())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Resident memory in bytes; 0 where the system does not tell.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.child.memory_bytes()
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// It had ended by itself before.
    pub fn kill_9(mut self) {
        if let Some(status) = self.child.ended() {
            panic!("it ended by itself before it was killed: {status}");
        }
        self.child.0.kill().expect("the server can be killed");
        self.child.0.wait().expect("the server is gone");
    }

    /// SIGTERM, and waits until it has stopped.
    ///
    /// # Panics
    /// It does not stop within 30 s.
    pub async fn terminate(self) -> ExitStatus {
        self.signal_term();
        self.stopped().await
    }

    /// Waits until it has stopped, after [`Server::signal_term`].
    ///
    /// # Panics
    /// It does not stop within 30 s.
    pub async fn stopped(mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the server to stop after SIGTERM", STOP_WITHIN, async || ended(child)).await
    }

    /// SIGTERM, without waiting.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn signal_term(&self) {
        self.child.signal(Signal::TERM);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's last lines\n{}\n---", last_lines(&self.launch.output_path()));
        }
    }
}

/// What a command printed, both ways.
#[must_use]
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ended(child: &mut Killed) -> Result<ExitStatus, &'static str> {
    child.ended().ok_or("it runs")
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    let mut pipe = pipe.expect("the child's output is piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
