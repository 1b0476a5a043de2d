//! Names and texts: tags and properties.

/// Of a name that stands twice the last counts, as everywhere in JSON. Looks at the pairs from `start` on.
pub(crate) fn keep_last(pairs: &mut Vec<(&str, &str)>, start: usize) {
    let mut names: Vec<(&str, usize)> =
        pairs[start..].iter().enumerate().map(|(index, (name, _))| (*name, index)).collect();
    names.sort_unstable();
    let mut dropped: Vec<usize> = names.windows(2).filter(|two| two[0].0 == two[1].0).map(|two| two[0].1).collect();
    if dropped.is_empty() {
        return;
    }
    dropped.sort_unstable();
    let (mut index, mut next) = (0, 0);
    pairs.retain(|_| {
        let drops = index >= start && dropped.get(next) == Some(&(index - start));
        index += 1;
        next += usize::from(drops);
        !drops
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_what_stands_before_is_left_alone() {
        let mut pairs = vec![("a", "0"), ("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5"), ("c", "6")];
        keep_last(&mut pairs, 1);
        assert_eq!(pairs, [("a", "0"), ("b", "2"), ("a", "5"), ("c", "6")]);
    }
}
