//! `[store]`: the bucket that holds segments, snapshots and exported files.

use std::collections::BTreeMap;

use super::keys::Keys;
use super::{Secret, Text};

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The bucket's name.
    pub bucket: String,
    /// The store's address; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path, not in the host name.
    pub path_style: bool,
    /// A fixed credential; `None`: the environment's, or the machine's role.
    pub credential: Option<(String, Secret)>,
    /// The variables `AWS_…` of the environment.
    pub environment: BTreeMap<String, Secret>,
}

impl Store {
    pub(super) fn take(keys: &mut Keys, environment: BTreeMap<String, Secret>) -> Self {
        let mut text = |key| keys.take_if_set::<Text>(key).map(|Text(text)| text).filter(|text| !text.is_empty());
        let bucket = text("store.bucket").unwrap_or_default();
        let endpoint = text("store.endpoint");
        let region = text("store.region").unwrap_or_else(|| "us-east-1".to_owned());
        let access_key_id = text("store.access_key_id");
        let secret = keys.take_if_set::<Secret>("store.secret_access_key").filter(|secret| !secret.expose().is_empty());
        if endpoint.as_ref().is_some_and(|endpoint| !is_address(endpoint)) {
            keys.wrong("store.endpoint", "is not an address like https://s3.example.com");
        }
        let credential = match (access_key_id, secret) {
            (Some(id), Some(secret)) => Some((id, secret)),
            (None, None) => None,
            (Some(_), None) => {
                keys.wrong("store.access_key_id", "is set, so store.secret_access_key must be set too");
                None
            }
            (None, Some(_)) => {
                keys.wrong("store.secret_access_key", "is set, so store.access_key_id must be set too");
                None
            }
        };
        // Amazon wants the bucket in the host name; other stores mostly have no names for it.
        let path_style = keys.take("store.path_style", endpoint.is_some());
        Self { bucket, endpoint, region, path_style, credential, environment }
    }
}

fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}
