//! Times of the tracking API: ISO 8601.

use chrono::{DateTime, NaiveDateTime, SecondsFormat};

use crate::limits::TIMESTAMP_MS_MAX;

/// Extended and basic, with seconds or (Java drops them where they are 0) without; with a space, as databases print it.
const FORMATS: [&str; 5] =
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M%S%.f", "%Y%m%dT%H%M"];

/// The time in ms since 1970; one without an offset is UTC, as Python's `isoformat()` writes it.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let strict = DateTime::parse_from_rfc3339(text).ok();
    let ms = match strict {
        Some(time) => time.timestamp_millis(),
        None => FORMATS.into_iter().find_map(|format| parse_as(text, format))?,
    };
    (0..=TIMESTAMP_MS_MAX).contains(&ms).then_some(ms)
}

fn parse_as(text: &str, format: &str) -> Option<i64> {
    if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
        return Some(naive.and_utc().timestamp_millis());
    }
    // `Z`, `+02:00`, `+0200` or `+02`.
    DateTime::parse_from_str(text, &format!("{format}%#z")).ok().map(|time| time.timestamp_millis())
}

/// The time as text, in UTC with milliseconds.
pub(crate) fn in_text(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let expected = Some(1_772_445_600_250);
        for text in [
            "2026-03-02T10:00:00.250Z",
            "2026-03-02T12:00:00.25+02:00",
            "2026-03-02T10:00:00.250000",
            "2026-03-02 10:00:00.250",
            "2026-03-02T12:00:00.250+0200",
            "2026-03-02T05:00:00.250-05",
            "2026-03-02 10:00:00.250Z",
            "20260302T100000.250Z",
            "20260302T100000.250",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in ["2026-03-02T10:00Z", "2026-03-02T12:00+02:00", "2026-03-02T10:00", "20260302T1000Z"] {
            assert_eq!(parse(text), Some(1_772_445_600_000), "{text}");
        }
        assert_eq!(in_text(1_772_445_600_250), "2026-03-02T10:00:00.250Z");
    }

    #[test]
    fn what_is_no_time_or_out_of_range_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-13-02T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "1772445600250",
            "2026-03-02",
            "2026-03-02T10",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
