//! The API's credentials for an export.

use millrace_directory::{ExposeSecret, SecretString};
use reqwest::Client;
use serde::Deserialize;

use crate::cli::with_causes;
use crate::limits::LOAD_WAIT;

/// The API, asked with one token for one type of export.
pub(super) struct Api {
    client: Client,
    url: String,
    pat: SecretString,
}

/// What the API hands out.
#[derive(Deserialize)]
pub(super) struct Minted {
    pub(super) credentials: Credentials,
    /// `s3://bucket/prefix/` of what they open.
    #[serde(rename = "s3Path")]
    pub(super) s3_path: String,
}

/// A scoped credential.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: String,
    /// Milliseconds since 1970.
    pub(super) expiration: i64,
}

#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    message: String,
    #[serde(default)]
    messages: Vec<String>,
}

impl Api {
    /// `of_type` must be a type's name: it goes into the address as it is.
    pub(super) fn new(url: &str, pat: SecretString, of_type: &str) -> Result<Self, String> {
        let client = Client::builder().timeout(LOAD_WAIT).build().map_err(|error| error.to_string())?;
        let url = format!("{}/v2/export/credentials?type={of_type}&duration=1h", url.trim_end_matches('/'));
        Ok(Self { client, url, pat })
    }

    /// Mints a fresh credential.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub(super) async fn mint(&self) -> Result<Minted, String> {
        let answer = self.client.get(&self.url).bearer_auth(self.pat.expose_secret()).send().await;
        let answer = answer.map_err(|error| format!("no credentials: {}", with_causes(&error)))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| format!("no credentials: {}", with_causes(&error)))?;
        if !status.is_success() {
            let Refused { message, messages } = serde_json::from_slice(&body).unwrap_or_default();
            let said = if messages.is_empty() { message } else { messages.join("; ") };
            return Err(format!("no credentials: {status} {said} ({})", self.url));
        }
        serde_json::from_slice(&body).map_err(|error| format!("no credentials: not an answer of Millrace: {error}"))
    }
}
