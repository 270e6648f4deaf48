//! Integers in their shortest form, so that a node has exactly one encoding.

use scale::{Compact, Decode, Encode, EncodeLike, Error, Input, Output};
use scale_info::TypeInfo;

/// A signed 64-bit integer, encoded as the SCALE compact form of its zigzag mapping
/// (0, -1, 1, -2, ... become 0, 1, 2, 3, ...).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TypeInfo)]
pub struct Int(pub i64);

impl Encode for Int {
    fn size_hint(&self) -> usize {
        9
    }
    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        let zigzag = ((self.0 << 1) ^ (self.0 >> 63)) as u64;
        Compact(zigzag).encode_to(dest)
    }
}

impl EncodeLike for Int {}

impl Decode for Int {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let zigzag = Compact::<u64>::decode(input)?.0;
        Ok(Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)))
    }
}

impl From<i64> for Int {
    fn from(value: i64) -> Self {
        Int(value)
    }
}

/// Decodes a value that must occupy `bytes` entirely and be in canonical form.
///
/// # Errors
/// A description when the bytes do not decode, leave a remainder, or are not what the value
/// encodes to.
pub fn decode_canonical<T: Decode + Encode>(bytes: &[u8]) -> Result<T, &'static str> {
    let mut input = bytes;
    let value = T::decode(&mut input).map_err(|_| "the bytes do not decode")?;
    if !input.is_empty() {
        return Err("bytes are left over after decoding");
    }
    if value.encode() != bytes {
        return Err("the encoding is not canonical");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_round_trips() {
        for v in [
            0,
            1,
            -1,
            63,
            -64,
            64,
            i64::MAX,
            i64::MIN,
            1 << 40,
            -(1 << 40),
        ] {
            let bytes = Int(v).encode();
            assert_eq!(decode_canonical::<Int>(&bytes), Ok(Int(v)));
        }
    }

    #[test]
    fn a_longer_form_of_a_small_integer_is_refused() {
        // 1 in the two-byte mode of SCALE's compact form.
        assert!(decode_canonical::<Int>(&[0b0000_0101, 0]).is_err());
    }
}
