//! Environment variables that set keys: `MILLRACE__SECTION__KEY`.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider, Source};

use super::flags::nested;

/// What each begins with. Client variables (`MILLRACE_API`) have a single underscore: they set nothing here.
const PREFIX: &str = "MILLRACE__";

/// What such a source is called.
pub(super) const VARIABLE: &str = "environment variable";

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
