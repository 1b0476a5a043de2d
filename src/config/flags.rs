//! Command line flags as the last word on the configuration.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider, Source};

/// One flag that was given: it sets one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As typed, e.g. `--slot`.
    pub name: &'static str,
    /// The key it sets, e.g. `export.slot`.
    pub key: &'static str,
    /// The value, in the form a configuration file has it.
    pub value: String,
}

impl Provider for Flag {
    fn metadata(&self) -> Metadata {
        Metadata::from("command line flag", Source::Custom(self.name.to_owned()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(nested(self.key, Value::from(self.value.clone())))
    }
}

/// `a.b = value` as figment holds it.
pub(super) fn nested(key: &str, value: Value) -> Map<Profile, Dict> {
    let mut names = key.rsplit('.');
    let last = names.next().unwrap_or_default().to_owned();
    let dict = names.fold(Dict::from([(last, value)]), |dict, name| Dict::from([(name.to_owned(), Value::from(dict))]));
    Profile::Default.collect(dict)
}
