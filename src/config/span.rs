//! Durations as people write them: `10s`, `250ms`, `90d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration: a whole number and a unit (`ms`, `s`, `m`, `h`, `d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no duration: write a whole number and a unit (ms, s, m, h, d), like \"10s\"");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for Span {
    /// In the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let largest = UNITS.into_iter().find(|(_, unit_ms)| ms != 0 && ms.is_multiple_of(*unit_ms));
        let (unit, unit_ms) = largest.unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", ms / unit_ms)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A bare number comes as a number: its text is what the message shows.
        super::Text::deserialize(deserializer)?.0.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(read("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(read("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(read("90d"), Ok(Duration::from_secs(90 * 86_400)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in
            ["", "10", "s", "1.5s", "-1s", "10 s", "10sec", "1h30m", "99999999999999999999s", "18446744073709551615d"]
        {
            let said = text.parse::<Span>().expect_err(text);
            assert!(said.contains("\"10s\""), "{said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ms in 0..u64::MAX / 2) {
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
