//! The query of a request, read once: names and values decoded, no name twice.

use percent_encoding::percent_decode_str;

/// A query in which every name stands once.
pub(crate) struct Query(Vec<(String, String)>);

/// The query is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueryError {
    /// This name stands twice: two readers could take different ones.
    Twice(String),
    /// Not UTF-8 behind the percent signs.
    Encoding,
}

impl Query {
    /// Reads `a=b&c`.
    ///
    /// # Errors
    /// [`QueryError`]
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(&name)) {
                return Err(QueryError::Twice(name));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Result<String, QueryError> {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().map(|text| text.into_owned()).map_err(|_| QueryError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_however_it_is_written() {
        let query = Query::parse("list-type=2&prefix=v1%2Fa%3Db+c&acl").unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(query.get("prefix"), Some("v1/a=b c"));
        assert_eq!(query.get("acl"), Some(""));
        assert_eq!(query.get("Prefix"), None);
        for twice in ["prefix=a&prefix=b", "prefix=a&prefix=a", "prefix=a&%70refix=b", "prefix&Prefix"] {
            assert!(matches!(Query::parse(twice), Err(QueryError::Twice(_))), "{twice}");
        }
        assert!(matches!(Query::parse("a=%ff"), Err(QueryError::Encoding)));
    }
}
