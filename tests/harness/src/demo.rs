//! `demo.env`: the account, key, token and user of the first start.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// What `demo.env` says, name by name.
#[derive(Debug, Clone)]
pub struct Demo(BTreeMap<String, String>);

impl Demo {
    /// Reads lines `export NAME='value'`, as a shell that sources the file would.
    ///
    /// # Errors
    /// The file is not there, or a line has another form.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (name, value) = line
                .strip_prefix("export ")
                .and_then(|rest| rest.split_once("='"))
                .and_then(|(name, value)| Some((name, value.strip_suffix('\'')?)))
                .with_context(|| format!("not a line of the form export NAME='value': {line}"))?;
            values.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(values))
    }

    /// These names and values.
    #[must_use]
    pub fn of<const COUNT: usize>(values: [(&str, String); COUNT]) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The value of a name.
    ///
    /// # Panics
    /// The file has no such name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("demo.env has no {name}, only {:?}", self.0.keys()))
    }

    /// All names with their values, for a child process's environment.
    pub fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// `http://address:port` of the API.
    #[must_use]
    pub fn api(&self) -> &str {
        self.get("MILLRACE_API")
    }

    /// `http://address:port` of the S3 gateway.
    #[must_use]
    pub fn s3(&self) -> &str {
        self.get("MILLRACE_S3")
    }

    /// The bucket the gateway serves.
    #[must_use]
    pub fn bucket(&self) -> &str {
        self.get("MILLRACE_BUCKET")
    }

    /// The demo account's id.
    #[must_use]
    pub fn account(&self) -> &str {
        self.get("MILLRACE_ACCOUNT")
    }

    /// The demo API key; its single scope is `write`.
    #[must_use]
    pub fn api_key(&self) -> &str {
        self.get("MILLRACE_API_KEY")
    }

    /// The demo personal access token.
    #[must_use]
    pub fn pat(&self) -> &str {
        self.get("MILLRACE_PAT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_a_shell_would() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "export MILLRACE_API='http://127.0.0.1:1'\nexport MILLRACE_PAT='2:a=b'\n").unwrap();
        let demo = Demo::read(file.path()).unwrap();
        assert_eq!((demo.api(), demo.pat()), ("http://127.0.0.1:1", "2:a=b"));
        std::fs::write(file.path(), "MILLRACE_API=x\n").unwrap();
        assert!(Demo::read(file.path()).is_err());
    }
}
