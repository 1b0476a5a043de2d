//! What is wrong with a field, and reading fields so that one wrong field does not end the reading.

use millrace_schemas::reasons::{MISSING_FIELD, OUT_OF_RANGE, WRONG_TYPE};

use crate::json::Value;
use crate::limits::{ID_BYTES_MAX, TIMESTAMP_MS_MAX, UUID_BYTES_MAX};

/// A rule that a value breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    /// A word of [`millrace_schemas::reasons`].
    pub(crate) reason: &'static str,
    /// What the rule asks for, for people.
    pub(crate) rule: &'static str,
}

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The field's path within the part it belongs to, e.g. `tags` or `attributes[3].value`; empty: the part itself.
    pub(crate) field: String,
    pub(crate) broken: Broken,
}

pub(crate) const fn wrong_type(rule: &'static str) -> Broken {
    Broken { reason: WRONG_TYPE, rule }
}

pub(crate) const fn out_of_range(rule: &'static str) -> Broken {
    Broken { reason: OUT_OF_RANGE, rule }
}

pub(crate) const MISSING: Broken = Broken { reason: MISSING_FIELD, rule: "a required field" };
pub(crate) const TWICE: Broken =
    Broken { reason: WRONG_TYPE, rule: "a field stands once, under its long or its short name" };

/// A field: not seen yet, or seen with a value or null. A field that breaks a rule counts as seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot<T> {
    seen: bool,
    pub(crate) value: Option<T>,
}

impl<T> Slot<T> {
    pub(crate) const EMPTY: Self = Self { seen: false, value: None };
}

/// The first problem of one part (batch, visitor, snapshot, event) in the order of its bytes. Most parts have none.
#[derive(Debug, Default)]
pub(crate) struct Problems(Option<Box<Problem>>);

impl Problems {
    pub(crate) fn first(&self) -> Option<&Problem> {
        self.0.as_deref()
    }

    pub(crate) fn into_first(self) -> Option<Problem> {
        self.0.map(|problem| *problem)
    }

    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn note(&mut self, field: impl Into<String>, broken: Broken) {
        if self.0.is_none() {
            self.0 = Some(Box::new(Problem { field: field.into(), broken }));
        }
    }

    /// Fills a field once.
    pub(crate) fn fill<T>(&mut self, slot: &mut Slot<T>, field: &'static str, read: Result<Option<T>, Broken>) {
        if std::mem::replace(&mut slot.seen, true) {
            return self.note(field, TWICE);
        }
        match read {
            Ok(value) => slot.value = value,
            Err(broken) => self.note(field, broken),
        }
    }

    /// Marks a field as seen; false, and a problem, if it has been already.
    pub(crate) fn first_time<T>(&mut self, slot: &mut Slot<T>, field: &'static str) -> bool {
        let twice = std::mem::replace(&mut slot.seen, true);
        if twice {
            self.note(field, TWICE);
        }
        !twice
    }

    /// The value of a required field; a problem if there is none.
    pub(crate) fn required<T: Copy>(&mut self, slot: &Slot<T>, field: &'static str) -> Option<T> {
        if slot.value.is_none() {
            self.note(field, MISSING);
        }
        slot.value
    }
}

/// Text; null is nothing.
pub(crate) fn text(value: Value<'_>) -> Result<Option<&str>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        _ => Err(wrong_type("a string or null")),
    }
}

/// An id; null and "" are none. (The Python SDK sends "" where it has no experiment.)
pub(crate) fn id(value: Value<'_>) -> Result<Option<&str>, Broken> {
    match text(value)? {
        Some(long) if long.len() > ID_BYTES_MAX => Err(LONG_ID),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

pub(crate) const LONG_ID: Broken = out_of_range("at most 1024 bytes of text");

pub(crate) fn flag(value: Value<'_>) -> Result<Option<bool>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        _ => Err(wrong_type("true, false or null")),
    }
}

/// A whole number of 64 bits. `4200.0` and `4.2e3` are whole numbers too, where a double holds them exactly.
pub(crate) fn integer(value: Value<'_>) -> Result<Option<i64>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => whole(number).map(Some),
        _ => Err(wrong_type("a whole number or null")),
    }
}

fn whole(number: &str) -> Result<i64, Broken> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(whole) = number.parse() {
        return Ok(whole);
    }
    match number.parse::<f64>() {
        Ok(double) if double.is_finite() && double.fract() != 0.0 => Err(wrong_type("a whole number or null")),
        // In that range the conversion is exact.
        Ok(double) if number.contains(['.', 'e', 'E']) && double.abs() <= EXACT => Ok(double as i64),
        _ => Err(out_of_range("a whole number of 64 bits")),
    }
}

/// A finite double.
pub(crate) fn number(value: Value<'_>) -> Result<Option<f64>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match number.parse::<f64>() {
            Ok(double) if double.is_finite() => Ok(Some(double)),
            _ => Err(out_of_range("a number that a double can hold")),
        },
        _ => Err(wrong_type("a number or null")),
    }
}

/// An event's time: ms since 1970.
pub(crate) fn timestamp(value: Value<'_>) -> Result<Option<i64>, Broken> {
    match integer(value) {
        Ok(Some(ms)) if !(0..=TIMESTAMP_MS_MAX).contains(&ms) => {
            Err(out_of_range("whole milliseconds since 1970, from 0 to 253402300799999"))
        }
        Err(broken) if broken.reason == WRONG_TYPE => Err(wrong_type("whole milliseconds since 1970")),
        other => other,
    }
}

pub(crate) fn uuid(value: Value<'_>) -> Result<Option<&str>, Broken> {
    match text(value)? {
        Some(text) if !(1..=UUID_BYTES_MAX).contains(&text.len()) => Err(out_of_range("1 to 128 bytes of text")),
        uuid => Ok(uuid),
    }
}

/// What a string that begins with U+E000 stands for: the typed value after that mark. Other values stand for themselves.
pub(crate) fn typed(value: Value<'_>) -> Value<'_> {
    let Value::Text(sent) = value else { return value };
    let Some(inner) = sent.strip_prefix('\u{e000}') else { return value };
    match inner {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ if is_number(inner) => Value::Number(inner),
        _ => Value::Text(inner),
    }
}

fn is_number(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
        && text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A value as the text that is kept: strings as they are, all else as its JSON text.
pub(crate) fn as_text(value: Value<'_>) -> &str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(text) | Value::Text(text) | Value::Object(text) | Value::Array(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let read = |text| integer(Value::Number(text)).map(Option::unwrap).map_err(|broken| broken.reason);
        assert_eq!(read("4200"), Ok(4200));
        assert_eq!(read("4200.0"), Ok(4200));
        assert_eq!(read("-4.2e3"), Ok(-4200));
        assert_eq!(read("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(read("4200.5"), Err(WRONG_TYPE));
        assert_eq!(read("9223372036854775808"), Err(OUT_OF_RANGE));
        assert_eq!(read("1e300"), Err(OUT_OF_RANGE));
        assert_eq!(read("1e999"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn a_timestamp_is_bounded_at_both_ends() {
        let read = |text| timestamp(Value::Number(text)).map_err(|broken| broken.reason);
        assert_eq!(read("0"), Ok(Some(0)));
        assert_eq!(read("253402300799999"), Ok(Some(TIMESTAMP_MS_MAX)));
        assert_eq!(read("253402300800000"), Err(OUT_OF_RANGE));
        assert_eq!(read("-1"), Err(OUT_OF_RANGE));
        assert_eq!(read("1.5"), Err(WRONG_TYPE));
        assert_eq!(timestamp(Value::Text("1")).map_err(|broken| broken.reason), Err(WRONG_TYPE));
    }

    #[test]
    fn the_mark_of_a_typed_value_is_taken_off() {
        assert_eq!(typed(Value::Text("\u{e000}42")), Value::Number("42"));
        assert_eq!(typed(Value::Text("\u{e000}true")), Value::Bool(true));
        assert_eq!(typed(Value::Text("\u{e000}null")), Value::Null);
        assert_eq!(typed(Value::Text("\u{e000}red")), Value::Text("red"));
        assert_eq!(typed(Value::Text("\u{e000}4 2")), Value::Text("4 2"));
        assert_eq!(typed(Value::Text("42")), Value::Text("42"));
    }

    #[test]
    fn a_uuid_has_1_to_128_bytes() {
        let longest = "x".repeat(UUID_BYTES_MAX);
        assert_eq!(uuid(Value::Text(&longest)), Ok(Some(longest.as_str())));
        for wrong in ["", &"x".repeat(UUID_BYTES_MAX + 1), &"é".repeat(65)] {
            assert_eq!(uuid(Value::Text(wrong)).unwrap_err().reason, OUT_OF_RANGE);
        }
    }
}
