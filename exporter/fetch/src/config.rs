//! Settings of the fetch side.

use millrace_schemas::layout::BUCKET_DEFAULT;
use serde::Deserialize;

/// Settings, with what they are unless set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bucket clients see: in `s3Path`, and the only one the gateway serves.
    pub bucket: String,
    /// The gateway's address as clients reach it, e.g. `https://exports.example.com`. Its host name tells a bucket in
    /// the host (`bucket.exports.example.com`) from the gateway's own name.
    pub s3_url: String,
    /// How the store encrypts at rest, where it does: carried in `x-amz-server-side-encryption`.
    pub encryption: Option<Encryption>,
}

/// Encryption at rest, as the store is configured for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Encryption {
    /// Keys of the store (SSE-S3).
    #[serde(rename = "AES256")]
    Aes256,
    /// Keys of a key service (SSE-KMS).
    #[serde(rename = "aws:kms")]
    AwsKms,
}

impl Encryption {
    /// The header's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::AwsKms => "aws:kms",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { bucket: BUCKET_DEFAULT.to_owned(), s3_url: "http://127.0.0.1:9000".to_owned(), encryption: None }
    }
}

/// A setting that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// S3 clients refuse other names.
    #[error("bucket `{0}`: 3 to 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit")]
    Bucket(String),
    /// Clients are sent to this address.
    #[error("s3_url `{0}`: expected http://host[:port] or https://host[:port]")]
    S3Url(String),
}

impl Config {
    /// Every mistake there is.
    #[must_use]
    pub fn mistakes(&self) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        if !s3s::path::check_bucket_name(&self.bucket) {
            mistakes.push(ConfigError::Bucket(self.bucket.clone()));
        }
        if self.s3_host().is_none() {
            mistakes.push(ConfigError::S3Url(self.s3_url.clone()));
        }
        mistakes
    }

    /// The gateway's host name as clients write it, without port, in lower case.
    pub(crate) fn s3_host(&self) -> Option<String> {
        let uri: http::Uri = self.s3_url.parse().ok()?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none();
        plain.then(|| uri.host().map(str::to_ascii_lowercase)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported() {
        assert_eq!(Config::default().mistakes(), []);
        let wrong = Config { bucket: "No_Bucket".into(), s3_url: "ftp://x".into(), encryption: None };
        assert_eq!(wrong.mistakes(), [ConfigError::Bucket("No_Bucket".into()), ConfigError::S3Url("ftp://x".into())]);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"bucket":"abc","encryption":"AES256"}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"buckets":"abc"}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"encryption":"none"}"#).is_err());
    }
}
