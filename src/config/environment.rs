//! Environment variables that set keys: `MILLRACE__SECTION__KEY`.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider, Source};

use super::flags::nested;

/// What each begins with. Client variables (`MILLRACE_API`) have a single underscore: they set nothing here.
const PREFIX: &str = "MILLRACE__";

/// One variable that sets a key.
pub(super) struct Variable {
    name: String,
    key: String,
    value: Value,
}

impl Variable {
    /// The variable, if it sets a key. Its value is read as TOML would be, and as text if it is none.
    pub(super) fn of((name, value): (String, String)) -> Option<Self> {
        let key = name.strip_prefix(PREFIX)?.replace("__", ".").to_lowercase();
        let value = value.parse().unwrap_or_else(|_| Value::from(value));
        Some(Self { name, key, value })
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::from("environment variable", Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(nested(&self.key, self.value.clone()))
    }
}
