//! Folds that take the greatest magnitude, as quantisation does for every block.
//!
//! The maximum of IEEE 754-2019 may be taken in any order, and that of magnitudes is the maximum of
//! their bits as unsigned integers: infinity lies above the numbers, every NaN above infinity. Only
//! at the end does a NaN become the canonical one.

use super::affine::{Domain, Load, Point, Side};
use super::buffer::{view, view_mut};
use super::memory::Values;
use super::simd::Simd;
use super::walk::Walk;
use super::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Op};

/// All bits but the sign.
const MAGNITUDE: u32 = !(1 << 31);
/// Output elements of a task.
const PART: usize = 1024;
/// Length of runs of outputs from which taking a step for all of them pays.
const LONG: usize = 16;

/// A greatest magnitude made ready.
pub struct Magnitude {
    load: Load,
    /// The part of the output dimensions, merged.
    out: Side,
    elements: u64,
    steps: u64,
    simd: Simd,
}

impl Magnitude {
    /// Recognises such a fold.
    pub fn recognise(fold: &Fold, simd: Simd) -> Option<Magnitude> {
        let body = &fold.body;
        let [x] = body.reads.as_slice() else {
            return None;
        };
        let greatest = matches!(
            body.ops.as_slice(),
            [Op::FAbs(1), Op::FMax(0, 2) | Op::FMax(2, 0)]
        );
        let floats = [body.dtype, x.dtype] == [Dtype::F32; 2];
        let bare = body.index.is_empty() && body.values.is_empty() && body.consts.is_empty();
        if !greatest || !floats || !bare || !fold.when.is_empty() || fold.init != Init::Word(0) {
            return None;
        }
        let domain = Domain::new(&body.shape, &fold.red, &[]);
        let load = domain.load(x, false);
        // Zeros outside never are the greatest.
        if !load.place.ranges.is_empty() && load.fill & MAGNITUDE != 0 {
            return None;
        }
        let all: Vec<usize> = (0..domain.out.len()).collect();
        let count = |extents: &[i64]| extents.iter().map(|d| *d as u64).product();
        Some(Magnitude {
            out: load.place.out.select(&all),
            elements: count(&domain.out),
            steps: count(&domain.red),
            load,
            simd,
        })
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        self.elements.saturating_mul(self.steps) >= grain.saturating_mul(2)
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let source = view::<u32>(values.get(self.load.node));
        let mut steps = Walk::default();
        let place = &self.load.place;
        steps.set(place, &place.red, 0, self.steps as usize, false);
        let team = match self.divisible(team.grain) {
            true => team,
            false => team.alone(),
        };
        let part = match team.threads {
            1 => self.elements as usize,
            _ => PART,
        };
        team.chunks(view_mut::<u32>(out), part, |k, out| {
            let mut elements = Walk::default();
            elements.set(place, &self.out, (k * part) as u64, out.len(), false);
            out.fill(0);
            let side_by_side = elements.unit().offset == 1 && elements.mean_run() >= LONG;
            if side_by_side && steps.unit().offset != 1 {
                self.rows(source, &elements, &steps, out);
            } else {
                self.columns(source, &elements, &steps, out);
            }
            for word in out {
                *word = float::canonical(*word);
            }
        });
    }

    /// Takes each step for runs of elements that lie side by side.
    fn rows(&self, source: &[u32], elements: &Walk, steps: &Walk, out: &mut [u32]) {
        for (first, len, start) in elements.runs() {
            for step in steps.points() {
                let at = start.plus(&step);
                let (low, high, from) = self.inside(&at, elements.unit(), len);
                let source = &source[from..from + (high - low)];
                join(self.simd, &mut out[first + low..first + high], source);
            }
        }
    }

    /// Takes all steps for one element after another.
    fn columns(&self, source: &[u32], elements: &Walk, steps: &Walk, out: &mut [u32]) {
        let unit = steps.unit();
        for (element, out) in elements.points().zip(out) {
            for (_, len, start) in steps.runs() {
                let at = element.plus(&start);
                let (low, high, from) = self.inside(&at, unit, len);
                let greatest = match unit.offset {
                    1 => greatest(self.simd, &source[from..from + (high - low)]),
                    stride => (0..(high - low) as i64)
                        .map(|i| source[(from as i64 + i * stride) as usize] & MAGNITUDE)
                        .max()
                        .unwrap_or(0),
                };
                *out = (*out).max(greatest);
            }
        }
    }

    /// Which of `len` points from `at` on are inside, and the offset of the first of these.
    fn inside(&self, at: &Point, unit: &Point, len: usize) -> (usize, usize, usize) {
        let place = &self.load.place;
        let at = at.plus(&place.origin);
        let mut span = (0, len);
        for (k, range) in place.ranges.iter().enumerate() {
            let (low, high) = range.span(at.positions[k], unit.positions[k], len);
            span = (span.0.max(low), span.1.min(high));
        }
        if span.0 >= span.1 {
            return (0, 0, 0);
        }
        let first = at.plus(&unit.times(span.0 as i64));
        (span.0, span.1, first.offset as usize)
    }
}

/// Makes each of `acc` the greater of itself and the magnitude beside it.
fn join(simd: Simd, acc: &mut [u32], source: &[u32]) {
    match simd {
        // SAFETY: whoever asks for an instruction set has made sure that the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { join_avx512(acc, source) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { join_avx2(acc, source) },
        _ => join_all(acc, source),
    }
}

/// The greatest magnitude of some words.
fn greatest(simd: Simd, source: &[u32]) -> u32 {
    match simd {
        // SAFETY: whoever asks for an instruction set has made sure that the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { greatest_avx512(source) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { greatest_avx2(source) },
        _ => greatest_all(source),
    }
}

#[inline(always)]
fn join_all(acc: &mut [u32], source: &[u32]) {
    for (acc, x) in acc.iter_mut().zip(source) {
        *acc = (*acc).max(x & MAGNITUDE);
    }
}

#[inline(always)]
fn greatest_all(source: &[u32]) -> u32 {
    source.iter().fold(0, |most, x| most.max(x & MAGNITUDE))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn join_avx512(acc: &mut [u32], source: &[u32]) {
    join_all(acc, source)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn join_avx2(acc: &mut [u32], source: &[u32]) {
    join_all(acc, source)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn greatest_avx512(source: &[u32]) -> u32 {
    greatest_all(source)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn greatest_avx2(source: &[u32]) -> u32 {
    greatest_all(source)
}
