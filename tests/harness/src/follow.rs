//! A careful data team: takes every new key of every listing once, and watches that a listing only grows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::export::{Export, Listed};
use crate::rows::{self, Row, text};

/// What was taken so far.
#[derive(Default)]
pub struct Follower {
    keys: BTreeMap<String, (Listed, [u8; 32])>,
    /// By type, visitor and uuid: the tests' events make one row each.
    rows: HashMap<String, RowSeen>,
    /// Texts that many rows share.
    texts: HashSet<Arc<str>>,
}

/// What is remembered of a row.
#[derive(Debug, Clone)]
pub struct RowSeen {
    /// The key of the file it stood in.
    pub key: Arc<str>,
    /// Its `process_timestamp`.
    pub process_timestamp_ms: i64,
    /// `experiment=variation` of each of its experiments, in order, separated by spaces; empty for decisions.
    pub experiments: Arc<str>,
}

const COLUMNS: [&str; 4] = ["uuid", "visitor_id", "process_timestamp", "experiments"];

impl Follower {
    /// Takes one listing and every file it shows for the first time. Answers with the rows that were new.
    ///
    /// # Errors
    /// The gateway could not be reached (it may have been killed): nothing of this listing counts.
    ///
    /// # Panics
    /// Law 4 is broken: a key of an earlier listing is gone or has changed, or a row stands in two files.
    pub async fn take(&mut self, export: &Export) -> anyhow::Result<Vec<RowSeen>> {
        let listing = export.list().await?;
        for (key, (before, _)) in &self.keys {
            let now = listing.get(key).unwrap_or_else(|| panic!("{key} was listed before and is gone"));
            assert_eq!(now, before, "{key} has changed");
        }
        let mut new = Vec::new();
        for (key, listed) in listing {
            if self.keys.contains_key(&key) {
                continue;
            }
            let bytes = export.read(&key).await?;
            let digest = Sha256::digest(&bytes).into();
            if let Some(of_type) = row_type(&key) {
                for row in rows::read(bytes, &COLUMNS)? {
                    new.push(self.add(of_type, &key, &row));
                }
            }
            self.keys.insert(key, (listed, digest));
        }
        Ok(new)
    }

    /// Reads every key taken so far once more.
    ///
    /// # Errors
    /// The gateway could not be reached.
    ///
    /// # Panics
    /// A key's bytes are not what they were.
    pub async fn take_all_again(&self, export: &Export) -> anyhow::Result<()> {
        for (key, (_, before)) in &self.keys {
            let now: [u8; 32] = Sha256::digest(export.read(key).await?).into();
            assert_eq!(hex::encode(now), hex::encode(before), "the bytes of {key} have changed");
        }
        Ok(())
    }

    /// The keys taken so far.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// What was seen of a row.
    #[must_use]
    pub fn row(&self, of_type: &str, visitor: &str, uuid: &str) -> Option<&RowSeen> {
        self.rows.get(&identity(of_type, visitor, uuid))
    }

    /// The latest `process_timestamp` of all rows taken.
    #[must_use]
    pub fn newest_ms(&self) -> i64 {
        self.rows.values().map(|row| row.process_timestamp_ms).max().unwrap_or_default()
    }

    /// The earliest `process_timestamp` of all rows taken.
    #[must_use]
    pub fn oldest_ms(&self) -> i64 {
        self.rows.values().map(|row| row.process_timestamp_ms).min().unwrap_or_default()
    }

    /// How many rows were taken whose `process_timestamp` is before `ms`.
    #[must_use]
    pub fn rows_before(&self, ms: i64) -> usize {
        self.rows.values().filter(|row| row.process_timestamp_ms < ms).count()
    }

    /// How many rows were taken.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    fn add(&mut self, of_type: &str, key: &str, row: &Row) -> RowSeen {
        let seen = RowSeen {
            key: self.shared(key),
            process_timestamp_ms: row["process_timestamp"].as_i64().unwrap_or_default(),
            experiments: self.shared(&experiments(row)),
        };
        let identity = identity(of_type, &text(&row["visitor_id"]), &text(&row["uuid"]));
        if let Some(before) = self.rows.insert(identity.clone(), seen.clone()) {
            panic!("the row {identity} stands in {} and in {key}", before.key);
        }
        seen
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

fn identity(of_type: &str, visitor: &str, uuid: &str) -> String {
    format!("{of_type}\0{visitor}\0{uuid}")
}

fn experiments(row: &Row) -> String {
    let list = row.get("experiments").and_then(|list| list.as_array()).map(Vec::as_slice).unwrap_or_default();
    let entry =
        |entry: &serde_json::Value| format!("{}={}", text(&entry["experiment_id"]), text(&entry["variation_id"]));
    list.iter().map(entry).collect::<Vec<_>>().join(" ")
}

fn row_type(key: &str) -> Option<&'static str> {
    if !key.ends_with(".parquet") {
        return None;
    }
    ["decisions", "events"].into_iter().find(|name| key.contains(&format!("/type={name}/")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const FOLDER: &str = "v1/account_id=a/type=events/date=2026-03-01";

    /// Writes a file of one row under a folder of the store.
    fn write_row(store: &Path, name: &str, uuid: &str) {
        std::fs::create_dir_all(store.join(FOLDER)).unwrap();
        let schema = "message rows { optional binary uuid (UTF8); optional binary visitor_id (UTF8); \
                      optional int64 process_timestamp (TIMESTAMP_MILLIS); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = std::fs::File::create(store.join(FOLDER).join(name)).unwrap();
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for text in [uuid, "ann"] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(text)], Some(&[1]), None).unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7], Some(&[1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    async fn takes_twice(change: impl FnOnce(&Path)) -> Follower {
        let home = tempfile::tempdir().unwrap();
        write_row(home.path(), "1.parquet", "one");
        let export = Export::of_folder(home.path(), "a").unwrap();
        let mut follower = Follower::default();
        assert_eq!(follower.take(&export).await.unwrap().len(), 1);
        change(home.path());
        follower.take(&export).await.unwrap();
        follower.take_all_again(&export).await.unwrap();
        follower
    }

    #[tokio::test]
    async fn a_new_file_is_taken_once() {
        let follower = takes_twice(|store| write_row(store, "2.parquet", "two")).await;
        assert_eq!(follower.row_count(), 2);
        assert_eq!(follower.row("events", "ann", "two").unwrap().process_timestamp_ms, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "is gone")]
    async fn a_key_that_goes_is_noticed() {
        takes_twice(|store| std::fs::remove_file(store.join(FOLDER).join("1.parquet")).unwrap()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "has changed")]
    async fn a_key_that_changes_is_noticed() {
        takes_twice(|store| write_row(store, "1.parquet", "longer than before")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "stands in")]
    async fn a_row_in_two_files_is_noticed() {
        takes_twice(|store| write_row(store, "2.parquet", "one")).await;
    }
}
