//! What the commands on accounts, users, keys and tokens have in common: create, change, list, revoke.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::local::Target;
use super::table::table;
use super::{CommandFailure, say};

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// A kind of thing the directory holds.
pub(super) struct Kind {
    /// Its route.
    pub(super) path: &'static str,
    /// The name of the list in the answer of GET.
    pub(super) list: &'static str,
    /// What a list shows.
    pub(super) columns: &'static [&'static str],
    /// The field that holds what is shown once, and what to call it.
    pub(super) secret: Option<(&'static str, &'static str)>,
    /// What DELETE does to it.
    pub(super) revoked: &'static str,
}

/// One kind of thing, in one Millrace.
pub(super) struct Directory {
    kind: &'static Kind,
    target: Target,
    output: Output,
}

impl Directory {
    pub(super) fn new(kind: &'static Kind, target: Target, output: Output) -> Self {
        Self { kind, target, output }
    }

    /// Makes one and prints it, its secret included.
    ///
    /// # Errors
    /// What the directory says.
    pub(super) async fn create(&self, body: Value) -> Result<(), CommandFailure> {
        let made = self.call(Method::POST, self.kind.path, Some(without_nulls(body))).await?;
        self.print(&made);
        if let Some((field, name)) = self.kind.secret.filter(|_| !self.output.json) {
            say(&format!("\n{}\n\nThis is {name}. It is shown this once.\n", cell(&made[field])));
        }
        Ok(())
    }

    /// Changes one and prints it.
    ///
    /// # Errors
    /// What the directory says.
    pub(super) async fn change(&self, id: &str, body: Value) -> Result<(), CommandFailure> {
        let path = format!("{}/{}", self.kind.path, id_in_path(id)?);
        let changed = self.call(Method::PATCH, &path, Some(without_nulls(body))).await?;
        self.print(&changed);
        Ok(())
    }

    fn print(&self, thing: &Value) {
        if self.output.json {
            return say(&format!("{thing}\n"));
        }
        for column in self.kind.columns {
            say(&format!("{column:12}{}\n", cell(&thing[*column])));
        }
    }

    /// Prints all, or those of one account.
    ///
    /// # Errors
    /// What the directory says.
    pub(super) async fn list(&self, account: Option<&str>) -> Result<(), CommandFailure> {
        let path = match account {
            Some(account) => format!("{}?account={}", self.kind.path, id_in_path(account)?),
            None => self.kind.path.to_owned(),
        };
        let listed = self.call(Method::GET, &path, None).await?;
        if self.output.json {
            say(&format!("{listed}\n"));
            return Ok(());
        }
        let things = listed[self.kind.list].as_array().cloned().unwrap_or_default();
        let row = |thing: &Value| self.kind.columns.iter().map(|column| cell(&thing[*column])).collect();
        say(&table(self.kind.columns, &things.iter().map(row).collect::<Vec<_>>()));
        if listed["more"] == true {
            say("There are more: name an account with --account.\n");
        }
        Ok(())
    }

    /// Revokes one.
    ///
    /// # Errors
    /// What the directory says.
    pub(super) async fn revoke(&self, id: &str) -> Result<(), CommandFailure> {
        self.call(Method::DELETE, &format!("{}/{}", self.kind.path, id_in_path(id)?), None).await?;
        if self.output.json {
            say(&format!("{}\n", serde_json::json!({"id": id, "revoked": true})));
        } else {
            say(&format!("{id} is {}.\n", self.kind.revoked));
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CommandFailure> {
        self.target.open().await?.call(method, path, body).await
    }
}

/// What was not given is left out.
fn without_nulls(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

/// Ids are letters, digits, `-` and `_`: whatever else was typed is none, and must not become part of an address.
fn id_in_path(id: &str) -> Result<&str, CommandFailure> {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_id { Ok(id) } else { Err(CommandFailure::new(format!("{id:?} is no id: see the first column of `list`"))) }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_becomes_part_of_an_address() {
        assert!(id_in_path("demo-1_A").is_ok());
        for text in ["", "..", "a/b", "a?account=b", "ä", "a b"] {
            assert!(id_in_path(text).is_err(), "{text}");
        }
    }
}
