//! Takes a configuration key by key, so that every mistake is reported at once.

use std::collections::BTreeSet;
use std::str::FromStr;

use figment::value::Value;
use figment::{Figment, Source};
use serde::de::DeserializeOwned;

use super::Text;
use super::environment::VARIABLE;

/// What is wrong with a source, without the line it is in: that may hold a secret.
fn unreadable(error: &figment::Error) -> String {
    let file = match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
        Some(Source::File(path)) => format!("{}: ", path.display()),
        _ => String::new(),
    };
    let message = error.kind.to_string();
    // TOML's errors: where, an excerpt behind bars, what.
    let told: Vec<&str> =
        message.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|')).collect();
    format!("{file}{}", told.join(": "))
}

/// A configuration that is being read. What was asked for is what exists: anything else in it is a mistake.
pub(super) struct Keys {
    figment: Figment,
    root: Value,
    asked: BTreeSet<&'static str>,
    mistakes: Vec<String>,
}

impl Keys {
    /// # Errors
    /// A source cannot be read at all (its syntax is wrong, say).
    pub(super) fn of(figment: Figment) -> Result<Self, Vec<String>> {
        match figment.find_value("") {
            Ok(root) => Ok(Self { figment, root, asked: BTreeSet::new(), mistakes: Vec::new() }),
            Err(error) => Err(error.into_iter().map(|error| unreadable(&error)).collect()),
        }
    }

    /// The key's value if it is set.
    pub(super) fn take_if_set<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.asked.insert(key);
        let value = self.root.find_ref(key)?;
        match self.read(value) {
            Ok(taken) => Some(taken),
            Err(wrong) => {
                self.mistakes.push(format!("{key}: {wrong} ({})", self.origin(value)));
                None
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, String> {
        let as_it_stands = T::deserialize(value);
        let name = self.figment.get_metadata(value.tag()).map(|metadata| &*metadata.name);
        match value.as_str().filter(|_| name == Some(VARIABLE)).map(str::parse::<Value>) {
            Some(Ok(parsed)) if as_it_stands.is_err() => T::deserialize(&parsed),
            _ => as_it_stands,
        }
        .map_err(|error| error.kind.to_string())
    }

    /// The key's value, or its default.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.take_if_set(key).unwrap_or(default)
    }

    /// As [`Keys::take_if_set`], for types that are read from text.
    pub(super) fn parse_if_set<T: FromStr>(&mut self, key: &'static str, what: &str) -> Option<T> {
        let Text(text) = self.take_if_set(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(key, &format!("{text:?} is not {what}"));
        }
        parsed
    }

    /// As [`Keys::take`], for types that are read from text.
    pub(super) fn parse<T: FromStr>(&mut self, key: &'static str, what: &str, default: T) -> T {
        self.parse_if_set(key, what).unwrap_or(default)
    }

    /// Notes that a key's value cannot be used.
    pub(super) fn wrong(&mut self, key: &'static str, what: &str) {
        let origin = self.root.find_ref(key).map(|value| format!(" ({})", self.origin(value)));
        self.mistakes.push(format!("{key}: {what}{}", origin.unwrap_or_default()));
    }

    /// Notes what a part of the configuration finds wrong in itself.
    pub(super) fn also_wrong(&mut self, mistakes: impl IntoIterator<Item = String>) {
        self.mistakes.extend(mistakes);
    }

    /// Notes which of these keys are not set, or set to nothing.
    pub(super) fn need(&mut self, keys: &[&'static str]) {
        for key in keys {
            let value = self.root.find_ref(key);
            if value.is_none_or(|value| value.as_str().is_some_and(str::is_empty)) {
                self.wrong(key, "must be set");
            }
        }
    }

    /// Whether a command line flag set the key.
    pub(super) fn is_flag(&self, key: &str) -> bool {
        self.root.find_ref(key).is_some_and(|value| self.origin(value).starts_with("--"))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every mistake, unknown keys included.
    pub(super) fn finish(mut self) -> Result<BTreeSet<&'static str>, Vec<String>> {
        let mut unknown = Vec::new();
        self.find_unknown(String::new(), &self.root, &mut unknown);
        self.mistakes.extend(unknown);
        if self.mistakes.is_empty() { Ok(self.asked) } else { Err(self.mistakes) }
    }

    fn find_unknown(&self, path: String, value: &Value, unknown: &mut Vec<String>) {
        if self.asked.contains(path.as_str()) {
            return;
        }
        let inside = if path.is_empty() { String::new() } else { format!("{path}.") };
        let is_section = path.is_empty() || self.asked.iter().any(|key| key.starts_with(&inside));
        match value.as_dict() {
            Some(dict) if is_section || !dict.is_empty() => {
                for (name, value) in dict {
                    self.find_unknown(format!("{inside}{name}"), value, unknown);
                }
            }
            _ if is_section => {
                unknown.push(format!("{path}: is a section, not a value ({})", self.origin(value)));
            }
            _ => {
                let origin = self.origin(value);
                unknown.push(format!("{path}: unknown key ({origin}){}", self.neighbours(&path)));
            }
        }
    }

    /// The keys there are in the section of an unknown key.
    fn neighbours(&self, path: &str) -> String {
        let section = path.rsplit_once('.').map_or("", |(section, _)| section);
        let inside = if section.is_empty() { String::new() } else { format!("{section}.") };
        let names =
            self.asked.iter().filter_map(|key| key.strip_prefix(&inside)).filter_map(|rest| rest.split('.').next());
        let names: BTreeSet<&str> = names.collect();
        if names.is_empty() {
            return String::new();
        }
        let place = if section.is_empty() { "at the top level".to_owned() } else { format!("in [{section}]") };
        format!("; {place} there are {}", names.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Where a value comes from, as its writer knows it.
    fn origin(&self, value: &Value) -> String {
        let metadata = self.figment.get_metadata(value.tag());
        match metadata.and_then(|metadata| metadata.source.as_ref()) {
            Some(Source::File(path)) => path.display().to_string(),
            Some(Source::Custom(name)) => name.clone(),
            _ => "of unknown origin".to_owned(),
        }
    }
}
