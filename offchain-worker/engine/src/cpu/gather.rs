//! Gathers words by a table of what each point of a walk adds.

use super::affine::{Place, Point, RANGES};
use super::buffer::Plain;
use super::simd::Simd;
use super::walk::Walk;

/// What each point of a walk adds.
#[derive(Default)]
pub struct Table {
    /// Whether it is in force.
    pub filled: bool,
    offsets: Vec<i32>,
    /// For each condition, one position for each point.
    positions: Vec<Vec<i32>>,
}

impl Table {
    /// Tabulates a walk with `ranges` conditions.
    pub fn fill(&mut self, ranges: usize, walk: &Walk) {
        self.filled = true;
        self.offsets.clear();
        if self.positions.len() < ranges {
            self.positions.resize_with(ranges, Vec::new);
        }
        self.positions.iter_mut().for_each(Vec::clear);
        let unit = walk.unit();
        for (_, len, start) in walk.runs() {
            let points = |from: i64, unit: i64| {
                (0..len as i64).map(move |i| from.wrapping_add(unit.wrapping_mul(i)) as i32)
            };
            self.offsets.extend(points(start.offset, unit.offset));
            for (k, positions) in self.positions.iter_mut().enumerate() {
                positions.extend(points(start.positions[k], unit.positions[k]));
            }
        }
    }

    /// As [`Walk::read`] into adjacent words.
    #[allow(clippy::too_many_arguments)]
    pub fn gather<T: Plain>(
        &self,
        place: &Place,
        source: &[T],
        at: &Point,
        fill: u32,
        simd: Simd,
        widen: impl Fn(T) -> u32,
        out: &mut [u32],
    ) {
        // Offsets are sums modulo 2^32, whose result is below the length of the source. Positions
        // are small, so one unsigned comparison tests both ends of a range.
        const SMALL: i64 = 1 << 30;
        let base = at.offset as i32;
        let mut tests = [(0i32, 0u32); RANGES];
        for (k, range) in place.ranges.iter().enumerate() {
            let lo = range.lo.clamp(-SMALL, SMALL);
            let width = range.hi.clamp(-SMALL, SMALL) - lo;
            tests[k] = ((at.positions[k] - lo) as i32, width.max(0) as u32);
        }
        let tests = &tests[..place.ranges.len()];
        let out = &mut out[..self.offsets.len()];
        #[cfg(target_arch = "x86_64")]
        if let (Simd::Avx512, Some(words)) = (simd, as_words(source)) {
            // SAFETY: whoever asks for AVX-512 has made sure that the machine has it.
            return unsafe { self.gather_avx512(words, base, tests, fill, out) };
        }
        let _ = simd;
        for (i, to) in out.iter_mut().enumerate() {
            let passes = tests
                .iter()
                .zip(&self.positions)
                .all(|((add, width), positions)| (positions[i].wrapping_add(*add) as u32) < *width);
            *to = match passes {
                true => widen(source[self.offsets[i].wrapping_add(base) as u32 as usize]),
                false => fill,
            };
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn gather_avx512(
        &self,
        source: &[u32],
        base: i32,
        tests: &[(i32, u32)],
        fill: u32,
        out: &mut [u32],
    ) {
        use std::arch::x86_64::*;
        let len = _mm512_set1_epi32(source.len() as i32);
        let base = _mm512_set1_epi32(base);
        let fill = _mm512_set1_epi32(fill as i32);
        for (block, out) in out.chunks_mut(16).enumerate() {
            let first = block * 16;
            let lanes = ((1u32 << out.len()) - 1) as __mmask16;
            let load = |words: &[i32]| {
                let words = &words[first..first + out.len()];
                // SAFETY: the mask lets through as many words as there are.
                unsafe { _mm512_maskz_loadu_epi32(lanes, words.as_ptr()) }
            };
            let mut passes = lanes;
            for ((add, width), positions) in tests.iter().zip(&self.positions) {
                let position = _mm512_add_epi32(load(positions), _mm512_set1_epi32(*add));
                let width = _mm512_set1_epi32(*width as i32);
                passes = _mm512_mask_cmplt_epu32_mask(passes, position, width);
            }
            let offsets = _mm512_add_epi32(load(&self.offsets), base);
            let inside = _mm512_mask_cmplt_epu32_mask(passes, offsets, len);
            assert_eq!(inside, passes, "the validator bounds every offset");
            // SAFETY: lanes that pass have offsets inside of `source`, which has less than 2^31
            // words, and the mask lets through as many results as there is room for.
            unsafe {
                let words =
                    _mm512_mask_i32gather_epi32::<4>(fill, passes, offsets, source.as_ptr().cast());
                _mm512_mask_storeu_epi32(out.as_mut_ptr().cast(), lanes, words);
            }
        }
    }
}

/// The source as words, if it is that and short enough for signed 32-bit offsets.
#[cfg(target_arch = "x86_64")]
fn as_words<T: Plain>(source: &[T]) -> Option<&[u32]> {
    let words = std::any::TypeId::of::<T>() == std::any::TypeId::of::<u32>();
    if !words || source.len() > i32::MAX as usize {
        return None;
    }
    // SAFETY: `T` is `u32`.
    Some(unsafe { std::slice::from_raw_parts(source.as_ptr().cast(), source.len()) })
}
