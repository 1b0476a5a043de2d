//! A range of UTC days, as typed.

use std::str::FromStr;

use chrono::NaiveDate;

use crate::limits::LOAD_DAYS_MAX;

/// The days from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    first: NaiveDate,
    last: NaiveDate,
}

impl Days {
    /// Each day, first to last.
    pub(super) fn each(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let day = |text: &str| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| format!("{text:?} is no day like 2026-11-24"))
        };
        let (first, last) = (day(first)?, day(last)?);
        if last < first {
            return Err(format!("{last} is before {first}"));
        }
        if (last - first).num_days() >= LOAD_DAYS_MAX {
            return Err(format!("at most {LOAD_DAYS_MAX} days at once"));
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(text: &str) -> Vec<String> {
        text.parse::<Days>().unwrap().each().map(|day| day.to_string()).collect()
    }

    #[test]
    fn a_range_includes_both_its_ends() {
        assert_eq!(each("2026-11-24"), ["2026-11-24"]);
        assert_eq!(each("2026-02-27..2026-03-01"), ["2026-02-27", "2026-02-28", "2026-03-01"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "today", "2026-11-24..", "2026-11-24..2026-11-23", "2026-13-01", "1990-01-01..2026-01-01"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_days_at_once_are_taken_and_one_more_is_not() {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let range = |days| format!("{first}..{}", first + chrono::Duration::days(days - 1));
        assert_eq!(each(&range(LOAD_DAYS_MAX)).len() as i64, LOAD_DAYS_MAX);
        assert!(range(LOAD_DAYS_MAX + 1).parse::<Days>().is_err());
    }
}
