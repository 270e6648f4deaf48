//! Packing: brings an operand of a contraction into the order in which micro-kernels read it.
//!
//! An element's offset, and the position on each axis that can be left, are sums of a part that
//! depends on the lane (a row or column of the output) and a part that depends on the step. Two
//! tables therefore address every transpose, convolution and gradient alike.

use super::transpose::transpose;
use crate::cpu::affine::{Linear, Load};
use crate::cpu::simd::Simd;

/// Some lanes, or some steps: what each adds to the offset and to the tested positions.
#[derive(Default)]
pub struct Walk {
    offsets: Vec<i64>,
    /// For each bound of the operand, one position for each element of the walk.
    positions: Vec<Vec<i64>>,
    /// First element and length of each run along the innermost dimension.
    runs: Vec<(usize, usize)>,
    /// Offset from one element of a run to the next.
    stride: i64,
    /// For each bound, the same for its position.
    paces: Vec<i64>,
}

impl Walk {
    /// Walks `count` points from `first` over the dimensions `dims` (numbers of coordinates and
    /// extents, the innermost last). The walk contains the operand's constants if `origin` holds
    /// the coordinates to add them at.
    pub fn set(
        &mut self,
        load: &Load,
        dims: &[(usize, i64)],
        first: usize,
        count: usize,
        origin: Option<&[i64]>,
    ) {
        let bounds = load.bounds.len();
        self.positions.resize_with(bounds, Vec::new);
        self.paces.clear();
        self.runs.clear();
        let inner = dims.last().copied();
        let along = |form: &Linear| inner.map_or(0, |(d, _)| form.coords[d]);
        let mut start = [0i64; 12];
        let start = &mut start[..dims.len()];
        let mut left = first as u64;
        for ((_, extent), x) in dims.iter().zip(start.iter_mut()).rev() {
            *x = (left % *extent as u64) as i64;
            left /= *extent as u64;
        }
        let mut coords = [0i64; 12];
        coords[..start.len()].copy_from_slice(start);
        let coords = &mut coords[..start.len()];
        let value = |form: &Linear, coords: &[i64]| {
            let from = origin.map_or(0, |origin| form.at(origin));
            dims.iter().zip(coords).fold(from, |sum, ((d, _), x)| {
                sum.wrapping_add(form.coords[*d].wrapping_mul(*x))
            })
        };
        self.stride = along(&load.offset);
        self.offsets.clear();
        self.positions.iter_mut().for_each(Vec::clear);
        self.paces
            .extend(load.bounds.iter().map(|b| along(&b.form)));
        let mut at = 0;
        while at < count {
            let run = match (inner, coords.last()) {
                (Some((_, extent)), Some(x)) => ((extent - x) as usize).min(count - at),
                _ => 1,
            };
            self.runs.push((at, run));
            extend(
                &mut self.offsets,
                value(&load.offset, coords),
                self.stride,
                run,
            );
            for (k, bound) in load.bounds.iter().enumerate() {
                let from = value(&bound.form, coords);
                extend(&mut self.positions[k], from, self.paces[k], run);
            }
            at += run;
            if let Some(last) = coords.last_mut() {
                *last = 0;
            }
            for d in (0..dims.len().saturating_sub(1)).rev() {
                coords[d] += 1;
                if coords[d] < dims[d].1 {
                    break;
                }
                coords[d] = 0;
            }
        }
    }

    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn mean_run(&self) -> usize {
        self.len() / self.runs.len().max(1)
    }
}

fn extend(to: &mut Vec<i64>, from: i64, step: i64, count: usize) {
    to.extend((0..count as i64).map(|i| from.wrapping_add(step.wrapping_mul(i))));
}

/// Writes the operand's words for every step and lane: `out[step * width + lane]`. Lanes from the
/// walk's length up to `width` get zeros; they belong to no element of the output.
///
/// # Panics
/// When an element is outside of `source`.
pub fn pack(
    load: &Load,
    source: &[f32],
    lanes: &Walk,
    steps: &Walk,
    width: usize,
    simd: Simd,
    out: &mut [f32],
) {
    let count = lanes.len();
    let out = &mut out[..steps.len() * width];
    if count < width {
        for row in out.chunks_exact_mut(width) {
            row[count..].fill(0.0);
        }
    }
    // Along lanes the output is contiguous, so that is better at equal length of runs.
    let by_lane = lanes.stride.unsigned_abs() <= 1 && lanes.mean_run() >= 8
        || lanes.mean_run() >= steps.mean_run() && steps.stride.unsigned_abs() != 1
        || steps.mean_run() < 4;
    let inside = always_inside(load, lanes, steps);
    if inside && by_lane && lanes.runs.len() == 1 && lanes.stride == 1 {
        let offset = |step: &i64| step.wrapping_add(lanes.offsets[0]) as usize;
        let rows = steps
            .offsets
            .iter()
            .map(|step| &source[offset(step)..][..count]);
        match (count, width) {
            (32, 32) => rows_of::<32>(rows, out),
            (16, 16) => rows_of::<16>(rows, out),
            (14, 14) => rows_of::<14>(rows, out),
            _ => {
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    out[..count].copy_from_slice(row);
                }
            }
        }
    } else if inside && !by_lane && steps.stride == 1 {
        for run in &steps.runs {
            let offset = |lane: usize| lanes.offsets[lane].wrapping_add(steps.offsets[run.0]);
            let row = |lane: usize| &source[offset(lane) as usize..][..run.1];
            let out = &mut out[run.0 * width..][..run.1 * width];
            transpose(simd, row, count, width, out);
        }
    } else if by_lane {
        for (s, row) in out.chunks_exact_mut(width).enumerate() {
            for run in &lanes.runs {
                let out = &mut row[run.0..run.0 + run.1];
                copy(load, source, (steps, s), (lanes, *run), inside, out, 1);
            }
        }
    } else {
        for lane in 0..count {
            for run in &steps.runs {
                let out = &mut out[run.0 * width + lane..];
                copy(
                    load,
                    source,
                    (lanes, lane),
                    (steps, *run),
                    inside,
                    out,
                    width,
                );
            }
        }
    }
}

/// Copies rows of `N` words, one after another.
fn rows_of<'a, const N: usize>(rows: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    let (out, _) = out.as_chunks_mut::<N>();
    for (row, out) in rows.zip(out) {
        *out = *row.first_chunk().expect("the row is that long");
    }
}

/// Whether no bound can be left on these lanes and steps.
fn always_inside(load: &Load, lanes: &Walk, steps: &Walk) -> bool {
    let span = |values: &[i64]| {
        let low = values.iter().copied().min().unwrap_or(0);
        let high = values.iter().copied().max().unwrap_or(0);
        (low, high)
    };
    load.bounds.iter().enumerate().all(|(k, bound)| {
        let (a, b) = (span(&lanes.positions[k]), span(&steps.positions[k]));
        a.0 + b.0 >= bound.lo && a.1 + b.1 < bound.hi
    })
}

/// Writes one run of `inner`, at one point of `outer`, to every `step`-th word of `out`.
fn copy(
    load: &Load,
    source: &[f32],
    (outer, at): (&Walk, usize),
    (inner, run): (&Walk, (usize, usize)),
    inside: bool,
    out: &mut [f32],
    step: usize,
) {
    let len = run.1;
    let mut span = (0, len);
    if !inside {
        for (k, bound) in load.bounds.iter().enumerate() {
            let from = outer.positions[k][at].wrapping_add(inner.positions[k][run.0]);
            let (start, end) = bound.span(from, inner.paces[k], len);
            span = (span.0.max(start), span.1.min(end));
        }
        span.1 = span.1.max(span.0);
        let fill = f32::from_bits(load.fill);
        let outside = (0..span.0).chain(span.1..len);
        outside.for_each(|i| out[i * step] = fill);
    }
    let count = span.1 - span.0;
    if count == 0 {
        return;
    }
    let stride = inner.stride;
    let from = outer.offsets[at]
        .wrapping_add(inner.offsets[run.0])
        .wrapping_add(stride.wrapping_mul(span.0 as i64));
    let out = &mut out[span.0 * step..][..(count - 1) * step + 1];
    if stride == 1 {
        let source = &source[from as usize..][..count];
        if step == 1 {
            out.copy_from_slice(source);
        } else {
            for (to, x) in out.iter_mut().step_by(step).zip(source) {
                *to = *x;
            }
        }
    } else {
        let mut from = from;
        for to in out.iter_mut().step_by(step) {
            *to = source[from as usize];
            from = from.wrapping_add(stride);
        }
    }
}
