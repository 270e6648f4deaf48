//! Random elements: mostly tame numbers, with the edges of every type among them.

use super::Rng;
use crate::program::Dtype;
use alloc::vec::Vec;

pub(super) const DTYPES: [Dtype; 6] = [
    Dtype::F32,
    Dtype::I32,
    Dtype::U32,
    Dtype::U8,
    Dtype::I8,
    Dtype::U16,
];

/// Words at which operations change their behaviour.
const EDGES: [u32; 32] = [
    0x0000_0000, // 0
    0x8000_0000, // -0, the lowest integer
    0x0000_0001, // the least subnormal, 1
    0x8000_0001,
    0x007f_ffff, // the greatest subnormal
    0x807f_ffff,
    0x0080_0000, // the least normal
    0x8080_0000,
    0x7f7f_ffff, // the greatest finite
    0xff7f_ffff,
    0x7f80_0000, // infinity
    0xff80_0000,
    0x7fc0_0000, // the canonical NaN
    0xffc0_0000, // other NaNs, quiet and signalling
    0x7f80_0001,
    0xff80_0001,
    0x7fff_ffff, // the greatest integer
    0xffff_ffff, // -1
    0x3f80_0000, // 1.0
    0xbf80_0000,
    0x3f7f_ffff, // the float below 1
    0x3f80_0001,
    0x4f00_0000, // 2^31
    0xcf00_0000,
    0x4f80_0000, // 2^32
    0x4b80_0001, // an odd multiple of 2
    0x3400_0000, // 2^-23
    0x5f7f_ffff, // overflows when squared
    0x1f80_0000, // underflows when squared
    31,
    32,
    33,
];

/// A float of ordinary size with random low bits.
pub(super) fn tame_float(rng: &mut Rng) -> u32 {
    let exponent = 127 - rng.below(6) as u32;
    let sign = rng.below(2) as u32;
    sign << 31 | exponent << 23 | rng.below(1 << 23) as u32
}

/// A register value: a float, a small integer or an edge.
pub(super) fn word(rng: &mut Rng) -> u32 {
    match rng.below(8) {
        0..=3 => tame_float(rng),
        4 | 5 => rng.between(-4, 40) as u32,
        6 => rng.pick(&EDGES),
        _ => rng.next() as u32,
    }
}

/// The bytes of a tensor. Most tensors are tame, since one NaN soon is everywhere; some hold a few
/// edges and some nothing else.
pub(super) fn tensor(rng: &mut Rng, dtype: Dtype, len: u64) -> Vec<u8> {
    let edges = rng.pick(&[0, 0, 0, 0, 2, 2, 50]);
    let mut bytes = Vec::new();
    for _ in 0..len {
        let word = if rng.below(100) < edges {
            rng.pick(&EDGES)
        } else if dtype == Dtype::F32 {
            tame_float(rng)
        } else {
            rng.between(-4, 40) as u32
        };
        // The bits as they are: a file may hold any NaN.
        bytes.extend_from_slice(&word.to_le_bytes()[..dtype.size() as usize]);
    }
    bytes
}
