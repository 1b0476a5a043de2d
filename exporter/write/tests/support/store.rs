//! A store over another that fails, lies, stalls and dies, as real ones do.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

/// When and how it fails.
#[derive(Debug, Clone, Copy)]
pub enum Faults {
    /// Every operation counts, none fails: to learn how many there are.
    None,
    /// Each operation fails in some way once in `one_in`.
    Often { one_in: u64, seed: u64 },
    /// From this operation on nothing answers any more; `after_effect`: this one still happens.
    DeadFrom { operation: u64, after_effect: bool },
    /// A create overwrites, as on stores that do not know conditions.
    Overwrites,
    /// This operation waits for [`FaultyStore::go_on`]; everything after it works.
    StalledAt { operation: u64 },
}

pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
    operations: AtomicU64,
    faults_made: AtomicU64,
    gate: Semaphore,
}

enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    ClaimsToExist,
    Slow,
    Dead { after_effect: bool },
    Stalled,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Faults) -> Arc<Self> {
        let (operations, faults_made) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { inner, faults, operations, faults_made, gate: Semaphore::new(0) })
    }

    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    pub fn faults_made(&self) -> u64 {
        self.faults_made.load(Ordering::SeqCst)
    }

    /// Lets the stalled operation happen.
    pub fn go_on(&self) {
        self.gate.add_permits(1);
    }

    fn fate(&self) -> Fate {
        let operation = self.operations.fetch_add(1, Ordering::SeqCst);
        let fate = match self.faults {
            Faults::None | Faults::Overwrites => Fate::Works,
            Faults::Often { one_in, seed } => match scramble(seed ^ operation) % (one_in * 4) {
                0 => Fate::FailsBefore,
                1 => Fate::FailsAfter,
                2 => Fate::ClaimsToExist,
                3 => Fate::Slow,
                _ => Fate::Works,
            },
            Faults::DeadFrom { operation: from, after_effect } if operation >= from => {
                Fate::Dead { after_effect: after_effect && operation == from }
            }
            Faults::StalledAt { operation: at } if operation == at => Fate::Stalled,
            Faults::DeadFrom { .. } | Faults::StalledAt { .. } => Fate::Works,
        };
        if !matches!(fate, Fate::Works) {
            self.faults_made.fetch_add(1, Ordering::SeqCst);
        }
        fate
    }

    async fn before(&self, fate: &Fate) -> Result<()> {
        match fate {
            Fate::FailsBefore => Err(failure("500 before")),
            Fate::Slow => {
                tokio::time::sleep(Duration::from_millis(3)).await;
                Ok(())
            }
            Fate::Stalled => {
                self.gate.acquire().await.expect("the gate is never closed").forget();
                Ok(())
            }
            Fate::Dead { after_effect: false } => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn after<T>(&self, fate: &Fate, answer: Result<T>) -> Result<T> {
        match fate {
            Fate::FailsAfter => Err(failure("503, but it may have happened")),
            Fate::Dead { .. } => std::future::pending().await,
            _ => answer,
        }
    }
}

fn failure(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

/// A well-mixed number of each number (splitmix64).
pub fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty store, {:?}", self.faults)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate();
        if matches!(fate, Fate::ClaimsToExist) {
            // As a store does that answers 409 to one of two concurrent creates: nothing was written.
            return Err(Error::AlreadyExists { path: location.to_string(), source: "409".into() });
        }
        self.before(&fate).await?;
        let options = if matches!(self.faults, Faults::Overwrites) { PutOptions::default() } else { options };
        let answer = self.inner.put_opts(location, payload, options).await;
        self.after(&fate, answer).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failure("the exporter puts whole objects"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fate = self.fate();
        self.before(&fate).await?;
        let answer = self.inner.get_opts(location, options).await;
        self.after(&fate, answer).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::iter([Err(failure("the exporter deletes nothing"))]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate() {
            Fate::FailsBefore | Fate::FailsAfter => futures::stream::iter([Err(failure("500"))]).boxed(),
            Fate::Dead { .. } => futures::stream::pending().boxed(),
            _ => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let fate = self.fate();
        self.before(&fate).await?;
        let answer = self.inner.list_with_delimiter(prefix).await;
        self.after(&fate, answer).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(failure("the exporter copies nothing"))
    }
}
