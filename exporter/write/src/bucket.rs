//! The object store as the exporter uses it: create-if-absent, read, list. It never gives up before it is stopped.
//!
//! A store's answer to a create is not to be trusted: an error may have been written, and "already exists" may be our own
//! write, or nothing at all. So after anything but success the key is read, and what is there decides.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::error::Error;
use crate::health::{Health, Wait};
use crate::{limits, metrics};

/// What readiness is told; the log says more.
const STORE_FAILS: &str = "the object store fails";

/// What a create came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    /// The key holds what was put.
    New,
    /// The key holds something: ours or another's. Read it.
    Exists,
}

/// The end of an object, and how large it is.
pub(crate) struct Tail {
    pub(crate) bytes: Bytes,
    pub(crate) object_bytes: u64,
}

#[derive(Clone)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    health: Health,
}

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, health: Health) -> Self {
        Self { store, health }
    }

    /// Puts `bytes` under a key that must not exist. Returns once the key holds something.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Error> {
        let path = path(key)?;
        let mut wait = self.health.wait();
        loop {
            let options = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(Created::New),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => note(&wait, "create", key, &error),
            }
            if self.exists(key).await? {
                return Ok(Created::Exists);
            }
            wait.again(STORE_FAILS).await?;
        }
    }

    /// Tries whether creates are exact: of several at once one wins, and a later one is refused.
    pub(crate) async fn probe(&self, key: &str) -> Result<(), Error> {
        let path = path(key)?;
        let create = |number: usize| {
            let bytes = Bytes::from(number.to_string());
            self.store.put_opts(&path, bytes.into(), PutOptions::from(PutMode::Create))
        };
        let mut wait = self.health.wait();
        loop {
            let answers = futures::future::join_all((0..limits::PROBE_CREATES).map(create)).await;
            let won = answers.iter().filter(|answer| answer.is_ok()).count();
            if won > 1 {
                return Err(Error::InexactStore { won });
            }
            if self.exists(key).await? {
                break;
            }
            wait.again(STORE_FAILS).await?;
        }
        if create(limits::PROBE_CREATES).await.is_ok() {
            return Err(Error::InexactStore { won: 2 });
        }
        // Tidiness only: the key is this process's own.
        if let Err(error) = self.store.delete(&path).await {
            tracing::debug!(key, %error, "the probe stays");
        }
        Ok(())
    }

    /// Removes a key, if it is there.
    pub(crate) async fn remove(&self, key: &str) -> Result<(), Error> {
        let path = path(key)?;
        self.again("delete", key, || self.store.delete(&path)).await.map(|_| ())
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, Error> {
        let path = path(key)?;
        self.again("head", key, || self.store.head(&path)).await.map(|found| found.is_some())
    }

    /// The whole object; `None` if there is none.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let path = path(key)?;
        self.again("get", key, || async { self.store.get(&path).await?.bytes().await }).await
    }

    /// Bytes `from..to` of an object that must be there.
    pub(crate) async fn read_range(&self, key: &str, from: u64, to: u64) -> Result<Bytes, Error> {
        let path = path(key)?;
        let found = self.again("get", key, || self.store.get_range(&path, from..to)).await?;
        let bytes = found.ok_or_else(|| gone(key))?;
        if bytes.len() as u64 == to - from { Ok(bytes) } else { Err(damaged(key, "shorter than its index says")) }
    }

    /// At most the last `bytes` bytes of an object; `None` if there is none.
    pub(crate) async fn read_tail(&self, key: &str, bytes: u64) -> Result<Option<Tail>, Error> {
        let path = path(key)?;
        let get = || async {
            let options = GetOptions { range: Some(GetRange::Suffix(bytes)), ..GetOptions::default() };
            let result = self.store.get_opts(&path, options).await?;
            let object_bytes = result.meta.size;
            Ok(Tail { bytes: result.bytes().await?, object_bytes })
        };
        self.again("get", key, get).await
    }

    /// Every key under a prefix that ends in `/`, sorted; only those after `after`, if given.
    pub(crate) async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
        let folder = path(prefix.trim_end_matches('/'))?;
        let after = after.map(path).transpose()?;
        let list = || async {
            let stream = match &after {
                Some(after) => self.store.list_with_offset(Some(&folder), after),
                None => self.store.list(Some(&folder)),
            };
            stream.map(|found| found.map(|meta| meta.location.to_string())).try_collect::<Vec<_>>().await
        };
        let mut keys = self.again("list", prefix, list).await?.unwrap_or_default();
        keys.sort_unstable();
        Ok(keys)
    }

    /// The names of the folders directly under a prefix that ends in `/`, sorted.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let folder = path(prefix.trim_end_matches('/'))?;
        let list = || self.store.list_with_delimiter(Some(&folder));
        let found = self.again("list", prefix, list).await?;
        let prefixes = found.map(|found| found.common_prefixes).unwrap_or_default();
        let mut names: Vec<String> = prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Tries until it works or the exporter is stopped. Not found is an answer.
    async fn again<T, F>(&self, operation: &'static str, key: &str, attempt: impl Fn() -> F) -> Result<Option<T>, Error>
    where
        F: Future<Output = Result<T, object_store::Error>>,
    {
        let mut wait = self.health.wait();
        loop {
            match attempt().await {
                Ok(answer) => return Ok(Some(answer)),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => note(&wait, operation, key, &error),
            }
            wait.again(STORE_FAILS).await?;
        }
    }
}

fn note(wait: &Wait, operation: &'static str, key: &str, error: &object_store::Error) {
    ::metrics::counter!(metrics::STORE_ERRORS, "operation" => operation).increment(1);
    let again_in_ms = u64::try_from(wait.next_pause().as_millis()).unwrap_or_default();
    tracing::warn!(operation, key, %error, again_in_ms, "the object store failed");
}

/// The store's path of a key, with nothing escaped a second time.
pub(crate) fn path(key: &str) -> Result<Path, Error> {
    Path::parse(key).map_err(|error| damaged(key, &error.to_string()))
}

pub(crate) fn damaged(key: &str, reason: &str) -> Error {
    Error::Object { key: key.to_owned(), reason: reason.to_owned() }
}

pub(crate) fn gone(key: &str) -> Error {
    damaged(key, "was there and is gone")
}
