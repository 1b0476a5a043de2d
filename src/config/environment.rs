//! Environment variables that set keys: `MILLRACE__SECTION__KEY`.

use std::ffi::OsString;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider, Source};

use super::ConfigError;
use super::flags::nested;

/// What each begins with. Client variables (`MILLRACE_API`) have a single underscore: they set nothing here.
const PREFIX: &str = "MILLRACE__";

/// What such a source is called.
pub(super) const VARIABLE: &str = "environment variable";

/// The environment of this process. Variables that are none of ours need not be text.
///
/// # Errors
/// Variables of ours that are no text, by name.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    read(std::env::vars_os())
}

fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let (mut texts, mut wrong) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with(PREFIX) => wrong.push(format!("{name}: is not UTF-8 ({VARIABLE})")),
            Err(_) => {}
        }
    }
    if wrong.is_empty() { Ok(texts) } else { Err(ConfigError(wrong)) }
}

/// One variable that sets a key.
pub(super) struct Variable {
    name: String,
    key: String,
    value: String,
}

impl Variable {
    /// The variable, if it sets a key. Its value is text as it stands; where a key is no text, it is read as TOML would be.
    pub(super) fn of((name, value): (String, String)) -> Option<Self> {
        let key = name.strip_prefix(PREFIX)?.replace("__", ".").to_lowercase();
        Some(Self { name, key, value })
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::from(VARIABLE, Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(nested(&self.key, Value::from(self.value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn what_is_no_text_is_left_out_and_told_where_it_is_ours() {
        let no_text = || OsString::from_vec(vec![0xff]);
        let theirs = [("PATH".into(), no_text()), ("HOME".into(), "/root".into())];
        assert_eq!(read(theirs.clone()), Ok(vec![("HOME".to_owned(), "/root".to_owned())]));
        let ours = [("MILLRACE__KAFKA__INSTANCE".into(), no_text())];
        let told = read(theirs.into_iter().chain(ours)).unwrap_err().0;
        assert_eq!(told, ["MILLRACE__KAFKA__INSTANCE: is not UTF-8 (environment variable)"]);
    }
}
