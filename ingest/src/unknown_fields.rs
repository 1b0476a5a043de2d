//! What a record has no field for, as one JSON object: where it stood to its value as sent.

use std::fmt::{Display, Write};

use serde_json::Value;

/// The object, or nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct UnknownFields(String);

impl UnknownFields {
    /// `value` is JSON text.
    pub(crate) fn add(&mut self, path: &str, value: impl Display) {
        let before = if self.0.pop().is_some() { ',' } else { '{' };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{before}{}:{value}}}", Value::from(path));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// JSON text of the object; empty where there is nothing.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_one_object_and_none_in_no_object() {
        let mut fields = UnknownFields::default();
        assert_eq!(fields.as_str(), "");
        fields.add("event.a", 1);
        fields.add("event.\"b\"", r#"{"c":[]}"#);
        assert_eq!(fields.as_str(), r#"{"event.a":1,"event.\"b\"":{"c":[]}}"#);
        fields.clear();
        assert_eq!(fields.as_str(), "");
    }
}
