//! How long a credential lives: `[H,h]` or `[M,m]`, from 15 minutes to one hour.

use crate::limits::{LIFETIME_MINUTES_MAX, LIFETIME_MINUTES_MIN};

/// A credential's lifetime: whole minutes, at least [`Lifetime::MIN`], at most [`Lifetime::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    minutes: i64,
}

/// The text is no lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("duration must be between 15m and 1h, as [H,h] or [M,m]")]
pub struct LifetimeError;

impl Lifetime {
    /// The shortest.
    pub const MIN: Self = Self { minutes: LIFETIME_MINUTES_MIN };
    /// The longest, and the default.
    pub const MAX: Self = Self { minutes: LIFETIME_MINUTES_MAX };

    /// Reads digits and one letter: `1h`, `60m`, `45M`.
    ///
    /// # Errors
    /// Any other form, or out of bounds.
    pub fn parse(text: &str) -> Result<Self, LifetimeError> {
        let minutes_each = match text.chars().last() {
            Some('h' | 'H') => 60,
            Some('m' | 'M') => 1,
            _ => return Err(LifetimeError),
        };
        let digits = &text[..text.len() - 1];
        // `parse` alone would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(LifetimeError);
        }
        let count: i64 = digits.parse().map_err(|_| LifetimeError)?;
        let minutes = count.checked_mul(minutes_each).ok_or(LifetimeError)?;
        let bounds = Self::MIN.minutes..=Self::MAX.minutes;
        if bounds.contains(&minutes) { Ok(Self { minutes }) } else { Err(LifetimeError) }
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.minutes * 60_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_from_15_minutes_to_one_hour_and_nothing_else() {
        for (text, minutes) in [
            ("1h", 60),
            ("1H", 60),
            ("60m", 60),
            ("15m", 15),
            ("45M", 45),
            ("01h", 60),
            ("0000000000000000000060m", 60),
        ] {
            assert_eq!(Lifetime::parse(text), Ok(Lifetime { minutes }), "{text}");
        }
        for text in [
            "",
            "1",
            "h",
            "m",
            "0h",
            "2h",
            "14m",
            "61m",
            "0.5h",
            "0,5h",
            "1h30m",
            "-1h",
            "+1h",
            "1 h",
            " 1h",
            "1h ",
            "1s",
            "60",
            "1hour",
            "1hh",
            "h1",
            "0x1h",
            "1e0h",
            "١h",
            "１h",
            "1ｈ",
            "9223372036854775807h",
            "99999999999999999999m",
            "153722867280912931h",
            "null",
            "1h\0",
        ] {
            assert_eq!(Lifetime::parse(text), Err(LifetimeError), "{text}");
        }
    }
}
