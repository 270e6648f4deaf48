//! Reads operands along one part of their access, while the other parts stand still.
//!
//! Long runs of the innermost dimension are copied, with the conditions turned into the interval of
//! the run on which they hold. Where runs are short, a table says for each point what it adds, and
//! the words are gathered.

use super::affine::{Place, Point, Range, Side, RANGES};
use super::buffer::Plain;
use super::simd::Simd;

/// Mean length of runs from which copying them is faster than gathering.
const LONG: usize = 12;

/// Consecutive points of a part.
#[derive(Default)]
pub struct Walk {
    len: usize,
    /// For each run along the innermost dimension: its first point, its length, and what its first
    /// point adds.
    runs: Vec<(usize, usize, Point)>,
    /// What one unit of the innermost dimension adds.
    unit: Point,
    table: Table,
}

/// What each point of a walk adds.
#[derive(Default)]
struct Table {
    filled: bool,
    offsets: Vec<i32>,
    /// For each condition, one position for each point.
    positions: Vec<Vec<i32>>,
}

impl Walk {
    /// Points `first..first + count` of `side`, a part of `place`. A table is made where runs are
    /// short, if the walk will be read `often`.
    pub fn set(&mut self, place: &Place, side: &Side, first: u64, count: usize, often: bool) {
        self.len = count;
        self.runs.clear();
        self.table.filled = false;
        let Some(inner) = side.extents.last().copied() else {
            self.unit = Point::default();
            self.runs.push((0, count, Point::default()));
            return;
        };
        self.unit = side.units[side.units.len() - 1];
        let mut at = 0;
        while at < count {
            let index = first + at as u64;
            let left = inner as u64 - index % inner as u64;
            let run = left.min((count - at) as u64) as usize;
            self.runs.push((at, run, side.point(index)));
            at += run;
        }
        if often && place.small && count < LONG * self.runs.len() {
            self.table.fill(place.ranges.len(), &self.runs, &self.unit);
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Points of a run on average, rounded down.
    pub fn mean_run(&self) -> usize {
        self.len / self.runs.len().max(1)
    }

    /// Elements from one point of a run to the next.
    pub fn stride(&self) -> i64 {
        self.unit.offset
    }

    /// The first point, the length and the offset of each run.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize, i64)> + '_ {
        self.runs.iter().map(|(at, len, point)| (*at, *len, point.offset))
    }

    /// Whether every point passes every condition when the other parts add `at`.
    pub fn inside(&self, ranges: &[Range], at: &Point) -> bool {
        self.runs.iter().all(|(_, len, start)| {
            ranges.iter().enumerate().all(|(k, range)| {
                let from = start.positions[k].wrapping_add(at.positions[k]);
                let last = self.unit.positions[k].wrapping_mul(*len as i64 - 1);
                range.holds(from) && range.holds(from.wrapping_add(last))
            })
        })
    }

    /// The words themselves, if they lie one after another and pass every condition.
    pub fn in_place<'a, T>(&self, place: &Place, source: &'a [T], at: &Point) -> Option<&'a [T]> {
        let [(_, len, start)] = self.runs.as_slice() else {
            return None;
        };
        if *len > 1 && self.unit.offset != 1 || !self.inside(&place.ranges, at) {
            return None;
        }
        let from = start.offset.wrapping_add(at.offset) as usize;
        Some(&source[from..from + len])
    }

    /// Reads the word of every point into every `step`-th element of `out`; `at` is what the other
    /// parts add.
    ///
    /// # Panics
    /// When an element is outside of `source`.
    #[allow(clippy::too_many_arguments)]
    pub fn read<T: Plain>(
        &self,
        place: &Place,
        source: &[T],
        at: &Point,
        fill: u32,
        simd: Simd,
        widen: impl Fn(T) -> u32 + Copy,
        out: &mut [u32],
        step: usize,
    ) {
        if self.table.filled && step == 1 {
            return self.table.gather(place, source, at, fill, simd, widen, out);
        }
        for (first, len, start) in &self.runs {
            let out = &mut out[first * step..][..(len - 1) * step + 1];
            let mut span = (0, *len);
            for (k, range) in place.ranges.iter().enumerate() {
                let from = start.positions[k].wrapping_add(at.positions[k]);
                let (lo, hi) = range.span(from, self.unit.positions[k], *len);
                span = (span.0.max(lo), span.1.min(hi));
            }
            if span.0 >= span.1 {
                out.iter_mut().step_by(step).for_each(|to| *to = fill);
                continue;
            }
            let outside = (0..span.0).chain(span.1..*len);
            outside.for_each(|i| out[i * step] = fill);
            let skipped = self.unit.offset.wrapping_mul(span.0 as i64);
            let from = start.offset.wrapping_add(at.offset).wrapping_add(skipped);
            let out = &mut out[span.0 * step..][..(span.1 - span.0 - 1) * step + 1];
            copy(source, from, self.unit.offset, widen, out, step);
        }
    }
}

/// Writes the words at `from`, `from + stride`, ... to every `step`-th element of `out`.
fn copy<T: Plain>(
    source: &[T],
    from: i64,
    stride: i64,
    widen: impl Fn(T) -> u32,
    out: &mut [u32],
    step: usize,
) {
    match (stride, step) {
        (1, 1) => {
            let source = &source[from as usize..][..out.len()];
            for (to, x) in out.iter_mut().zip(source) {
                *to = widen(*x);
            }
        }
        (0, 1) => out.fill(widen(source[from as usize])),
        _ => {
            let mut from = from;
            for to in out.iter_mut().step_by(step) {
                *to = widen(source[from as usize]);
                from = from.wrapping_add(stride);
            }
        }
    }
}

impl Table {
    fn fill(&mut self, ranges: usize, runs: &[(usize, usize, Point)], unit: &Point) {
        self.filled = true;
        self.offsets.clear();
        self.positions.resize_with(ranges, Vec::new);
        self.positions.iter_mut().for_each(Vec::clear);
        for (_, len, start) in runs {
            let points = |from: i64, unit: i64| {
                (0..*len as i64).map(move |i| from.wrapping_add(unit.wrapping_mul(i)) as i32)
            };
            self.offsets.extend(points(start.offset, unit.offset));
            for (k, positions) in self.positions.iter_mut().enumerate() {
                positions.extend(points(start.positions[k], unit.positions[k]));
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn gather<T: Plain>(
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
            let passes = tests.iter().zip(&self.positions).all(|((add, width), positions)| {
                (positions[i].wrapping_add(*add) as u32) < *width
            });
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
                let words = _mm512_mask_i32gather_epi32::<4>(
                    fill,
                    passes,
                    offsets,
                    source.as_ptr().cast(),
                );
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
