//! Puts finished files, several at a time. Each is created once; where one is already there, that one counts.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use millrace_schemas::export::PublishedFile;

use crate::bucket::{Bucket, Created, gone};
use crate::error::Error;
use crate::file::sha256_hex;
use crate::slot_files::Made;
use crate::{limits, metrics};

/// Files on their way to the store.
pub(crate) struct Puts {
    bucket: Bucket,
    memory_bytes: usize,
    under_way: FuturesUnordered<BoxFuture<'static, (usize, Result<PublishedFile, Error>)>>,
    bytes: usize,
    done: Vec<PublishedFile>,
}

impl Puts {
    /// `memory_bytes`: what all files under way may take, unless it is one alone.
    pub(crate) fn new(bucket: Bucket, memory_bytes: usize) -> Self {
        Self { bucket, memory_bytes, under_way: FuturesUnordered::new(), bytes: 0, done: Vec::new() }
    }

    /// Puts a file, once there is room for it.
    pub(crate) async fn add(&mut self, made: Made) -> Result<(), Error> {
        let bytes = made.file.bytes.len();
        while self.under_way.len() >= limits::PUTS_AT_ONCE
            || (!self.under_way.is_empty() && self.bytes + bytes > self.memory_bytes)
        {
            self.finish_one().await?;
        }
        self.bytes += bytes;
        let bucket = self.bucket.clone();
        self.under_way.push(Box::pin(async move { (bytes, put(&bucket, made).await) }));
        Ok(())
    }

    /// Every file, all of them in the store.
    pub(crate) async fn finish(mut self) -> Result<Vec<PublishedFile>, Error> {
        while !self.under_way.is_empty() {
            self.finish_one().await?;
        }
        Ok(self.done)
    }

    async fn finish_one(&mut self) -> Result<(), Error> {
        if let Some((bytes, file)) = self.under_way.next().await {
            self.bytes -= bytes;
            self.done.push(file?);
        }
        Ok(())
    }
}

async fn put(bucket: &Bucket, made: Made) -> Result<PublishedFile, Error> {
    let Made { account, of_type, folder, key, file } = made;
    let (mut bytes, mut sha256) = (file.bytes.len() as u64, file.sha256);
    match bucket.create(&key, file.bytes).await? {
        Created::New => {
            let name = of_type.name();
            ::metrics::counter!(metrics::PUBLISHED_FILES, "type" => name).increment(1);
            ::metrics::counter!(metrics::PUBLISHED_ROWS, "type" => name).increment(file.rows);
            ::metrics::counter!(metrics::PUBLISHED_BYTES, "type" => name).increment(bytes);
        }
        Created::Exists => {
            // The same rows, but another release may have written them in other bytes.
            let there = bucket.read(&key).await?.ok_or_else(|| gone(&key))?;
            (bytes, sha256) = (there.len() as u64, sha256_hex(&there));
        }
    }
    Ok(PublishedFile {
        account_id: account.as_str().to_owned(),
        of_type: of_type.name().to_owned(),
        folder,
        key,
        rows: file.rows,
        bytes,
        sha256,
        rows_sha256: file.rows_sha256,
        min_timestamp_ms: file.min_timestamp_ms,
        max_timestamp_ms: file.max_timestamp_ms,
    })
}
