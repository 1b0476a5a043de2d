//! The keys that sign scoped credentials, kept in the data folder.

use std::path::Path;

use millrace_directory::mint::{KEY_ENTROPY_BYTES, ServerKeys};
use millrace_directory::{ExposeSecret, SecretSource};

use crate::config::ConfigError;
use crate::error::StartError;
use crate::folder::write_private;

/// The folder's server keys; made if there are none. The file's mode is 0600.
///
/// # Errors
/// The file cannot be read or written, or holds no keys.
pub(crate) fn load_or_make(path: &Path, secrets: &dyn SecretSource) -> Result<ServerKeys, StartError> {
    match std::fs::read_to_string(path) {
        Ok(text) => ServerKeys::parse(&text).map_err(|error| StartError::other(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut entropy = [0; KEY_ENTROPY_BYTES];
            secrets.fill(&mut entropy).map_err(StartError::Other)?;
            let keys = ServerKeys::generate(entropy).map_err(|error| StartError::other(path, error))?;
            let text = keys.to_secret_text();
            write_private(path, text.expose_secret().as_bytes()).map_err(|error| StartError::other(path, error))?;
            Ok(keys)
        }
        Err(error) => Err(StartError::other(path, error)),
    }
}

/// The server keys of a cluster, which several processes share: they are made by a person, never here.
///
/// # Errors
/// There is no such file, it cannot be read, or its keys cannot be used.
pub(crate) fn load(path: &Path) -> Result<ServerKeys, StartError> {
    match std::fs::read_to_string(path) {
        Ok(text) => ServerKeys::parse(&text).map_err(|error| StartError::Config(told(path, &error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StartError::Config(told(path, &"there is no such file; `millrace server-keys create` makes one")))
        }
        Err(error) => Err(StartError::Config(told(path, &error))),
    }
}

fn told(path: &Path, what: &dyn std::fmt::Display) -> ConfigError {
    ConfigError(vec![format!("serve.server_keys: {}: {what}", path.display())])
}

#[cfg(test)]
mod tests {
    use millrace_directory::SystemSecrets;

    use super::*;

    #[test]
    fn keys_are_made_once_and_read_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("server-keys");
        let made = load_or_make(&path, &SystemSecrets).unwrap();
        let read = load_or_make(&path, &SystemSecrets).unwrap();
        assert_eq!(made.tag("test", b"text"), read.tag("test", b"text"));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(load_or_make(&path, &SystemSecrets).is_err(), "keys that do not read are never replaced");
    }
}
