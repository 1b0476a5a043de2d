//! What the object store last failed at, for `/readyz`: whoever uses it only waits and tries again.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::limits::STORE_ERROR_CHARS_MAX;

/// A store that remembers whether its last answer was a failure.
#[derive(Debug)]
pub(super) struct Watched {
    store: Arc<dyn ObjectStore>,
    trouble: Trouble,
}

#[derive(Debug, Clone, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn note<T>(&self, operation: &'static str, answer: Result<T>) -> Result<T> {
        let trouble = answer.as_ref().err().filter(|error| !is_answer(error)).map(|error| {
            let error: String = error.to_string().chars().take(STORE_ERROR_CHARS_MAX).collect();
            format!("{operation}: {error}")
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
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
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, trouble: Trouble::default() }
    }

    /// What the last request failed at; `None` if it did not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_failure_shows_until_the_next_answer_and_a_no_is_an_answer() {
        let watched = Watched::new(Arc::new(InMemory::new()));
        let failed: Result<()> = Err(Error::NotImplemented { operation: "x".into(), implementer: "y".into() });
        assert!(watched.trouble.note("put", failed).is_err());
        assert!(watched.trouble().is_some_and(|trouble| trouble.starts_with("put: ")));
        let absent = watched.get_opts(&Path::from("absent"), GetOptions::default()).await;
        assert!(matches!(absent, Err(Error::NotFound { .. })));
        assert_eq!(watched.trouble(), None);
    }
}
