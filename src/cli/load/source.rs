//! Where an export is read from: the gateway (or S3), through credentials that are renewed.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_clock::SharedClock;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::api::Api;
use super::credentials::Renewed;
use crate::cli::CommandFailure;
use crate::folder::Folder;
use crate::limits::{LOAD_RETRIES, LOAD_WAIT};

/// What the caller asked for.
pub(super) struct Wanted {
    pub(super) account: Option<String>,
    pub(super) of_type: String,
}

/// An account's export of one type.
pub(super) struct Source {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    account: String,
}

impl Source {
    /// Mints the first credentials and connects.
    ///
    /// # Errors
    /// No credentials, or they are for another account.
    pub(super) async fn open(
        api: Api,
        s3: Option<&str>,
        bucket: Option<&str>,
        wanted: &Wanted,
        clock: SharedClock,
    ) -> Result<Self, CommandFailure> {
        let minted = api.mint().await.map_err(CommandFailure::new)?;
        let (minted_bucket, prefix) = split(&minted.s3_path)?;
        let account = account_of(&prefix).ok_or_else(|| unclear(&minted.s3_path))?;
        if let Some(other) = wanted.account.as_ref().filter(|wanted| **wanted != account) {
            return Err(CommandFailure::new(format!("the token is for account {account}, not {other}")));
        }
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket.unwrap_or(&minted_bucket))
            .with_region("us-east-1")
            .with_credentials(Arc::new(Renewed::new(api, minted, clock)))
            .with_retry(RetryConfig {
                max_retries: LOAD_RETRIES,
                retry_timeout: LOAD_WAIT * 4,
                backoff: BackoffConfig::default(),
            });
        let builder = match s3 {
            Some(url) => builder.with_endpoint(url.trim_end_matches('/')).with_allow_http(url.starts_with("http://")),
            None => builder,
        };
        let store = builder.build().map_err(CommandFailure::new)?;
        Ok(Self { store: Arc::new(store), prefix, account })
    }

    /// A source over any store, for tests.
    #[cfg(test)]
    pub(super) fn of(store: Arc<dyn ObjectStore>, prefix: Path, account: &str) -> Self {
        Self { store, prefix, account: account.to_owned() }
    }

    /// The store, opened for this account and type only.
    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    /// The prefix of the account's export of this type.
    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The account.
    pub(super) fn account(&self) -> &str {
        &self.account
    }
}

/// Bucket and prefix of `s3://bucket/prefix/`.
fn split(s3_path: &str) -> Result<(String, Path), CommandFailure> {
    let parts = s3_path.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let (bucket, prefix) = parts.ok_or_else(|| unclear(s3_path))?;
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| unclear(s3_path))?;
    Ok((bucket.to_owned(), prefix))
}

fn unclear(s3_path: &str) -> CommandFailure {
    CommandFailure::new(format!("the API gave credentials for {s3_path:?}, which is no export's place"))
}

fn account_of(prefix: &Path) -> Option<String> {
    prefix.parts().find_map(|part| part.as_ref().strip_prefix("account_id=").map(str::to_owned))
}

/// What `demo.env` says; nothing where it is not there or not ours to read.
pub(super) fn demo_env(folder: &Folder) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.demo_env()).unwrap_or_default();
    let value = |line: &str| {
        let (name, quoted) = line.strip_prefix("export ")?.split_once('=')?;
        let value = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_prefix_and_account_are_read_from_the_answer() {
        let (bucket, prefix) = split("s3://millrace-events/v1/account_id=shop/type=events/").unwrap();
        assert_eq!((bucket.as_str(), prefix.as_ref()), ("millrace-events", "v1/account_id=shop/type=events"));
        assert_eq!(account_of(&prefix).as_deref(), Some("shop"));
        let (_, rejected) = split("s3://b/rejected/v1/account_id=shop/").unwrap();
        assert_eq!(account_of(&rejected).as_deref(), Some("shop"));
        assert!(split("https://elsewhere/").is_err());
    }
}
