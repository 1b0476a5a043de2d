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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::routing::get;
    use axum::{Json, Router};
    use http::StatusCode;
    use millrace_clock::{Clock, ManualClock};
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// An API that mints credentials for an hour, named by their number, unless it is down.
    struct FakeApi {
        clock: Arc<ManualClock>,
        minted: AtomicUsize,
        down: AtomicBool,
    }

    async fn renewed(fake: &Arc<FakeApi>) -> Renewed {
        let answering = Arc::clone(fake);
        let mint = async move || {
            if answering.down.load(Ordering::SeqCst) {
                return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": "later"})));
            }
            let number = answering.minted.fetch_add(1, Ordering::SeqCst);
            let credentials = json!({
                "accessKeyId": number.to_string(), "secretAccessKey": "s", "sessionToken": "t",
                "expiration": answering.clock.now_ms() + 3_600_000,
            });
            (StatusCode::OK, Json(json!({"credentials": credentials, "s3Path": "s3://b/v1/account_id=a/"})))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v2/export/credentials", get(mint));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let api = Api::new(&url, "2:token".into(), "events").unwrap();
        let first = api.mint().await.unwrap();
        Renewed::new(api, first, fake.clock.clone())
    }

    #[tokio::test]
    async fn credentials_are_renewed_at_half_their_life_and_kept_while_they_cannot_be() {
        let clock = ManualClock::at(1_772_409_000_000);
        let fake =
            Arc::new(FakeApi { clock: clock.clone(), minted: AtomicUsize::new(0), down: AtomicBool::new(false) });
        let renewed = renewed(&fake).await;
        let key = async || renewed.get_credential().await.map(|credential| credential.key_id.clone());

        clock.advance(29 * MINUTE);
        assert_eq!(key().await.unwrap(), "0");
        clock.advance(MINUTE);
        assert_eq!(key().await.unwrap(), "1", "at half its life it is renewed");
        assert_eq!(key().await.unwrap(), "1", "and then kept");

        fake.down.store(true, Ordering::SeqCst);
        clock.advance(59 * MINUTE);
        assert_eq!(key().await.unwrap(), "1", "it is good to its end");
        clock.advance(MINUTE);
        let said = key().await.unwrap_err().to_string();
        assert!(said.contains("later"), "{said}");
        fake.down.store(false, Ordering::SeqCst);
        assert_eq!(key().await.unwrap(), "2");
    }
}
