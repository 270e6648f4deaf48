//! Patterns of parameter names.

use std::fmt;

/// A name in which every `*` stands for any characters, none included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of this text.
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Whether the whole of `name` is as the pattern says.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().expect("a split has a first part");
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // The earliest place for every part leaves most to those behind it.
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, matches) in [
            ("a.bias", "a.bias", true),
            ("a.bias", "aa.bias", false),
            ("a", "a.bias", false),
            ("a.bias", "a.bias.x", false),
            ("*.bias", "0.linear.bias", true),
            ("*.bias", "0.linear.biases", false),
            ("0.*", "0.linear.bias", true),
            ("0.*", "10.linear.bias", false),
            ("0.*.bias", "0.attention.linear.bias", true),
            ("*", "", true),
            ("", "a", false),
            ("*a*a", "a", false),
            ("*a*a", "ba.a", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ba", false),
            ("ab*ba", "aba", false),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c.b", false),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                matches,
                "{pattern} {name}"
            );
        }
    }
}
