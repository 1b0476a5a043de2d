//! Credentials that are renewed at half their life, so that a long download never meets their end.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_clock::SharedClock;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::api::{Api, Minted};

/// Gives the S3 client its credentials.
pub(super) struct Renewed {
    api: Api,
    clock: SharedClock,
    held: Mutex<Held>,
}

struct Held {
    credential: Arc<AwsCredential>,
    renew_ms: i64,
    expires_ms: i64,
}

impl Held {
    fn new(minted: Minted, now_ms: i64) -> Self {
        let credentials = minted.credentials;
        Self {
            credential: Arc::new(AwsCredential {
                key_id: credentials.access_key_id,
                secret_key: credentials.secret_access_key,
                token: Some(credentials.session_token),
            }),
            renew_ms: now_ms + (credentials.expiration - now_ms) / 2,
            expires_ms: credentials.expiration,
        }
    }
}

impl Renewed {
    /// Begins with a credential just minted.
    pub(super) fn new(api: Api, minted: Minted, clock: SharedClock) -> Self {
        let held = Mutex::new(Held::new(minted, clock.now_ms()));
        Self { api, clock, held }
    }
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewed(hidden)")
    }
}

#[async_trait]
impl CredentialProvider for Renewed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now_ms = self.clock.now_ms();
        if now_ms >= held.renew_ms {
            match self.api.mint().await {
                Ok(minted) => *held = Held::new(minted, now_ms),
                // The present one is still good: the next request tries again.
                Err(error) if now_ms < held.expires_ms => tracing::debug!(error, "credentials were not renewed"),
                Err(error) => return Err(object_store::Error::Generic { store: "S3", source: error.into() }),
            }
        }
        Ok(Arc::clone(&held.credential))
    }
}
