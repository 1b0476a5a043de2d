//! The object store of a cluster: an S3 bucket.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::config::Store;
use crate::error::StartError;
use crate::limits::{STORE_CONNECT_WAIT, STORE_ERROR_CHARS_MAX, STORE_RETRIES, STORE_RETRY_WAIT, STORE_WAIT};

/// What a store says when waiting does not help.
const REFUSALS: [&str; 6] = [
    "NoSuchBucket",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "InvalidBucketName",
    "PermanentRedirect",
];

/// Opens the bucket; no request is made.
///
/// # Errors
/// What is configured does not fit together.
pub(crate) fn open_store(config: &Store) -> Result<Arc<dyn ObjectStore>, StartError> {
    let client = ClientOptions::new()
        .with_timeout(STORE_WAIT)
        .with_connect_timeout(STORE_CONNECT_WAIT)
        // Nothing but an address that says so is spoken to without TLS.
        .with_allow_http(config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")));
    let retry = RetryConfig { max_retries: STORE_RETRIES, retry_timeout: STORE_RETRY_WAIT, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_virtual_hosted_style_request(!config.path_style)
        .with_client_options(client)
        .with_retry(retry);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    match &config.credential {
        Some((id, secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose()),
        None => {
            for (name, value) in &config.environment {
                // An endpoint in the environment is mostly our own gateway: what a shell reads exports with.
                if let Some(key) = name.to_ascii_lowercase().parse().ok().filter(is_credential) {
                    builder = builder.with_config(key, value.expose());
                }
            }
        }
    }
    let store = builder.build().map_err(|error| StartError::Store(told(config, &error.to_string())))?;
    Ok(Arc::new(store))
}

/// Whether a variable says who we are, and not where the store is.
fn is_credential(key: &AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as Key;
    matches!(
        key,
        Key::AccessKeyId
            | Key::SecretAccessKey
            | Key::Token
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::ContainerAuthorizationTokenFile
            | Key::WebIdentityTokenFile
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::StsEndpoint
            | Key::MetadataEndpoint
            | Key::ImdsV1Fallback
    )
}

/// Why the store cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It may pass.
    Wait(String),
    /// The configuration, or the store's.
    Mend(String),
}

/// Looks whether the bucket is there and lets us list.
///
/// # Errors
/// By whether waiting helps.
pub(super) async fn look(store: &dyn ObjectStore) -> Result<(), Refusal> {
    let Err(error) = store.list_with_delimiter(Some(&Path::from("_millrace/start"))).await else { return Ok(()) };
    Err(refusal(&error))
}

fn refusal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    // The answer's body may repeat what was signed: its code says enough.
    match REFUSALS.into_iter().find(|code| text.contains(code)) {
        Some(code) => Refusal::Mend(code.to_owned()),
        None => Refusal::Wait(text.chars().take(STORE_ERROR_CHARS_MAX).collect()),
    }
}

/// A reason, with the bucket it is about.
pub(super) fn told(config: &Store, reason: &str) -> String {
    let endpoint = config.endpoint.as_deref().unwrap_or("Amazon");
    format!("the bucket {} at {endpoint}: {reason}", config.bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: std::io::Error::other(text.to_owned()).into() }
    }

    #[test]
    fn what_waiting_does_not_help_is_told_by_its_code_alone() {
        let answer = "403: <Error><Code>SignatureDoesNotMatch</Code><StringToSign>AWS4 hush</StringToSign></Error>";
        assert_eq!(refusal(&says(answer)), Refusal::Mend("SignatureDoesNotMatch".to_owned()));
        assert_eq!(refusal(&says("404: NoSuchBucket")), Refusal::Mend("NoSuchBucket".to_owned()));
    }

    #[test]
    fn what_may_pass_is_waited_for() {
        for text in ["connection refused", "503: SlowDown", &"x".repeat(10_000)] {
            let Refusal::Wait(reason) = refusal(&says(text)) else { panic!("{text} is no reason to give up") };
            assert!(reason.chars().count() <= STORE_ERROR_CHARS_MAX);
        }
    }

    #[test]
    fn of_the_environment_only_credentials_are_taken() {
        let is = |name: &str| name.to_ascii_lowercase().parse().is_ok_and(|key| is_credential(&key));
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
            assert!(is(name), "{name}");
        }
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP", "AWS_SKIP_SIGNATURE", "AWS_BUCKET"] {
            assert!(!is(name), "{name}");
        }
    }
}
