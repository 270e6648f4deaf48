//! Packing: brings an operand of a contraction into the order in which micro-kernels read it.
//!
//! An element's offset, and the position on each axis that can be left, are sums of a part that
//! depends on the lane (a row or column of the output) and a part that depends on the step. Two
//! walks therefore address every transpose, convolution and gradient alike.

use super::micro::MAX_COLS;
use super::transpose::transpose;
use crate::cpu::affine::{Load, Point};
use crate::cpu::simd::Simd;
use crate::cpu::walk::Walk;

/// Length of runs of steps from which transposing them pays.
const TRANSPOSABLE: usize = 16;

/// A block of steps: what each adds, the origin and the batch included.
pub struct Steps {
    /// Runs of steps; empty when only some steps of a run are taken.
    walk: Walk,
    origin: Point,
    points: Vec<Point>,
    /// Whether runs of steps lie one after another and are inside or outside as a whole.
    transposable: bool,
    /// As many fills as the longest run has steps.
    outside: Vec<u32>,
}

impl Steps {
    /// Steps `first..first + count` of `load`, with `batch` for the batch's part.
    pub fn new(load: &Load, batch: &Point, first: u64, count: usize) -> Steps {
        let origin = load.place.origin.plus(batch);
        let mut walk = Walk::default();
        walk.set(&load.place, &load.place.red, first, count, false);
        let points = walk.points().map(|point| point.plus(&origin)).collect();
        let adjacent = Point {
            offset: 1,
            ..Point::default()
        };
        let transposable = *walk.unit() == adjacent && walk.mean_run() >= TRANSPOSABLE;
        let longest = walk.runs().map(|(_, len, _)| len).max().unwrap_or(0);
        let outside = match transposable && !load.place.ranges.is_empty() {
            true => vec![load.fill; longest],
            false => Vec::new(),
        };
        Steps {
            walk,
            origin,
            points,
            transposable,
            outside,
        }
    }
}

impl Steps {
    /// The steps with the numbers `steps`.
    pub fn listed(load: &Load, batch: &Point, steps: &[u64]) -> Steps {
        let origin = load.place.origin.plus(batch);
        let point = |step: &u64| origin.plus(&load.place.red.point(*step));
        Steps {
            walk: Walk::default(),
            origin,
            points: steps.iter().map(point).collect(),
            transposable: false,
            outside: Vec::new(),
        }
    }
}

/// Writes the operand's words for every step and lane: `out[step * width + lane]`. Lanes from the
/// walk's length up to `width` get zeros; they belong to no element of the output.
///
/// # Panics
/// When an element is outside of `source`.
pub fn pack(
    load: &Load,
    source: &[u32],
    lanes: &Walk,
    steps: &Steps,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    let count = lanes.len();
    let place = &load.place;
    let out = &mut out[..steps.points.len() * width];
    if count < width {
        for row in out.chunks_exact_mut(width) {
            row[count..].fill(0);
        }
    }
    let single = lanes.unit().offset == 1 && lanes.runs().len() == 1;
    if single && place.ranges.is_empty() {
        pack_rows(source, lanes, steps, width, out);
    } else if steps.transposable {
        pack_columns(load, source, lanes, steps, width, simd, out);
    } else if lanes.tabled() || lanes.mean_run() >= steps.walk.mean_run() {
        for (at, row) in steps.points.iter().zip(out.chunks_exact_mut(width)) {
            lanes.read(place, source, at, load.fill, simd, |x| x, row, 1);
        }
    } else {
        for (lane, at) in lanes.points().enumerate() {
            let at = at.plus(&steps.origin);
            let column = &mut out[lane..];
            let walk = &steps.walk;
            walk.read(place, source, &at, load.fill, simd, |x| x, column, width);
        }
    }
}

/// Packs lanes that lie one after another in every step.
fn pack_rows(source: &[u32], lanes: &Walk, steps: &Steps, width: usize, out: &mut [u32]) {
    let count = lanes.len();
    let first = lanes.points().next().map_or(0, |point| point.offset);
    let from = |at: &Point| first.wrapping_add(at.offset) as usize;
    let rows = steps.points.iter().map(|at| &source[from(at)..][..count]);
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
}

/// Packs runs of steps that lie one after another in every lane.
fn pack_columns(
    load: &Load,
    source: &[u32],
    lanes: &Walk,
    steps: &Steps,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    let mut points = [Point::default(); MAX_COLS];
    for (to, point) in points.iter_mut().zip(lanes.points()) {
        *to = point.plus(&steps.origin);
    }
    for (first, len, start) in steps.walk.runs() {
        let row = |lane: usize| {
            let at = points[lane].plus(&start);
            match at.passes(&load.place.ranges) {
                true => &source[at.offset as usize..][..len],
                false => &steps.outside[..len],
            }
        };
        let out = &mut out[first * width..][..len * width];
        transpose(simd, row, lanes.len(), width, out);
    }
}

/// Copies rows of `N` words, one after another.
fn rows_of<'a, const N: usize>(rows: impl Iterator<Item = &'a [u32]>, out: &mut [u32]) {
    let (out, _) = out.as_chunks_mut::<N>();
    for (row, out) in rows.zip(out) {
        *out = *row.first_chunk().expect("the row is that long");
    }
}
