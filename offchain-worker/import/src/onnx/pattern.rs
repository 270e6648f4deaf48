//! Patterns of names.

/// Whether a name fits a pattern in which `*` stands for any text, the empty one included.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text_and_all_else_for_itself() {
        for (pattern, name) in [
            ("fc.weight", "fc.weight"),
            ("*", ""),
            ("*.bias", "layers.0.bias"),
            ("layers.0.*", "layers.0.bias"),
            ("layers.*.bias", "layers.0.attention.bias"),
            ("*a*b*", "xxaxxbxx"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("fc", "fc.weight"),
            ("", "fc"),
            ("*.bias", "fc.biases"),
            ("ab*ba", "aba"),
            ("*a*b", "ba"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
