//! The rules for texts people choose. Too long is refused, never cut.

use crate::CommandError;
use crate::limits::{
    DESCRIPTION_CHARS_MAX, EMAIL_BYTES_MAX, NAME_CHARS_MAX, ORIGIN_BYTES_MAX, ORIGINS_MAX, PASSWORD_HASH_BYTES_MAX,
    SLOTS_MS, USERNAME_CHARS_MAX, USERNAME_CHARS_MIN,
};

type Checked<T = ()> = Result<T, CommandError>;

fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Checked<T> {
    Err(CommandError::Invalid { field, reason: reason.into() })
}

/// A name of an account, key or token.
pub(crate) fn name(text: &str) -> Checked {
    if text.trim().is_empty() {
        return invalid("name", "must not be blank");
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return invalid("name", format!("must have at most {NAME_CHARS_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return invalid("name", "must not hold control characters");
    }
    Ok(())
}

/// What a key is for; may be empty and may have lines.
pub(crate) fn description(text: &str) -> Checked {
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        return invalid("description", format!("must have at most {DESCRIPTION_CHARS_MAX} characters"));
    }
    Ok(())
}

/// A username, in small letters.
pub(crate) fn username(text: &str) -> Checked<String> {
    if !(USERNAME_CHARS_MIN..=USERNAME_CHARS_MAX).contains(&text.chars().count()) {
        return invalid("username", format!("must have {USERNAME_CHARS_MIN} to {USERNAME_CHARS_MAX} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return invalid("username", "may hold letters, digits, `.`, `_` and `-` only");
    }
    Ok(text.to_ascii_lowercase())
}

/// An e-mail address, in small letters. Whether it exists only a message to it can tell; this refuses what cannot be one.
pub(crate) fn email(text: &str) -> Checked<String> {
    let lower = text.to_lowercase();
    if text.len().max(lower.len()) > EMAIL_BYTES_MAX {
        return invalid("email", format!("must have at most {EMAIL_BYTES_MAX} bytes"));
    }
    let parts: Vec<&str> = lower.split('@').collect();
    let plausible = matches!(parts[..], [local, domain] if !local.is_empty() && !domain.is_empty())
        && !lower.chars().any(|c| c.is_whitespace() || c.is_control());
    if plausible { Ok(lower) } else { invalid("email", "is not an e-mail address") }
}

/// A password's hash. The rules for passwords are upstream; this only tells an argon2id PHC string from anything else.
pub(crate) fn password_hash(text: &str) -> Checked {
    if text.len() > PASSWORD_HASH_BYTES_MAX || !text.starts_with("$argon2id$") {
        return invalid("password_hash", "is not an argon2id hash");
    }
    Ok(())
}

/// The length of an account's slots; 0 is "chosen by the day's plan".
pub(crate) fn slot_ms(slot_ms: i64) -> Checked {
    if slot_ms == 0 || SLOTS_MS.contains(&slot_ms) {
        return Ok(());
    }
    invalid("slot_ms", format!("must be 0 or one of {SLOTS_MS:?}"))
}

/// Origins browsers may send from: scheme, host and port, as browsers send them.
pub(crate) fn origins(origins: &[String]) -> Checked {
    if origins.len() > ORIGINS_MAX {
        return invalid("origins", format!("at most {ORIGINS_MAX}"));
    }
    if let Some(bad) = origins.iter().position(|origin| !is_origin(origin)) {
        return invalid("origins", format!("number {} is not `scheme://host` or `scheme://host:port`", bad + 1));
    }
    Ok(())
}

fn is_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    origin.len() <= ORIGIN_BYTES_MAX
        && host
            .is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@".contains(&b)))
}
