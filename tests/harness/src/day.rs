//! What a closed day promises: `_SUCCESS` is there, and manifest, listing and files say the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::export::{Export, Listed};
use crate::rows;

/// The key of an object directly under a day; rejects have a root of their own. `listed`: a listing of the account's scope
/// that is not empty.
#[must_use]
pub fn key(listed: &BTreeMap<String, Listed>, of_type: &str, date: &str, name: &str) -> String {
    let root = listed.keys().next().and_then(|key| key.split("/type=").next()).unwrap_or_default();
    match of_type {
        "rejected" => format!("rejected/{root}/date={date}/{name}"),
        _ => format!("{root}/type={of_type}/date={date}/{name}"),
    }
}

/// The manifest of a day that has closed.
///
/// # Errors
/// The export cannot be read.
///
/// # Panics
/// The day has not closed, or its manifest and its files disagree.
pub async fn manifest_of_closed(export: &Export, of_type: &str, date: &str) -> anyhow::Result<Value> {
    let listed = export.list().await?;
    let folder = key(&listed, of_type, date, "");
    let keys: Vec<String> = listed.into_keys().filter(|key| key.starts_with(&folder)).collect();
    manifest_of_listed(export, of_type, date, &keys).await
}

/// Like [`manifest_of_closed`], of a day whose keys the caller has listed, in order: no listing of the account's scope
/// shows rejects.
///
/// # Errors
/// The export cannot be read.
///
/// # Panics
/// The day has not closed, or its manifest and its files disagree.
pub async fn manifest_of_listed(
    export: &Export,
    of_type: &str,
    date: &str,
    listed: &[String],
) -> anyhow::Result<Value> {
    let folder = listed.iter().find_map(|key| key.strip_suffix("_SUCCESS"));
    let folder = folder.unwrap_or_else(|| panic!("{of_type} {date} has not closed: {} keys", listed.len()));
    assert!(export.read(&format!("{folder}_SUCCESS")).await?.is_empty(), "_SUCCESS of {of_type} {date} is not empty");
    let manifest: Value = serde_json::from_slice(&export.read(&format!("{folder}_manifest.json")).await?)?;
    assert_eq!((&manifest["date"], &manifest["type"]), (&json!(date), &json!(of_type)), "{manifest:#}");

    let files = manifest["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut in_manifest: Vec<&str> = files.iter().filter_map(|file| file["key"].as_str()).collect();
    in_manifest.sort_unstable();
    let in_listing: Vec<&String> = listed.iter().filter(|key| key.ends_with(".parquet")).collect();
    assert_eq!(in_manifest, in_listing, "the manifest lists every file and no other");
    let mut rows_read = 0;
    for file in files {
        let bytes = export.read(file["key"].as_str().unwrap_or_default()).await?;
        assert_eq!(file["bytes"], json!(bytes.len()), "{file}");
        assert_eq!(file["sha256"], json!(hex::encode(Sha256::digest(&bytes))), "{file}");
        let rows = rows::read(bytes, &[])?;
        assert_eq!(file["rows"], json!(rows.len()), "{file}");
        rows_read += rows.len();
    }
    assert_eq!(manifest["rows"], json!(rows_read), "{of_type} {date}");
    Ok(manifest)
}
