//! The one font of all pictures: how wide a text is, and its outline.

use ttf_parser::{Face, GlyphId};

/// How heavy letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As text is.
    Regular,
    /// As headings are.
    Medium,
}

impl Weight {
    /// The font in this weight, a TrueType file. It has the signs of ASCII and a few more; see
    /// `report/font`.
    pub fn file(self) -> &'static [u8] {
        match self {
            Weight::Regular => include_bytes!("../font/Roboto-Regular.ttf"),
            Weight::Medium => include_bytes!("../font/Roboto-Medium.ttf"),
        }
    }
}

/// The font in a weight.
pub fn face(weight: Weight) -> Face<'static> {
    Face::parse(weight.file(), 0).expect("the font in the binary is a font")
}

/// The glyphs of a text in a font, each with its advance in units of the font. A sign that the
/// font lacks is shown as a question mark.
pub fn glyphs<'a>(face: &'a Face<'_>, text: &'a str) -> impl Iterator<Item = (GlyphId, f32)> + 'a {
    let unknown = face.glyph_index('?').unwrap_or_default();
    text.chars().map(move |sign| {
        let glyph = face.glyph_index(sign).unwrap_or(unknown);
        (glyph, f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)))
    })
}

/// How wide a text is.
pub fn width(text: &str, size: f32, weight: Weight) -> f32 {
    let face = face(weight);
    let units: f32 = glyphs(&face, text).map(|(_, advance)| advance).sum();
    units * size / f32::from(face.units_per_em())
}

/// The text, or its beginning and an ellipsis when it is wider than `room`.
pub fn fitted(text: &str, size: f32, weight: Weight, room: f32) -> String {
    if width(text, size, weight) <= room {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() {
        let cut = format!("{}…", short.trim_end());
        if width(&cut, size, weight) <= room {
            return cut;
        }
    }
    String::new()
}

/// The text in lines that are no wider than `room`, as long as no single word is.
pub fn wrapped(text: &str, size: f32, weight: Weight, room: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if let Some(last) = lines.last_mut() {
            let longer = format!("{last} {word}");
            if width(&longer, size, weight) <= room {
                *last = longer;
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_so_that_it_fits() {
        let long = "a name that is longer than its column";
        let short = fitted(long, 12.0, Weight::Regular, 100.0);
        assert!(short.ends_with('…') && long.starts_with(short.trim_end_matches('…')));
        assert!(width(&short, 12.0, Weight::Regular) <= 100.0);
        assert_eq!(fitted("brief", 12.0, Weight::Regular, 100.0), "brief");
        assert_eq!(fitted("none", 12.0, Weight::Regular, 1.0), "");
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        let text = "the contract executed the step itself and found another number";
        let lines = wrapped(text, 12.0, Weight::Regular, 120.0);
        assert!(lines.len() > 2);
        assert_eq!(lines.join(" "), text);
        assert!(lines
            .iter()
            .all(|l| width(l, 12.0, Weight::Regular) <= 120.0));
    }

    #[test]
    fn heavier_letters_are_wider_and_unknown_signs_have_a_width() {
        let regular = width("lockstep", 12.0, Weight::Regular);
        assert!(width("lockstep", 12.0, Weight::Medium) > regular);
        assert_eq!(
            width("猫", 12.0, Weight::Regular),
            width("?", 12.0, Weight::Regular)
        );
    }
}
