//! What a scoped credential opens: one account, one type of it, or some days of a type. Nothing else.
//!
//! Three types, each with one door:
//! - [`Scope`]: made only by [`Scope::validate`]; holds no text that could reach outside its account.
//! - [`AllowedKey`]: a key the scope opens, made only by [`Scope::allow_key`].
//! - [`AllowedPrefix`]: a listing the scope opens, made only by [`Scope::allow_prefix`].
//!
//! Whoever reads from the store takes the latter two, so the check cannot be left out, nor come after the read.

use std::fmt;

use chrono::NaiveDate;
use millrace_schemas::layout::{self, AccountId, ExportType};

use crate::limits::{SCOPE_DAYS_MAX, SCOPE_KEY_BYTES_MAX};

/// What a credential may read, validated: an account; or one of its types; or one or several days of that type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    account: AccountId,
    narrowing: Narrowing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Narrowing {
    /// Decisions and events (and what is derived from them under `v1/`), all days.
    None,
    Type(ExportType),
    Days {
        export: ExportType,
        first: NaiveDate,
        last: NaiveDate,
    },
}

/// Why a scope was refused; the text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// `type` is none that is exported.
    #[error("type must be decisions, events, rejected or audit")]
    UnknownType,
    /// A day without a type would be several prefixes.
    #[error("date needs a type")]
    DateWithoutType,
    /// Not `YYYY-MM-DD` nor `YYYY-MM-DD..YYYY-MM-DD`.
    #[error("date must be YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD")]
    BadDate,
    /// The range ends before it begins.
    #[error("the range of dates ends before it begins")]
    Backwards,
    /// The range is longer than [`SCOPE_DAYS_MAX`].
    #[error("the range of dates is longer than {SCOPE_DAYS_MAX} days")]
    TooManyDays,
}

impl Scope {
    /// The scope of an account, narrowed to a type and to a day (`YYYY-MM-DD`) or a range of days (`first..last`,
    /// both included) of that type.
    ///
    /// # Errors
    /// The parameters are wrong, each in its own way: [`ScopeError`].
    pub fn validate(account: AccountId, export: Option<&str>, date: Option<&str>) -> Result<Self, ScopeError> {
        let export = export.map(|name| ExportType::parse(name).ok_or(ScopeError::UnknownType)).transpose()?;
        let narrowing = match (export, date) {
            (None, None) => Narrowing::None,
            (None, Some(_)) => return Err(ScopeError::DateWithoutType),
            (Some(export), None) => Narrowing::Type(export),
            (Some(export), Some(date)) => {
                let (first, last) = parse_days(date)?;
                Narrowing::Days { export, first, last }
            }
        };
        Ok(Self { account, narrowing })
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The type it is narrowed to; `None`: decisions and events.
    #[must_use]
    pub fn export(&self) -> Option<ExportType> {
        match self.narrowing {
            Narrowing::None => None,
            Narrowing::Type(export) | Narrowing::Days { export, .. } => Some(export),
        }
    }

    /// The days it is narrowed to, as [`Scope::validate`] takes them.
    #[must_use]
    pub fn days(&self) -> Option<String> {
        match self.narrowing {
            Narrowing::None | Narrowing::Type(_) => None,
            Narrowing::Days { first, last, .. } if first == last => Some(first.to_string()),
            Narrowing::Days { first, last, .. } => Some(format!("{first}..{last}")),
        }
    }

    /// The prefix everything it opens begins with; ends in `/`. Of a range of days it is the type's.
    #[must_use]
    pub fn prefix(&self) -> String {
        match self.narrowing {
            Narrowing::None => layout::account_prefix(&self.account),
            Narrowing::Type(export) => export.prefix(&self.account),
            Narrowing::Days { export, first, last } if first == last => {
                layout::date_prefix(&self.account, export, first)
            }
            Narrowing::Days { export, .. } => export.prefix(&self.account),
        }
    }

    /// The key as the store knows it, if the scope opens it.
    #[must_use]
    pub fn allow_key(&self, asked: &str) -> Option<AllowedKey> {
        let (key, _) = self.one_slash_after_the_account(asked)?;
        let clean = key.split('/').all(|segment| !segment.is_empty() && is_clean(segment));
        (clean && key.starts_with(&self.prefix()) && self.holds_day_of(&key)).then_some(AllowedKey(key))
    }

    /// Whether the scope opens the key.
    #[must_use]
    pub fn allows_key(&self, key: &str) -> bool {
        self.allow_key(key).is_some()
    }

    /// The prefix as the store knows it, if the scope opens everything below it (of a range of days: of its days).
    /// A prefix may end within a name; it must reach as far as the scope's own prefix.
    #[must_use]
    pub fn allow_prefix(&self, asked: &str) -> Option<AllowedPrefix> {
        let (prefix, extra) = self.one_slash_after_the_account(asked)?;
        let (folders, unfinished) = prefix.rsplit_once('/')?;
        let clean = folders.split('/').all(|segment| !segment.is_empty() && is_clean(segment)) && is_clean(unfinished);
        (clean && prefix.starts_with(&self.prefix())).then(|| AllowedPrefix {
            root_bytes: self.root().len(),
            prefix,
            extra_slashes: extra,
        })
    }

    /// Whether the scope opens a listing of the prefix.
    #[must_use]
    pub fn allows_prefix(&self, prefix: &str) -> bool {
        self.allow_prefix(prefix).is_some()
    }

    /// Whether keys the scope opens may stand under a folder (of the store, ending in `/`) below an allowed prefix.
    #[must_use]
    pub fn may_hold(&self, folder: &str) -> bool {
        folder.starts_with(&self.prefix()) && self.holds_day_of(folder)
    }

    /// `v1/account_id=A/` or `rejected/v1/account_id=A/`.
    fn root(&self) -> String {
        match self.export() {
            Some(export @ (ExportType::Rejected | ExportType::Audit)) => export.prefix(&self.account),
            _ => layout::account_prefix(&self.account),
        }
    }

    /// Takes repeated slashes directly after the account's prefix for one: clients that join a path to `s3Path` make
    /// them. Answers with the text and how many were too many.
    fn one_slash_after_the_account(&self, asked: &str) -> Option<(String, usize)> {
        let root = self.root();
        let rest = asked.strip_prefix(&root)?;
        let below = rest.trim_start_matches('/');
        (asked.len() <= SCOPE_KEY_BYTES_MAX).then(|| (format!("{root}{below}"), rest.len() - below.len()))
    }

    fn holds_day_of(&self, key: &str) -> bool {
        let Narrowing::Days { first, last, .. } = self.narrowing else { return true };
        if first == last {
            return true; // the day is part of the prefix
        }
        let below = key.strip_prefix(&self.prefix()).unwrap_or_default();
        let Some((folder, _)) = below.split_once('/') else { return false };
        let day = folder.strip_prefix("date=").and_then(parse_day);
        day.is_some_and(|day| (first..=last).contains(&day))
    }
}

/// A key some scope opens, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKey(String);

impl AllowedKey {
    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AllowedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A prefix some scope opens for listing, as the store knows it, and how the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPrefix {
    prefix: String,
    root_bytes: usize,
    extra_slashes: usize,
}

impl AllowedPrefix {
    /// The prefix as the store knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.prefix
    }

    /// A key of the store in the client's spelling: every key of a listing must begin with the prefix asked for.
    #[must_use]
    pub fn to_client(&self, key: &str) -> String {
        match (key.get(..self.root_bytes), key.get(self.root_bytes..)) {
            (Some(root), Some(below)) => format!("{root}{}{below}", "/".repeat(self.extra_slashes)),
            _ => key.to_owned(),
        }
    }

    /// A position in the client's spelling (a marker, a start) as a position among the store's keys.
    #[must_use]
    pub fn from_client(&self, position: &str) -> String {
        let root = &self.prefix[..self.root_bytes];
        let spelt = format!("{root}{}", "/".repeat(self.extra_slashes));
        match position.strip_prefix(&spelt) {
            Some(below) => format!("{root}{below}"),
            None => position.to_owned(),
        }
    }
}

/// Not a step to elsewhere, for any backend: no `.` or `..` (percent-encoded ones included, since some decode), no
/// backslash, no ASCII control character; and no `#`, which names files still being written. Layout never makes such a name.
fn is_clean(segment: &str) -> bool {
    let dots = segment.to_ascii_lowercase().replace("%2e", ".");
    dots != "." && dots != ".." && !segment.chars().any(|c| c.is_ascii_control() || matches!(c, '\\' | '#'))
}

fn parse_days(text: &str) -> Result<(NaiveDate, NaiveDate), ScopeError> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (parse_day(first).ok_or(ScopeError::BadDate)?, parse_day(last).ok_or(ScopeError::BadDate)?);
    match (last - first).num_days() + 1 {
        ..1 => Err(ScopeError::Backwards),
        1..=SCOPE_DAYS_MAX => Ok((first, last)),
        _ => Err(ScopeError::TooManyDays),
    }
}

/// Exactly `YYYY-MM-DD`: chrono alone would take a sign or fewer digits.
fn parse_day(text: &str) -> Option<NaiveDate> {
    let form = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    form.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()
}

#[cfg(test)]
mod tests;
