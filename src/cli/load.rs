//! `millrace load`: downloads days of an export, for people.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use millrace_clock::SystemClock;
use millrace_directory::SecretString;
use serde_json::json;

use super::{CommandFailure, say};
use crate::folder::Folder;
use crate::limits::LOAD_AT_ONCE;

mod api;
mod credentials;
mod day;
mod days;
mod object;
mod source;

use api::Api;
use day::{Day, Object};
use days::Days;
use object::Fetched;
use source::{Source, Wanted};

const EXAMPLES: &str = "\
Examples:
  source millrace-data/demo.env
  millrace load --type events --date 2026-11-24 --output export
  millrace load --type decisions --date 2026-11-01..2026-11-24 --output export --json

Files go to OUTPUT/account_id=A/type=T/date=D/…, the folders that DuckDB, Spark and pandas read. Run again, it fetches only what
is new. Days with _SUCCESS are complete: every file is checked against the manifest's SHA-256.

Exit codes: 0 everything there is was fetched; 1 something is missing or damaged (it says what); 2 wrong command line.";

/// Download days of an export
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Load {
    /// The account; the token's own unless given
    #[arg(long, value_name = "ID", env = "MILLRACE_ACCOUNT")]
    account: Option<String>,
    /// What to download
    #[arg(long = "type", value_name = "TYPE", value_parser = ["decisions", "events", "rejected", "audit"])]
    of_type: String,
    /// A UTC day, or the first and the last: 2026-11-24 or 2026-11-01..2026-11-24
    #[arg(long, value_name = "D..D")]
    date: Days,
    /// The folder to download to
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Where the API is, http://host:port
    #[arg(long, value_name = "URL", env = "MILLRACE_API")]
    api: Option<String>,
    /// Where the S3 gateway is, http://host:port; Amazon's own unless given
    #[arg(long, value_name = "URL", env = "MILLRACE_S3")]
    s3: Option<String>,
    /// The bucket; the one the credentials are for unless given
    #[arg(long, env = "MILLRACE_BUCKET")]
    bucket: Option<String>,
    /// A personal access token; better in the environment, where the list of processes does not show it
    #[arg(long, value_name = "TOKEN", env = "MILLRACE_PAT", hide_env_values = true, value_parser = secret)]
    pat: Option<SecretString>,
    /// Print a summary as JSON
    #[arg(long)]
    json: bool,
    /// Take what the environment lacks from this folder's demo.env
    #[arg(long, value_name = "DIR", default_value = "./millrace-data")]
    data: PathBuf,
}

/// What `Debug` hides.
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

impl Load {
    pub(super) async fn run(self) -> Result<(), CommandFailure> {
        let wanted = Wanted { account: self.account.clone(), of_type: self.of_type.clone() };
        let demo = source::demo_env(&Folder::at(&self.data));
        let variable = |given: &Option<String>, name: &str| given.clone().or_else(|| demo.get(name).cloned());
        let missing = |what: &str| {
            CommandFailure::new(format!("{what} (under `millrace run`, `source millrace-data/demo.env` sets it)"))
        };
        let api = variable(&self.api, "MILLRACE_API")
            .ok_or_else(|| missing("say where the API is: --api URL or MILLRACE_API"))?;
        let pat = self.pat.clone().or_else(|| demo.get("MILLRACE_PAT").map(|pat| pat.as_str().into()));
        let pat = pat.ok_or_else(|| missing("a token is needed: MILLRACE_PAT or --pat TOKEN"))?;
        let s3 = variable(&self.s3, "MILLRACE_S3");
        let api = Api::new(&api, pat, &wanted.of_type).map_err(CommandFailure::new)?;
        let source = Source::open(api, s3.as_deref(), self.bucket.as_deref(), &wanted, SystemClock::shared()).await?;
        let source = Arc::new(source);

        let days: Vec<Day> =
            stream::iter(self.date.each()).map(|date| source.day(date)).buffered(LOAD_AT_ONCE).try_collect().await?;
        let folder =
            self.output.join(format!("account_id={}", source.account())).join(format!("type={}", self.of_type));
        let bar = progress_bar(&days);
        let outcome = fetch_all(&source, &days, &folder, &bar).await;
        bar.finish_and_clear();
        self.report(&source, &days, &outcome);
        match outcome.failed.len() {
            0 => Ok(()),
            count => Err(CommandFailure::new(format!("{count} files could not be fetched; run it again to go on"))),
        }
    }

    fn report(&self, source: &Source, days: &[Day], outcome: &Outcome) {
        let closed = days.iter().filter(|day| day.closed).count();
        if self.json {
            let failed = outcome.failed.iter().map(|(key, reason)| json!({"key": key, "reason": reason}));
            let summary = json!({
                "account": source.account(),
                "type": self.of_type,
                "days": days.iter().map(Day::summary).collect::<Vec<_>>(),
                "fetched": outcome.fetched,
                "bytes_fetched": outcome.bytes_fetched,
                "already_there": outcome.already_there,
                "failed": failed.collect::<Vec<_>>(),
            });
            say(&format!("{summary}\n"));
            return;
        }
        for (key, reason) in &outcome.failed {
            eprintln!("{key}: {reason}");
        }
        say(&format!(
            "{} files fetched ({}), {} were there already; {closed} of {} days are closed\n",
            outcome.fetched,
            indicatif::BinaryBytes(outcome.bytes_fetched),
            outcome.already_there,
            days.len(),
        ));
    }
}

/// What became of the files.
#[derive(Debug, Default)]
struct Outcome {
    fetched: u64,
    bytes_fetched: u64,
    already_there: u64,
    failed: Vec<(String, String)>,
}

/// Data first, then the days' manifests, then their `_SUCCESS`: a local day that has it is complete here too. A day of
/// which a file is missing gets neither.
async fn fetch_all(source: &Arc<Source>, days: &[Day], folder: &std::path::Path, bar: &ProgressBar) -> Outcome {
    let mut outcome = Outcome::default();
    for day in days {
        let data = day.files.iter().chain(&day.absent);
        let mut complete = true;
        let mut fetched =
            stream::iter(data.map(|object| fetch(source, object, folder, bar))).buffer_unordered(LOAD_AT_ONCE);
        while let Some((object, result)) = fetched.next().await {
            complete &= result.is_ok();
            outcome.count(object, result);
        }
        for mark in day.marks.iter().filter(|_| complete) {
            let (object, result) = fetch(source, mark, folder, bar).await;
            outcome.count(object, result);
        }
    }
    outcome
}

async fn fetch<'a>(
    source: &Source,
    object: &'a Object,
    folder: &std::path::Path,
    bar: &ProgressBar,
) -> (&'a Object, Result<Fetched, String>) {
    let target = folder.join(&object.relative);
    (object, object::fetch(source.store(), object, &target, |bytes| bar.inc(bytes)).await)
}

impl Outcome {
    fn count(&mut self, object: &Object, result: Result<Fetched, String>) {
        match result {
            Ok(Fetched::AlreadyThere) => self.already_there += 1,
            Ok(Fetched::Now) => {
                self.fetched += 1;
                self.bytes_fetched += object.bytes;
            }
            Err(reason) => self.failed.push((object.key.to_string(), reason)),
        }
    }
}

/// Hidden where standard error is no terminal.
fn progress_bar(days: &[Day]) -> ProgressBar {
    let total = days.iter().flat_map(|day| day.files.iter().chain(&day.marks)).map(|object| object.bytes).sum();
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use millrace_schemas::export::{Manifest, ManifestFile, SCHEMA_VERSION};
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};
    use sha2::{Digest, Sha256};

    use super::*;

    const PREFIX: &str = "v1/account_id=a/type=events";

    fn date() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 24).unwrap()
    }

    fn key(name: &str) -> Path {
        Path::parse(format!("{PREFIX}/date={}/{name}", date())).unwrap()
    }

    fn manifest(files: &[(&str, &str)]) -> Vec<u8> {
        let file = |(name, content): &(&str, &str)| ManifestFile {
            key: key(name).to_string(),
            rows: 1,
            bytes: content.len() as u64,
            sha256: Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect(),
            rows_sha256: String::new(),
            min_timestamp: String::new(),
            max_timestamp: String::new(),
        };
        let manifest = Manifest {
            account_id: "a".into(),
            of_type: "events".into(),
            date: date(),
            schema_version: SCHEMA_VERSION,
            release: "1".into(),
            log_id: "log".into(),
            generation: 0,
            settings: 1,
            rows: files.len() as u64,
            files: files.iter().map(file).collect(),
            events: None,
            unattributed: None,
            rejected: None,
            dead: None,
            duplicate: None,
        };
        manifest.to_json()
    }

    async fn load(store: &Arc<InMemory>, folder: &std::path::Path) -> (Day, Outcome) {
        let store: Arc<dyn ObjectStore> = store.clone();
        let source = Arc::new(Source::of(store, Path::parse(PREFIX).unwrap(), "a"));
        let day = source.day(date()).await.unwrap();
        let days = [day];
        let outcome = fetch_all(&source, &days, folder, &ProgressBar::hidden()).await;
        let [day] = days;
        (day, outcome)
    }

    #[tokio::test]
    async fn a_closed_day_is_complete_here_only_once_every_file_of_its_manifest_is() {
        let home = tempfile::tempdir().unwrap();
        let local = |name: &str| home.path().join(format!("date={}", date())).join(name);
        let store = Arc::new(InMemory::new());
        store.put(&key("event=x/part-1.parquet"), "one".into()).await.unwrap();

        let (day, outcome) = load(&store, home.path()).await;
        assert_eq!((day.closed, outcome.fetched, outcome.failed.len()), (false, 1, 0), "an open day as it stands");

        let files = [("event=x/part-1.parquet", "one"), ("event=x/part-2.parquet", "two")];
        store.put(&key("_manifest.json"), manifest(&files).into()).await.unwrap();
        store.put(&key("_SUCCESS"), "".into()).await.unwrap();
        let (day, outcome) = load(&store, home.path()).await;
        assert!(day.closed);
        assert_eq!(outcome.failed.len(), 1, "the second file is not there: {:?}", outcome.failed);
        assert!(!local("_SUCCESS").exists() && !local("_manifest.json").exists());

        store.put(&key("event=x/part-2.parquet"), "owt".into()).await.unwrap();
        let (_, outcome) = load(&store, home.path()).await;
        assert!(outcome.failed[0].1.contains("SHA-256"), "{:?}", outcome.failed);
        assert!(!local("_SUCCESS").exists() && !local("event=x/part-2.parquet").exists());

        store.put(&key("event=x/part-2.parquet"), "two".into()).await.unwrap();
        let (_, outcome) = load(&store, home.path()).await;
        assert_eq!((outcome.fetched, outcome.already_there, outcome.failed.len()), (3, 1, 0));
        assert!(local("_SUCCESS").exists());
    }
}
