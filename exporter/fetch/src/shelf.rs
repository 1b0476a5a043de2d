//! The only way to the store. It takes keys that a scope opened, never text.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use millrace_directory::scope::AllowedKey;
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore};

use crate::limits::FILE_CHUNK_BYTES;

/// An object's bytes on their way out.
pub(crate) struct Found {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    /// Which bytes of the object `body` holds.
    pub(crate) range: Range<u64>,
    pub(crate) body: BoxStream<'static, std::io::Result<Bytes>>,
}

/// Why there is nothing to give.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error("there is no such key")]
    Absent,
    #[error("the object has only {bytes} bytes")]
    Unsatisfiable { bytes: u64 },
    #[error("the store failed: {0}")]
    Failed(object_store::Error),
}

/// What an object is, without its bytes.
///
/// # Errors
/// [`ShelfError::Absent`], or the store's own.
pub(crate) async fn head(store: &dyn ObjectStore, key: &AllowedKey) -> Result<(ObjectMeta, Attributes), ShelfError> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    let found = store.get_opts(&path(key)?, options).await.map_err(refused)?;
    Ok((found.meta, found.attributes))
}

/// An object's bytes, all or a range of them.
///
/// # Errors
/// As [`head`], and [`ShelfError::Unsatisfiable`] for a range that begins beyond the end.
pub(crate) async fn get(
    store: &dyn ObjectStore,
    key: &AllowedKey,
    range: Option<s3s::dto::Range>,
) -> Result<Found, ShelfError> {
    let mut options = GetOptions::default();
    if let Some(range) = range {
        // Stores disagree about ranges beyond the end, so the end is looked up first.
        let (meta, _) = head(store, key).await?;
        let part = range.check(meta.size).ok().filter(|part| !part.is_empty());
        let range = part.ok_or(ShelfError::Unsatisfiable { bytes: meta.size })?;
        options.range = Some(GetRange::Bounded(range));
    }
    let found = store.get_opts(&path(key)?, options).await.map_err(refused)?;
    let body = match found.payload {
        GetResultPayload::File(file, _) => file_stream(file, found.range.clone()),
        GetResultPayload::Stream(stream) => stream.map_err(std::io::Error::other).boxed(),
    };
    Ok(Found { meta: found.meta, attributes: found.attributes, range: found.range, body })
}

/// The store's own spelling. A key it has no spelling for cannot exist.
fn path(key: &AllowedKey) -> Result<Path, ShelfError> {
    let path = Path::parse(key.as_str()).map_err(|_| ShelfError::Absent)?;
    if path.as_ref() == key.as_str() { Ok(path) } else { Err(ShelfError::Absent) }
}

fn refused(error: object_store::Error) -> ShelfError {
    if is_absent(&error) { ShelfError::Absent } else { ShelfError::Failed(error) }
}

/// Whether the store says, in whichever way, that nothing stands there. A folder tree also says so by "a file is no
/// folder", "that name is too long" and "that name is reserved".
pub(crate) fn is_absent(error: &object_store::Error) -> bool {
    use std::io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    if matches!(error, object_store::Error::NotFound { .. } | object_store::Error::InvalidPath { .. }) {
        return true;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if let Some(NotFound | NotADirectory | IsADirectory | InvalidFilename) = kind {
            return true;
        }
        cause = error.source();
    }
    false
}

fn file_stream(file: std::fs::File, range: Range<u64>) -> BoxStream<'static, std::io::Result<Bytes>> {
    futures::stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || read_chunk(file, range)).await;
        read.map_err(std::io::Error::other)?.map(Some)
    })
    .boxed()
}

type Rest = (std::fs::File, Range<u64>);

fn read_chunk(mut file: std::fs::File, range: Range<u64>) -> std::io::Result<(Bytes, Rest)> {
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(FILE_CHUNK_BYTES);
    let mut chunk = vec![0; wanted];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut chunk)?; // an object never changes: fewer bytes than promised is a failure
    let rest = range.start + wanted as u64..range.end;
    Ok((chunk.into(), (file, rest)))
}
