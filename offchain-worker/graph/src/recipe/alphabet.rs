//! What tokens stand for in text.

use super::{
    data::Data,
    error::{refuse, Error},
};
use lockstep_protocol::program::Dtype;

/// How text becomes tokens and tokens text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// A token is a byte of UTF-8.
    Bytes,
    /// Token k is character k.
    Characters(Vec<char>),
}

/// A character without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model has no token for {0:?}: leave it out")]
pub struct Unknown(pub char);

impl Alphabet {
    /// That of a recipe's data, of which a token has type `dtype`.
    pub(super) fn of(data: &Data, dtype: Dtype) -> Result<Alphabet, Error> {
        match &data.alphabet {
            Some(characters) => Ok(Alphabet::Characters(characters.chars().collect())),
            None if dtype == Dtype::U8 => Ok(Alphabet::Bytes),
            None => Err(Error::at(
                "data.alphabet",
                "set it to the characters that tokens 0, 1, 2 and so on stand for",
            )),
        }
    }

    pub(super) fn check(data: &Data) -> Result<(), Error> {
        let characters: Vec<char> = data.alphabet.iter().flat_map(|text| text.chars()).collect();
        let mut sorted = characters.clone();
        sorted.sort_unstable();
        sorted.dedup();
        refuse(
            data.alphabet.is_some() && (sorted.is_empty() || sorted.len() < characters.len()),
            "data.alphabet",
            "name every character once",
        )
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The first character that is no token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Unknown> {
        match self {
            Alphabet::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Alphabet::Characters(characters) => text
                .chars()
                .map(|c| {
                    let at = characters.iter().position(|other| *other == c);
                    Ok(at.ok_or(Unknown(c))? as u32)
                })
                .collect(),
        }
    }

    /// The text of tokens, with U+FFFD for what is none.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let unknown = char::REPLACEMENT_CHARACTER;
        match self {
            // 0xff is in no UTF-8.
            Alphabet::Bytes => {
                let byte = |&token: &u32| u8::try_from(token).unwrap_or(0xff);
                let bytes: Vec<u8> = tokens.iter().map(byte).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Alphabet::Characters(characters) => {
                let character = |&token: &u32| characters.get(token as usize).copied();
                let text = tokens.iter().map(|t| character(t).unwrap_or(unknown));
                text.collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_tokens_and_comes_back() {
        let table = Alphabet::Characters("aüz\n".chars().collect());
        assert_eq!(table.encode("zü\n").unwrap(), [2, 1, 3]);
        assert_eq!(table.decode(&[2, 1, 3]), "zü\n");
        assert_eq!(Alphabet::Bytes.encode("ü").unwrap(), [0xc3, 0xbc]);
        assert_eq!(Alphabet::Bytes.decode(&[0xc3, 0xbc, 0x21]), "ü!");
    }

    #[test]
    fn what_is_no_text_is_refused_or_marked() {
        let table = Alphabet::Characters(vec!['a']);
        assert_eq!(table.encode("ab"), Err(Unknown('b')));
        assert_eq!(table.decode(&[0, 1]), "a\u{fffd}");
        assert_eq!(Alphabet::Bytes.decode(&[0x61, 300]), "a\u{fffd}");
    }
}
