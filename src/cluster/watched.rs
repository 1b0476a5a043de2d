//! What the object store failed at lately, for `/readyz` of `serve`: its clients see one failed request each.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use millrace_clock::SharedClock;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::limits::{STORE_ERROR_CHARS_MAX, STORE_TROUBLE};

/// A store that remembers for a while that its last answer was a failure. Not for ever: a load balancer that hears of it sends no
/// request that could tell otherwise.
pub(super) struct Watched {
    store: Arc<dyn ObjectStore>,
    trouble: Trouble,
}

#[derive(Clone)]
struct Trouble {
    clock: SharedClock,
    /// What failed, and when.
    last: Arc<Mutex<Option<(String, Duration)>>>,
}

impl Trouble {
    fn note<T>(&self, operation: &'static str, answer: Result<T>) -> Result<T> {
        let trouble = answer.as_ref().err().filter(|error| !is_answer(error)).map(|error| {
            let error: String = error.to_string().chars().take(STORE_ERROR_CHARS_MAX).collect();
            (format!("{operation}: {error}"), self.clock.elapsed())
        });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        answer
    }
}

/// Whether the store is well and only says no.
fn is_answer(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. }
    )
}

impl Watched {
    pub(super) fn new(store: Arc<dyn ObjectStore>, clock: SharedClock) -> Self {
        Self { store, trouble: Trouble { clock, last: Arc::default() } }
    }

    /// What the last request failed at, if it did, and not long ago.
    pub(super) fn trouble(&self) -> Option<String> {
        let last = self.trouble.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reason, at) = last?;
        (self.trouble.clock.elapsed().saturating_sub(at) < STORE_TROUBLE).then_some(reason)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.store).finish()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.trouble.note("put", self.store.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.trouble.note("put", self.store.put_multipart_opts(location, options).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.trouble.note("get", self.store.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.trouble.note("get", self.store.get_ranges(location, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let trouble = self.trouble.clone();
        self.store.delete_stream(locations).map(move |deleted| trouble.note("delete", deleted)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let trouble = self.trouble.clone();
        self.store.list(prefix).map(move |found| trouble.note("list", found)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let trouble = self.trouble.clone();
        self.store.list_with_offset(prefix, offset).map(move |found| trouble.note("list", found)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.trouble.note("list", self.store.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.trouble.note("copy", self.store.copy_opts(from, to, options).await)
    }
}

#[cfg(test)]
mod tests {
    use millrace_clock::ManualClock;
    use object_store::memory::InMemory;

    use super::*;

    fn failed() -> Result<()> {
        Err(Error::NotImplemented { operation: "x".into(), implementer: "y".into() })
    }

    #[tokio::test]
    async fn a_failure_shows_until_the_next_answer_and_a_no_is_an_answer() {
        let watched = Watched::new(Arc::new(InMemory::new()), ManualClock::at(0));
        assert!(watched.trouble.note("put", failed()).is_err());
        assert!(watched.trouble().is_some_and(|trouble| trouble.starts_with("put: ")));
        let absent = watched.get_opts(&Path::from("absent"), GetOptions::default()).await;
        assert!(matches!(absent, Err(Error::NotFound { .. })));
        assert_eq!(watched.trouble(), None);
    }

    #[test]
    fn a_failure_is_forgotten_where_no_request_comes_that_could_tell_otherwise() {
        let clock = ManualClock::at(0);
        let watched = Watched::new(Arc::new(InMemory::new()), clock.clone());
        assert!(watched.trouble.note("get", failed()).is_err());
        clock.advance(STORE_TROUBLE - Duration::from_millis(1));
        assert!(watched.trouble().is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(watched.trouble(), None);
    }
}
