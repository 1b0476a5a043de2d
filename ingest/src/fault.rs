//! What is wrong with one event.

use millrace_schemas::reasons;

/// Why an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A word of [`reasons`].
    pub(crate) reason: &'static str,
    /// The field, as a path below what was being read; may be empty.
    pub(crate) field: String,
    /// What the rule asks for, for people.
    pub(crate) rule: String,
}

impl Fault {
    pub(crate) fn missing(field: &str) -> Self {
        Self { reason: reasons::MISSING_FIELD, field: field.into(), rule: "is required".into() }
    }

    pub(crate) fn range(field: &str, rule: impl Into<String>) -> Self {
        Self { reason: reasons::OUT_OF_RANGE, field: field.into(), rule: rule.into() }
    }

    /// From a JSON error: `name: inner: what is wrong at line 1 column 2` gives the field `name.inner`.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let mut rest = text.as_str();
        let mut path = Vec::new();
        while let Some((name, after)) = rest.split_once(": ") {
            if name.contains(' ') {
                break;
            }
            path.push(name);
            rest = after;
        }
        Self { reason: reasons::WRONG_TYPE, field: path.join("."), rule: rest.to_owned() }
    }

    /// The same fault, seen from further up.
    pub(crate) fn under(mut self, path: &str) -> Self {
        self.field = match (path.is_empty(), self.field.is_empty()) {
            (true, _) => self.field,
            (false, true) => path.to_owned(),
            (false, false) => format!("{path}.{}", self.field),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use crate::wire::Event;

    #[test]
    fn a_json_error_names_its_field() {
        let error = serde_json::from_str::<Event<'_>>(r#"{"uuid":"u","properties":{"size":7}}"#).unwrap_err();
        let fault = Fault::json(&error).under("events[2]");
        assert_eq!(fault.field, "events[2].properties.size");
        assert!(fault.rule.starts_with("invalid type: integer `7`, expected a string"), "{}", fault.rule);
    }
}
