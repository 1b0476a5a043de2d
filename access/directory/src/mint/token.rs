//! The session token: a JWT, HS256 and nothing else, that says what a credential opens and until when.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use millrace_schemas::layout::AccountId;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Lifetime;
use super::keys::{ServerKey, ServerKeys};
use crate::limits::{CLOCK_SKEW_MS_MAX, SESSION_TOKEN_BYTES_MAX};
use crate::scope::Scope;

const ISSUER: &str = "millrace";
const AUDIENCE: &str = "millrace-gateway";

/// What the token holds. The secret is not among it, nor derivable from it.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    /// Seconds since 1970.
    iat: i64,
    /// Seconds since 1970.
    exp: i64,
    /// The token's id.
    jti: String,
    /// The access key id it belongs to.
    key: String,
    account: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    export: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
}

impl Claims {
    pub(super) fn new(scope: &Scope, access_key_id: &str, token_id: String, now_s: i64, expiration_s: i64) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now_s,
            exp: expiration_s,
            jti: token_id,
            key: access_key_id.to_owned(),
            account: scope.account().as_str().to_owned(),
            export: scope.export().map(|export| export.name().to_owned()),
            date: scope.days(),
        }
    }
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it opens.
    pub scope: Scope,
    /// The token's id.
    pub token_id: String,
    /// Its end, ms since 1970.
    pub expiration_ms: i64,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Ours and unaltered, but its time is over: mint another.
    #[error("the session token has expired")]
    Expired,
    /// Not ours, altered, or of another access key id.
    #[error("the session token is not valid")]
    Invalid,
}

pub(super) fn sign(claims: &Claims, key: &ServerKey) -> Result<String, jsonwebtoken::errors::Error> {
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::HS256) };
    encode(&header, claims, &EncodingKey::from_secret(key.token_key().expose_secret()))
}

pub(super) fn verify(token: &str, access_key_id: &str, keys: &ServerKeys, now_ms: i64) -> Result<Verified, TokenError> {
    let invalid = |_| TokenError::Invalid;
    if token.len() > SESSION_TOKEN_BYTES_MAX {
        return Err(TokenError::Invalid);
    }
    let kid = decode_header(token).map_err(invalid)?.kid.ok_or(TokenError::Invalid)?;
    // A key long retired has made nothing that still lives: whoever asks with its token has an expired one at best.
    let key = keys.accepted(&kid, now_ms).ok_or(TokenError::Invalid)?;
    let decoding = DecodingKey::from_secret(key.token_key().expose_secret());
    let claims = decode::<Claims>(token, &decoding, &pinned()).map_err(invalid)?.claims;
    if claims.key != access_key_id {
        return Err(TokenError::Invalid);
    }
    let expiration_ms = claims.exp.checked_mul(1_000).ok_or(TokenError::Invalid)?;
    if now_ms >= expiration_ms {
        return Err(TokenError::Expired);
    }
    // Made by a clock far ahead of ours, it would outlive the hour.
    if expiration_ms - now_ms > Lifetime::MAX.as_ms() + CLOCK_SKEW_MS_MAX {
        return Err(TokenError::Invalid);
    }
    let account = AccountId::parse(&claims.account).ok_or(TokenError::Invalid)?;
    let scope =
        Scope::validate(account, claims.export.as_deref(), claims.date.as_deref()).map_err(|_| TokenError::Invalid)?;
    Ok(Verified { scope, token_id: claims.jti, expiration_ms })
}

fn pinned() -> Validation {
    let mut pinned = Validation::new(Algorithm::HS256);
    pinned.set_issuer(&[ISSUER]);
    pinned.set_audience(&[AUDIENCE]);
    pinned.set_required_spec_claims(&["iss", "aud", "exp"]);
    pinned.validate_exp = false; // against the caller's clock, not the machine's
    pinned
}
