//! Passwords: argon2id, as PHC strings.
//!
//! Hashing is slow and large on purpose. The async functions do it on a blocking thread, few at once; a caller that is not
//! in a hurry and not in an async task may use [`hash_password`].

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_directory::{ExposeSecret, SecretSource, SecretString, SystemSecrets};
use tokio::sync::Semaphore;

use crate::limits::{HASHES_AT_ONCE, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORD_MADE_BYTES};

const SALT_BYTES: usize = 16;

static AT_ONCE: Semaphore = Semaphore::const_new(HASHES_AT_ONCE);

/// Why a password was not hashed. No variant holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long: choose another.
    #[error("{0}")]
    Unfit(String),
    /// No fault of the password: try again.
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

/// Makes a password for somebody who has not chosen one: 144 random bits, url-safe.
///
/// # Errors
/// The source of randomness failed.
pub fn generate(source: &dyn SecretSource) -> Result<SecretString, PasswordError> {
    let mut bytes = [0; PASSWORD_MADE_BYTES];
    source.fill(&mut bytes).map_err(PasswordError::Failed)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// The argon2id hash of a password as a PHC string, its salt from `source`. On a blocking thread.
///
/// # Errors
/// [`PasswordError::Unfit`] if its length is out of bounds.
pub async fn hash(password: &SecretString, source: Arc<dyn SecretSource>) -> Result<String, PasswordError> {
    let password = password.clone();
    apart(move || hash_with(&password, source.as_ref())).await?
}

/// Whether `phc` is a hash of this password. On a blocking thread. A text that is no PHC string verifies nothing.
///
/// # Errors
/// [`PasswordError::Failed`] only: it cannot be told now.
pub async fn verify(password: &SecretString, phc: &str) -> Result<bool, PasswordError> {
    if password.expose_secret().len() > PASSWORD_BYTES_MAX {
        return Ok(false);
    }
    let (password, phc) = (password.clone(), phc.to_owned());
    apart(move || {
        PasswordHash::new(&phc)
            .is_ok_and(|hash| Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok())
    })
    .await
}

/// As [`hash`], on this thread, with the system's generator.
///
/// # Errors
/// As [`hash`].
pub fn hash_password(password: &SecretString) -> Result<String, PasswordError> {
    hash_with(password, &SystemSecrets)
}

fn hash_with(password: &SecretString, source: &dyn SecretSource) -> Result<String, PasswordError> {
    let text = password.expose_secret();
    if text.chars().count() < PASSWORD_CHARS_MIN {
        return Err(PasswordError::Unfit(format!("must have at least {PASSWORD_CHARS_MIN} characters")));
    }
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Unfit(format!("must have at most {PASSWORD_BYTES_MAX} bytes")));
    }
    let mut salt = [0; SALT_BYTES];
    source.fill(&mut salt).map_err(PasswordError::Failed)?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(hash.to_string())
}

/// Runs slow work on a blocking thread, when it is its turn.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
    let failed = |error: &dyn std::error::Error| PasswordError::Failed(error.to_string());
    let turn = AT_ONCE.acquire().await.map_err(|error| failed(&error))?;
    let worked = tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error));
    drop(turn);
    worked
}

#[cfg(test)]
mod tests;
