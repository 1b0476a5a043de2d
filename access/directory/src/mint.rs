//! Minting: validate, then authorise, then mint, in an order that cannot be got wrong.
//!
//! ```text
//! text ──Scope::validate──> Scope ──Grant::authorise──> Grant ──mint──> ScopedCredential
//! ```
//! Each arrow takes what only the one before can make. A credential is stateless: whoever holds the [`ServerKeys`]
//! can check it. Its secret is HMAC(server key, access key id) and stands in no token; its session token is a JWT
//! that names the scope, the access key id it belongs to, and its end, at most [`Lifetime::MAX`] away.

mod grant;
mod keys;
mod lifetime;
mod token;

pub use grant::{Denied, Grant};
pub use keys::{KEY_ENTROPY_BYTES, KeysError, ServerKeys};
pub use lifetime::{Lifetime, LifetimeError};
pub use token::{TokenError, Verified};

use secrecy::SecretString;

use crate::scope::Scope;

/// The random bytes one credential takes.
pub const CREDENTIAL_ENTROPY_BYTES: usize = 26;

/// What is handed out: enough to sign S3 requests with, for at most an hour.
#[derive(Debug)]
pub struct ScopedCredential {
    /// Public: names the credential in requests and in the audit trail.
    pub access_key_id: String,
    /// Signs requests; derived from the access key id, stored nowhere.
    pub secret_access_key: SecretString,
    /// Says what it opens and until when.
    pub session_token: SecretString,
    /// Its end, ms since 1970; a whole second.
    pub expiration_ms: i64,
    /// What it opens.
    pub scope: Scope,
}

/// Makes the credential of a grant. `entropy` must come from a cryptographic source.
///
/// # Errors
/// The token could not be signed, which no caller can cause.
pub fn mint(
    grant: Grant,
    keys: &ServerKeys,
    now_ms: i64,
    lifetime: Lifetime,
    entropy: [u8; CREDENTIAL_ENTROPY_BYTES],
) -> Result<ScopedCredential, jsonwebtoken::errors::Error> {
    let scope = grant.into_scope();
    let key = keys.signing();
    // Rounded down, so that no rounding makes it longer than asked for.
    let expiration_s = now_ms.saturating_add(lifetime.as_ms()).div_euclid(1_000);
    let (name, token_id) = entropy.split_at(10);
    let access_key_id = key.access_key_id(name);
    let claims =
        token::Claims::new(&scope, &access_key_id, hex::encode(token_id), now_ms.div_euclid(1_000), expiration_s);
    Ok(ScopedCredential {
        secret_access_key: key.secret_access_key(&access_key_id),
        session_token: token::sign(&claims, key)?.into(),
        expiration_ms: expiration_s * 1_000,
        access_key_id,
        scope,
    })
}

/// The secret of an access key id, if one of the keys made it and is still accepted.
#[must_use]
pub fn secret_of(access_key_id: &str, keys: &ServerKeys, now_ms: i64) -> Option<SecretString> {
    Some(keys.of_access_key_id(access_key_id, now_ms)?.secret_access_key(access_key_id))
}

/// What a session token says, if it is ours, unaltered, unexpired and belongs to `access_key_id`.
///
/// # Errors
/// [`TokenError::Expired`] for a good token whose time is over, else [`TokenError::Invalid`].
pub fn verify(token: &str, access_key_id: &str, keys: &ServerKeys, now_ms: i64) -> Result<Verified, TokenError> {
    token::verify(token, access_key_id, keys, now_ms)
}

#[cfg(test)]
mod tests;
