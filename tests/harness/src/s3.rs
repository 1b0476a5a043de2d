//! A real S3 server on this machine: versitygw, which `tests/services/install` puts into `tests/.cache`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use rustix::process::Signal;

use crate::child::{Killed, free_address};
use crate::clients::installed;
use crate::wait::until;

const UP_WITHIN: Duration = Duration::from_secs(30);
const BUCKET: &str = "millrace-events";
const ACCESS_KEY: &str = "millrace-tests";
const SECRET_KEY: &str = "a-secret-of-the-tests-only";
const REGION: &str = "us-east-1";

/// A server over a folder, with one bucket. Dropped, it is killed.
pub struct S3 {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    process: Option<Killed>,
}

impl S3 {
    /// Starts a server that keeps everything below `folder`. `None`: it is not installed under `tests` (the repository's
    /// folder of that name), which is said in one line.
    ///
    /// # Panics
    /// It does not start; or it is not installed and `CI` is `true`.
    pub async fn start(tests: &Path, folder: &Path) -> Option<Self> {
        let program = installed(tests, "s3", "tests/services/install")?.join("versitygw");
        // To this server a folder at the top is a bucket.
        fs::create_dir_all(folder.join("data").join(BUCKET)).expect("a folder for a bucket");
        let mut server = Self { program, folder: folder.to_owned(), address: free_address(), process: None };
        server.start_again().await;
        Some(server)
    }

    /// Its address, as `http://…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// What the usual AWS variables must say to reach it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_REGION", REGION)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// The bucket, with the right to do anything.
    ///
    /// # Panics
    /// Never: what it is built from is right.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build();
        Arc::new(store.expect("a store of a known address"))
    }

    /// `kill -9`; nothing if it is dead.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGSTOP.
    ///
    /// # Panics
    /// It is dead.
    pub fn pause(&self) {
        self.process.as_ref().expect("a server that runs").signal(Signal::STOP);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It is dead.
    pub fn resume(&self) {
        self.process.as_ref().expect("a server that runs").signal(Signal::CONT);
    }

    /// Starts a dead server again and waits until it serves.
    ///
    /// # Panics
    /// It does not.
    pub async fn start_again(&mut self) {
        if self.process.is_some() {
            return;
        }
        let mut command = Command::new(&self.program);
        command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
        command.args(["--quiet", "--keep-alive", "--region", REGION, "--port", &self.address, "--health", "/health"]);
        command.arg("posix").arg(self.folder.join("data"));
        let mut process = Killed::spawn_into(&mut command, &self.folder.join("log"));
        let (client, health) = (reqwest::Client::new(), format!("{}/health", self.endpoint()));
        until("the S3 server to serve", UP_WITHIN, async || {
            if let Some(status) = process.ended() {
                panic!("the S3 server ended: {status}");
            }
            let answer = client.get(&health).send().await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
        self.process = Some(process);
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path as Key;
    use object_store::{ObjectStoreExt, PutMode, PutOptions};

    use super::*;

    #[tokio::test]
    async fn of_many_creates_one_wins_and_a_kill_loses_nothing() {
        let home = tempfile::tempdir().unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let Some(mut server) = S3::start(tests, home.path()).await else { return };
        let (store, key) = (server.store(), Key::from("a/b"));
        let create =
            |n: usize| store.put_opts(&key, n.to_string().into_bytes().into(), PutOptions::from(PutMode::Create));
        let answers = futures::future::join_all((0..10).map(create)).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let winner = answers.iter().position(Result::is_ok).unwrap();
        server.kill();
        server.start_again().await;
        let bytes = server.store().get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes, winner.to_string().as_bytes());
    }
}
