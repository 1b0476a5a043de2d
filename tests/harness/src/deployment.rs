//! A cluster as an operator would deploy it: brokers, an S3 store, and every role as processes of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::api::Api;
use crate::demo::Demo;
use crate::kafka::Cluster;
use crate::process::printed;
use crate::role::{Kind, Role};
use crate::s3::S3;

/// How large a deployment is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Brokers: one (`--dev`), or three.
    pub brokers: usize,
    /// Partitions of the log.
    pub partitions: u32,
    /// Processes of each kind.
    pub of_each: usize,
}

/// Brokers, store and roles. Dropped, all of them are killed.
pub struct Deployment {
    /// The brokers.
    pub brokers: Cluster,
    /// The store.
    pub s3: S3,
    /// The roles, those of a kind together.
    pub roles: Vec<Role>,
    home: PathBuf,
    binary: String,
    config: PathBuf,
    envs: Vec<(String, String)>,
    secrets: Secrets,
}

/// What the operator made before the first event.
struct Secrets {
    account: String,
    key: String,
    token: String,
}

impl Deployment {
    /// Starts brokers and store, makes the log, an account, a key and a token by command, then starts the roles. Roles reach the
    /// brokers through proxies. `None`: what it needs is not installed under `tests`, which is said in one line.
    ///
    /// # Panics
    /// Something does not start or refuses.
    pub async fn start(binary: &str, tests: &Path, home: &Path, size: Size) -> Option<Self> {
        let s3 = S3::start(tests, &home.join("s3")).await?;
        let brokers = Cluster::start(tests, &home.join("kafka"), size.brokers).await?;
        let config = home.join("cluster.toml");
        let keys = home.join("server-keys");
        fs::write(&config, settings(&brokers, &s3, home, &keys, size)).expect("a configuration file");
        let secrets = Secrets { account: String::new(), key: String::new(), token: String::new() };
        let (home, binary, envs) = (home.to_owned(), binary.to_owned(), s3.environment());
        let mut deployment = Self { brokers, s3, roles: Vec::new(), home, binary, config, envs, secrets };
        deployment.prepare(&keys);
        for kind in Kind::ALL {
            for _ in 0..size.of_each {
                deployment.add(kind);
            }
        }
        for role in &mut deployment.roles {
            role.start();
        }
        deployment.wait_ready().await;
        Some(deployment)
    }

    /// Another process of a kind; not started yet.
    pub fn add(&mut self, kind: Kind) -> &mut Role {
        let number = 1 + self.of(kind).len();
        self.roles.push(Role::new(&self.binary, kind, number, &self.config, &self.envs, &self.home));
        self.roles.last_mut().expect("one was pushed")
    }

    /// The indices of the processes of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Vec<usize> {
        (0..self.roles.len()).filter(|index| self.roles[*index].kind() == kind).collect()
    }

    /// Waits until every role that runs is ready.
    ///
    /// # Panics
    /// One ends, or is not ready in time.
    pub async fn wait_ready(&mut self) {
        for role in self.roles.iter_mut().filter(|role| role.runs()) {
            role.wait_ready().await;
        }
    }

    /// The configuration file of all roles.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The account that was made.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.secrets.account
    }

    /// The API of every ingest, with the account's key.
    #[must_use]
    pub fn apis(&self) -> Vec<Api> {
        self.of(Kind::Ingest).into_iter().map(|index| Api::at(&self.roles[index].api(), &self.secrets.key)).collect()
    }

    /// What a data team knows of serve number `number` (from 0, modulo their count), as a `demo.env` would say it.
    ///
    /// # Panics
    /// There is no serve.
    #[must_use]
    pub fn team(&self, number: usize) -> Demo {
        let serves = self.of(Kind::Serve);
        let serve = &self.roles[serves[number % serves.len()]];
        let Secrets { account, key, token } = &self.secrets;
        Demo::of([
            ("MILLRACE_API", serve.api()),
            ("MILLRACE_S3", serve.s3()),
            ("MILLRACE_BUCKET", self.s3.bucket().to_owned()),
            ("MILLRACE_ACCOUNT", account.clone()),
            ("MILLRACE_API_KEY", key.clone()),
            ("MILLRACE_PAT", token.clone()),
        ])
    }

    /// A command of the binary with the cluster's configuration; gives its standard output.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn command_ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the binary can be started");
        assert!(output.status.success(), "millrace {args:?} failed: {}", printed(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command of the binary with the cluster's configuration, to be run by the test.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(&self.config).stdin(Stdio::null());
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }

    fn prepare(&mut self, keys: &Path) {
        let made = Command::new(&self.binary).args(["server-keys", "create"]).arg(keys).output();
        let made = made.expect("the binary can be started");
        assert!(made.status.success(), "millrace server-keys create: {}", printed(&made));
        let _ = self.command_ok(&["topics"]);
        let account = self.create(&["accounts", "create", "--id", "shop", "--name", "Shop"], "id");
        let key = self.create(&["keys", "create", "--account", &account, "--name", "web", "--scope", "write"], "key");
        let user = ["users", "create", "--account", &account, "--username", "ann", "--email", "ann@shop.example"];
        let user = self.create(&[&user[..], &["--role", "analyst"]].concat(), "id");
        let token = self.create(&["tokens", "create", "--user", &user, "--name", "laptop"], "token");
        self.secrets = Secrets { account, key, token };
    }

    fn create(&self, args: &[&str], field: &str) -> String {
        let made = self.command_ok(&[args, &["--json"]].concat());
        let made: Value = serde_json::from_str(&made).expect("what was made, as JSON");
        made[field].as_str().unwrap_or_else(|| panic!("{args:?} answers with {field}")).to_owned()
    }
}

/// Short durations: what a test waits for.
fn settings(brokers: &Cluster, s3: &S3, home: &Path, keys: &Path, size: Size) -> String {
    format!(
        r#"[kafka]
bootstrap_servers = "{bootstrap}"
dev = {dev}
{debug}[topics]
partitions = {partitions}
replication = {replication}
[store]
bucket = "{bucket}"
endpoint = "{endpoint}"
[attribution]
grace = "3s"
[processor]
state = "{state}"
tick_interval = "1s"
[export]
slot = "2s"
seal_age = "500ms"
[serve]
server_keys = "{keys}"
[stop]
deadline = "20s"
"#,
        bootstrap = brokers.bootstrap_through_proxies(),
        dev = brokers.size() == 1,
        debug = debug(),
        partitions = size.partitions,
        replication = brokers.size().min(3),
        bucket = s3.bucket(),
        endpoint = s3.endpoint(),
        state = home.join("state").display(),
        keys = keys.display(),
    )
}

/// `MILLRACE_KAFKA_DEBUG=cgrp,assignor`: what the roles' Kafka clients do is among what they print, for who looks for the cause of a failure.
/// `MILLRACE_LAST_LINES` shows more of it.
fn debug() -> String {
    let of =
        |what: String| format!("[kafka.properties]\ndebug = \"{what}\"\n[logs]\nfilter = \"info,librdkafka=debug\"\n");
    std::env::var("MILLRACE_KAFKA_DEBUG").map(of).unwrap_or_default()
}
