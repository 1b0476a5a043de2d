//! One day of an export, as listed: its files, and whether it is closed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use futures::TryStreamExt;
use millrace_schemas::export::Manifest;
use millrace_schemas::layout::{MANIFEST, SUCCESS};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde_json::{Value, json};

use super::source::Source;
use crate::cli::{CommandFailure, with_causes};

/// An object to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its key.
    pub(super) key: Path,
    /// Where it goes, below the type's local folder.
    pub(super) relative: PathBuf,
    /// Its size.
    pub(super) bytes: u64,
    /// The SHA-256 of its bytes, lower-case hex, where a manifest says it.
    pub(super) sha256: Option<String>,
}

/// A day.
pub(super) struct Day {
    date: NaiveDate,
    /// `_SUCCESS` is there: nothing will be added.
    pub(super) closed: bool,
    /// Its data.
    pub(super) files: Vec<Object>,
    /// What the manifest names and the listing does not: fetching it says what is wrong.
    pub(super) absent: Vec<Object>,
    /// Manifest, then `_SUCCESS`; they come last.
    pub(super) marks: Vec<Object>,
}

impl Day {
    pub(super) fn summary(&self) -> Value {
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        json!({"date": self.date, "closed": self.closed, "files": self.files.len(), "bytes": bytes})
    }
}

impl Source {
    /// Lists a day, and reads its manifest if it is closed.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn day(&self, date: NaiveDate) -> Result<Day, CommandFailure> {
        let failed = |error: object_store::Error| CommandFailure::new(format!("{date}: {}", with_causes(&error)));
        let prefix = self.prefix().clone().join(format!("date={date}"));
        let mut listed: Vec<ObjectMeta> = self.store().list(Some(&prefix)).try_collect().await.map_err(failed)?;
        // Names are in the order of time: the oldest first.
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let named = |name: &str| listed.iter().find(|meta| meta.location.filename() == Some(name));
        let (manifest, success) = (named(MANIFEST), named(SUCCESS));
        let sums = match (manifest, success) {
            (Some(manifest), Some(_)) => {
                let bytes =
                    self.store().get(&manifest.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
                let manifest = Manifest::from_json(&bytes)
                    .map_err(|error| CommandFailure::new(format!("{}: {error}", manifest.location)))?;
                manifest.files.into_iter().map(|file| (file.key, (file.bytes, file.sha256))).collect()
            }
            (None, Some(success)) => {
                return Err(CommandFailure::new(format!("{} is there without its manifest", success.location)));
            }
            _ => BTreeMap::new(),
        };
        let is_mark = |meta: &&ObjectMeta| matches!(meta.location.filename(), Some(MANIFEST | SUCCESS));
        let files = listed.iter().filter(|meta| !is_mark(meta)).map(|meta| self.object(meta, &sums));
        let files: Vec<Object> = files.collect::<Result<_, _>>()?;
        let marks = [manifest, success].into_iter().flatten().filter(|_| success.is_some());
        let marks = marks.map(|meta| self.object(meta, &BTreeMap::new())).collect::<Result<_, _>>()?;
        let absent = self.absent(&files, &sums)?;
        Ok(Day { date, closed: success.is_some(), files, absent, marks })
    }

    fn object(&self, meta: &ObjectMeta, sums: &BTreeMap<String, (u64, String)>) -> Result<Object, CommandFailure> {
        let sha256 = sums.get(meta.location.as_ref()).map(|(_, sha256)| sha256.clone());
        Ok(Object { relative: self.relative(&meta.location)?, key: meta.location.clone(), bytes: meta.size, sha256 })
    }

    fn absent(&self, files: &[Object], sums: &BTreeMap<String, (u64, String)>) -> Result<Vec<Object>, CommandFailure> {
        let missing = sums.iter().filter(|(key, _)| !files.iter().any(|file| file.key.as_ref() == key.as_str()));
        let object = |(key, (bytes, sha256)): (&String, &(u64, String))| {
            let key =
                Path::parse(key).map_err(|error| CommandFailure::new(format!("the manifest names {key}: {error}")))?;
            Ok(Object { relative: self.relative(&key)?, key, bytes: *bytes, sha256: Some(sha256.clone()) })
        };
        missing.map(object).collect()
    }

    /// The key below the type's prefix. A [`Path`]'s parts are never `.` or `..`, so this stays below the local folder.
    fn relative(&self, key: &Path) -> Result<PathBuf, CommandFailure> {
        let outside = || CommandFailure::new(format!("{key} is not below {}", self.prefix()));
        let parts = key.prefix_match(self.prefix()).ok_or_else(outside)?;
        Ok(parts.map(|part| part.as_ref().to_owned()).collect())
    }
}
