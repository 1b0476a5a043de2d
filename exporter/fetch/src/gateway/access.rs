//! Behind the signature: whose secret it is, what the session token opens, and which operations there are.

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_directory::ExposeSecret;
use millrace_directory::mint::{self, ServerKeys, TokenError};
use millrace_directory::scope::Scope;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::answer::{Notes, denied, refused};
use super::door::SessionToken;
use crate::Services;

/// The operations there are, as metrics name them. Every other is refused, whatever it would do.
const OPERATIONS: [&str; 6] =
    ["s3:ListObjects", "s3:ListObjectsV2", "s3:HeadObject", "s3:GetObject", "s3:HeadBucket", "s3:GetBucketLocation"];

/// Secrets of access key ids, derived, not stored.
pub(super) struct Secrets {
    keys: Arc<ServerKeys>,
    clock: SharedClock,
}

impl Secrets {
    pub(super) fn new(services: &Services) -> Self {
        Self { keys: services.keys.clone(), clock: services.clock.clone() }
    }
}

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = mint::secret_of(access_key, &self.keys, self.clock.now_ms()).ok_or_else(|| {
            refused(S3ErrorCode::InvalidAccessKeyId, "The access key id you provided does not exist in our records.")
        })?;
        Ok(SecretKey::from(secret.expose_secret()))
    }
}

/// Opens the request's scope, which operations then find in its extensions.
pub(super) struct Access {
    keys: Arc<ServerKeys>,
    clock: SharedClock,
    bucket: String,
}

impl Access {
    pub(super) fn new(services: &Services) -> Self {
        Self { keys: services.keys.clone(), clock: services.clock.clone(), bucket: services.config.bucket.clone() }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    /// Runs after the signature was found good and before the request is read further.
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let access_key_id = request.credentials().ok_or_else(denied)?.access_key.clone();
        let notes = request.extensions_mut().get::<Notes>().cloned().unwrap_or_default();
        notes.set_access_key_id(&access_key_id);
        let name = request.s3_op().name();
        let operation =
            OPERATIONS.into_iter().find(|known| known.strip_prefix("s3:") == Some(name)).ok_or_else(denied)?;
        notes.set_operation(operation);
        let token = request.extensions_mut().remove::<SessionToken>().ok_or_else(denied)?;
        let verified =
            mint::verify(&token.0, &access_key_id, &self.keys, self.clock.now_ms()).map_err(|error| match error {
                TokenError::Expired => refused(S3ErrorCode::ExpiredToken, "The provided token has expired."),
                TokenError::Invalid => refused(S3ErrorCode::AccessDenied, "The provided token is not valid."),
            })?;
        if request.s3_path().get_bucket_name() != Some(self.bucket.as_str()) {
            return Err(denied());
        }
        request.extensions_mut().insert(verified.scope);
        Ok(())
    }
}

/// The scope [`Access`] opened for this request, and where to leave notes.
pub(super) fn opened<T>(request: &mut S3Request<T>) -> Result<(Scope, Notes), S3Error> {
    let scope = request.extensions.remove::<Scope>().ok_or_else(denied)?;
    Ok((scope, request.extensions.remove::<Notes>().unwrap_or_default()))
}
