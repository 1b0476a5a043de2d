//! The export as a data team sees it: scoped credentials, then lists and gets of the S3 gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};

use crate::demo::Demo;
use crate::rows::{self, Row};

/// What a listing says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's size in bytes.
    pub bytes: u64,
    /// The object's entity tag.
    pub etag: Option<String>,
}

/// Read access to one scope.
pub struct Export {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Export {
    /// Mints credentials for the account's default scope (decisions and events).
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn open(demo: &Demo) -> anyhow::Result<Self> {
        Self::open_as(demo, demo.pat(), "").await
    }

    /// An account's scope, read straight from the folder of a local store: for tests whose clock is not the machine's,
    /// so that signatures would be refused.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn of_folder(store: &std::path::Path, account: &str) -> anyhow::Result<Self> {
        Self::of_store(Arc::new(LocalFileSystem::new_with_prefix(store)?), account)
    }

    /// An account's scope, read straight from the store: for tests that run no gateway.
    ///
    /// # Errors
    /// The account cannot be part of a path.
    pub fn of_store(store: Arc<dyn ObjectStore>, account: &str) -> anyhow::Result<Self> {
        Ok(Self { store, prefix: Path::parse(format!("v1/account_id={account}"))? })
    }

    /// Mints credentials for a narrower scope: `query` is e.g. `type=rejected`.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn open_narrow(demo: &Demo, query: &str) -> anyhow::Result<Self> {
        Self::open_as(demo, demo.pat(), query).await
    }

    /// Mints credentials with another token than the demo one.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn open_as(demo: &Demo, token: &str, query: &str) -> anyhow::Result<Self> {
        let url = format!("{}/v2/export/credentials?{query}", demo.api());
        let response = reqwest::Client::new().get(url).bearer_auth(token).send().await?;
        let status = response.status();
        let body: serde_json::Value = response.json().await?;
        ensure!(status.is_success(), "no credentials: {status} {body}");
        let part = |name: &str| body["credentials"][name].as_str().map(str::to_owned).with_context(|| name.to_owned());
        let s3_path = body["s3Path"].as_str().context("s3Path")?;
        let bucket_and_prefix = s3_path.strip_prefix("s3://").context("s3Path is an s3:// address")?;
        let (bucket, prefix) = bucket_and_prefix.split_once('/').context("s3Path has a prefix")?;
        ensure!(prefix.ends_with('/'), "s3Path ends in a slash: {s3_path}");
        let store = AmazonS3Builder::new()
            .with_endpoint(demo.s3())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(part("accessKeyId")?)
            .with_secret_access_key(part("secretAccessKey")?)
            .with_token(part("sessionToken")?)
            .with_retry(RetryConfig { max_retries: 1, retry_timeout: Duration::from_secs(2), ..Default::default() })
            .build()?;
        Ok(Self { store: Arc::new(store), prefix: Path::parse(prefix.trim_end_matches('/'))? })
    }

    /// Every key of the scope.
    ///
    /// # Errors
    /// The gateway cannot be reached or refuses.
    pub async fn list(&self) -> anyhow::Result<BTreeMap<String, Listed>> {
        let found: Vec<_> = self.store.list(Some(&self.prefix)).try_collect().await?;
        let entry =
            |meta: object_store::ObjectMeta| (meta.location.to_string(), Listed { bytes: meta.size, etag: meta.e_tag });
        Ok(found.into_iter().map(entry).collect())
    }

    /// The bytes under a key.
    ///
    /// # Errors
    /// The gateway cannot be reached, refuses, or has no such key.
    pub async fn read(&self, key: &str) -> anyhow::Result<Bytes> {
        Ok(self.store.get(&Path::parse(key)?).await?.bytes().await?)
    }

    /// All rows of a type, in key order; each with the key it was read from in `_key`.
    ///
    /// # Errors
    /// The gateway cannot be reached, or a file is no Parquet file.
    pub async fn rows(&self, of_type: &str) -> anyhow::Result<Vec<Row>> {
        let folder = format!("type={of_type}/");
        let root = format!("{of_type}/v1/");
        let mut rows = Vec::new();
        for key in self.list().await?.into_keys() {
            if key.ends_with(".parquet") && (key.contains(&folder) || key.starts_with(&root)) {
                for mut row in rows::read(self.read(&key).await?, &[])? {
                    row.insert("_key".into(), key.clone().into());
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }
}
