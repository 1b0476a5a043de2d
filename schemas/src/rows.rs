//! What a row takes from an event by rule.

use crate::raw::Conversion;

/// A conversion's `event_name`, and so its folder: the key, or the entity if the key is blank; `None` is null.
#[must_use]
pub fn event_name(conversion: &Conversion) -> Option<&str> {
    let filled = |text: &&str| !text.trim().is_empty();
    let key = conversion.key.as_deref().filter(filled);
    key.or_else(|| conversion.entity_id.as_deref().filter(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_key_gives_way_to_the_entity() {
        let conversion = |key: Option<&str>, entity: Option<&str>| Conversion {
            key: key.map(str::to_owned),
            entity_id: entity.map(str::to_owned),
            ..Conversion::default()
        };
        assert_eq!(event_name(&conversion(Some("purchase"), Some("8001"))), Some("purchase"));
        assert_eq!(event_name(&conversion(Some(" "), Some("8001"))), Some("8001"));
        assert_eq!(event_name(&conversion(None, Some("8001"))), Some("8001"));
        assert_eq!(event_name(&conversion(None, Some(""))), None);
    }
}
