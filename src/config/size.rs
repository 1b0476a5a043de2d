//! Sizes in bytes as people write them: `64MiB`, `512KiB`.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The units, largest first, in bytes.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A size: a whole number and a unit (`B`, `KiB`, `MiB`, `GiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// The size in bytes.
    pub bytes: u64,
}

impl Size {
    /// So many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self { bytes: bytes as u64 }
    }

    /// The size as the machine counts; at most what it can address.
    #[must_use]
    pub fn in_memory(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no size: write a whole number and a unit (B, KiB, MiB, GiB), like \"64MiB\"");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let (_, unit_bytes) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_bytes)).ok_or_else(wrong)?;
        Ok(Self { bytes })
    }
}

impl fmt::Display for Size {
    /// In the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = UNITS.into_iter().find(|(_, unit)| self.bytes != 0 && self.bytes.is_multiple_of(*unit));
        let (name, unit) = largest.unwrap_or(("B", 1));
        write!(f, "{}{name}", self.bytes / unit)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::Text::deserialize(deserializer)?.0.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Size>().map(|size| size.bytes);
        assert_eq!(read("1B"), Ok(1));
        assert_eq!(read("512KiB"), Ok(512 * 1024));
        assert_eq!(read("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(read("2GiB"), Ok(2 * 1024 * 1024 * 1024));
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in
            ["", "64", "MiB", "64MB", "64 MiB", "-1B", "1.5GiB", "99999999999999999999B", "18446744073709551615GiB"]
        {
            let said = text.parse::<Size>().expect_err(text);
            assert!(said.contains("\"64MiB\""), "{said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes: u64) {
            prop_assert_eq!(Size { bytes }.to_string().parse(), Ok(Size { bytes }));
        }
    }
}
