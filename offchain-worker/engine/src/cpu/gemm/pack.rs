//! Packing: brings an operand of a contraction into the order in which micro-kernels read it.
//!
//! An element's offset, and the position on each axis that can be left, are sums of a part that
//! depends on the lane (a row or column of the output) and a part that depends on the step. Two
//! walks therefore address every transpose, convolution and gradient alike.

use super::micro::MAX_COLS;
use super::transpose::transpose;
use crate::cpu::affine::{Load, Point, Side};
use crate::cpu::simd::Simd;
use crate::cpu::walk::Walk;
use std::cell::RefCell;
use std::sync::{Mutex, OnceLock};

/// Fewest words of a block, a run of lanes times a run of steps, that is packed as one.
const BLOCK: usize = 32;

/// Mean length of runs of steps from which rows are copied as they are.
const ROW_RUN: usize = 8;

/// A block of steps: what each adds, the origin and the batch included.
#[derive(Default)]
pub struct Steps {
    /// Runs of steps; empty when only some steps of a run are taken.
    walk: Walk,
    origin: Point,
    /// What each step adds; in a walk, only computed when it is asked for.
    points: OnceLock<Vec<Point>>,
    /// Room for them.
    room: Mutex<Vec<Point>>,
}

thread_local! {
    /// Blocks that are done with, whose room the next ones take over.
    static SPARE: RefCell<Vec<Steps>> = RefCell::default();
}

impl Steps {
    /// Steps `first..first + count` of `load`, with `batch` for the batch's part.
    pub fn new(load: &Load, batch: &Point, first: u64, count: usize) -> Steps {
        let mut steps = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        steps.origin = load.place.origin.plus(batch);
        let walk = &mut steps.walk;
        walk.set(&load.place, &load.place.red, first, count, false);
        steps
    }

    /// The steps with the numbers `steps`.
    pub fn listed(load: &Load, batch: &Point, steps: &[u64]) -> Steps {
        let mut block = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        let origin = load.place.origin.plus(batch);
        let point = |step: &u64| origin.plus(&load.place.red.point(*step));
        let mut points = block.take_room();
        points.extend(steps.iter().map(point));
        block.walk.clear();
        block.origin = origin;
        block.points = points.into();
        block
    }

    /// Room for points.
    fn take_room(&self) -> Vec<Point> {
        let room = self.room.lock().map(|mut room| std::mem::take(&mut *room));
        room.unwrap_or_default()
    }

    /// Leaves the room of a block to others.
    pub fn retire(mut self) {
        if let Some(mut points) = self.points.take() {
            points.clear();
            self.room = Mutex::new(points);
        }
        SPARE.with_borrow_mut(|spare| spare.push(self));
    }

    fn points(&self) -> &[Point] {
        self.points.get_or_init(|| {
            let mut points = self.take_room();
            points.extend(self.walk.points().map(|point| point.plus(&self.origin)));
            points
        })
    }

    /// Number of steps.
    fn len(&self) -> usize {
        match self.points.get() {
            Some(points) => points.len(),
            None => self.walk.len(),
        }
    }

    /// Whether the steps of each of up to `count` lanes lie side by side in runs that are inside or
    /// outside as a whole, while the lanes themselves lie apart.
    pub fn in_rows(&self, load: &Load, lanes: &Side, count: usize) -> bool {
        let unit = self.walk.unit();
        let whole = (0..load.place.ranges.len()).all(|k| unit.positions[k] == 0);
        let apart = lanes.stride() != 1 && count <= MAX_COLS;
        unit.offset == 1 && whole && apart && self.walk.mean_run() >= ROW_RUN
    }

    /// Whether runs of up to `count` of the lanes and runs of the steps make blocks, whose words
    /// are inside or outside by their row or by their column.
    pub fn in_blocks(&self, load: &Load, lanes: &Side, count: usize) -> bool {
        let unit = lanes.units.last().copied().unwrap_or_default();
        let run = lanes
            .extents
            .last()
            .map_or(count, |n| count.min(*n as usize));
        let mut both = (0..load.place.ranges.len())
            .map(|k| unit.positions[k] != 0 && self.walk.unit().positions[k] != 0);
        run * self.walk.mean_run() >= BLOCK && !both.any(|both| both)
    }
}

/// Writes the operand's words for every step and lane: `out[step * width + lane]`. Lanes from the
/// walk's length up to `width` get zeros; they belong to no element of the output. `blocks` is
/// what [`Steps::in_blocks`] says.
///
/// # Panics
/// When an element is outside of `source`.
#[allow(clippy::too_many_arguments)]
pub fn pack(
    load: &Load,
    source: &[u32],
    lanes: &Walk,
    steps: &Steps,
    blocks: bool,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    let count = lanes.len();
    let place = &load.place;
    let out = &mut out[..steps.len() * width];
    if count < width {
        for row in out.chunks_exact_mut(width) {
            row[count..].fill(0);
        }
    }
    let single = lanes.unit().offset == 1 && lanes.runs().len() == 1;
    if blocks {
        pack_blocks(load, source, lanes, steps, width, simd, out);
    } else if single && place.ranges.is_empty() {
        pack_rows(source, lanes, steps, width, out);
    } else if lanes.tabled() || lanes.mean_run() >= steps.walk.mean_run() {
        for (at, row) in steps.points().iter().zip(out.chunks_exact_mut(width)) {
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

/// Writes the operand's words lane by lane, each lane's steps at the start of `stride` words, where
/// [`Steps::in_rows`] says so.
///
/// # Panics
/// When an element is outside of `source`.
pub fn pack_lanes(
    load: &Load,
    source: &[u32],
    lanes: &Walk,
    steps: &Steps,
    stride: usize,
    out: &mut [u32],
) {
    let ranges = &load.place.ranges;
    let mut points = [Point::default(); MAX_COLS];
    let points = &mut points[..lanes.len()];
    for (to, point) in points.iter_mut().zip(lanes.points()) {
        *to = point.plus(&steps.origin);
    }
    // The lanes' lowest and highest positions: where they pass, so do all others.
    let mut reach = [points[0], points[0]];
    for point in &*points {
        for k in 0..ranges.len() {
            let position = point.positions[k];
            reach[0].positions[k] = reach[0].positions[k].min(position);
            reach[1].positions[k] = reach[1].positions[k].max(position);
        }
    }
    for (first, len, start) in steps.walk.runs() {
        let passes = |point: &Point| {
            (ranges.iter().enumerate())
                .all(|(k, range)| range.holds(point.positions[k].wrapping_add(start.positions[k])))
        };
        let all = reach.iter().all(passes);
        for (point, row) in points.iter().zip(out.chunks_mut(stride)) {
            let row = &mut row[first..first + len];
            if all || passes(point) {
                let from = point.offset.wrapping_add(start.offset) as usize;
                copy_run(&source[from..from + len], row);
            } else {
                row.fill(load.fill);
            }
        }
    }
}

/// Copies a run, which often has a few words, for which a call would take longer than the copy.
fn copy_run(from: &[u32], to: &mut [u32]) {
    let (from, from_rest) = from.as_chunks::<16>();
    let (to, to_rest) = to.as_chunks_mut::<16>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Packs lanes that lie one after another in every step.
fn pack_rows(source: &[u32], lanes: &Walk, steps: &Steps, width: usize, out: &mut [u32]) {
    let count = lanes.len();
    let first = lanes.points().next().map_or(0, |point| point.offset);
    let from = |at: &Point| first.wrapping_add(at.offset) as usize;
    let rows = steps.points().iter().map(|at| &source[from(at)..][..count]);
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

/// Packs every run of lanes in every run of steps as a block, of which a rectangle is inside.
fn pack_blocks(
    load: &Load,
    source: &[u32],
    lanes: &Walk,
    steps: &Steps,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    let (across, along) = (*lanes.unit(), *steps.walk.unit());
    let ranges = load.place.ranges.iter().enumerate();
    for (first_lane, lane_count, lane) in lanes.runs() {
        let lane = lane.plus(&steps.origin);
        for (first_step, step_count, step) in steps.walk.runs() {
            let (mut row, mut column) = ((0, lane_count), (0, step_count));
            for (k, range) in ranges.clone() {
                let from = lane.positions[k].wrapping_add(step.positions[k]);
                let narrow = |span: &mut (usize, usize), pace| {
                    let (lo, hi) = range.span(from, pace, span.1);
                    *span = (span.0.max(lo), span.1.min(hi));
                };
                match across.positions[k] {
                    0 => narrow(&mut column, along.positions[k]),
                    pace => narrow(&mut row, pace),
                }
            }
            let out = &mut out[first_step * width + first_lane..];
            if (row, column) != ((0, lane_count), (0, step_count)) {
                for row in out.chunks_mut(width).take(step_count) {
                    row[..lane_count].fill(load.fill);
                }
            }
            let inside = |span: (usize, usize)| span.1.saturating_sub(span.0);
            let block = Block {
                from: (lane.offset.wrapping_add(step.offset))
                    .wrapping_add(across.offset.wrapping_mul(row.0 as i64))
                    .wrapping_add(along.offset.wrapping_mul(column.0 as i64)),
                strides: [across.offset, along.offset],
                size: [inside(row), inside(column)],
            };
            if !block.size.contains(&0) {
                block.copy(source, simd, width, &mut out[column.0 * width + row.0..]);
            }
        }
    }
}

/// Words at equal distances in two directions: of the lanes and of the steps.
struct Block {
    from: i64,
    strides: [i64; 2],
    size: [usize; 2],
}

impl Block {
    /// Writes the word of every lane and step to `out[step * width + lane]`.
    fn copy(&self, source: &[u32], simd: Simd, width: usize, out: &mut [u32]) {
        let [lanes, steps] = self.size;
        let start = |lane: usize, step: usize| {
            let across = self.strides[0].wrapping_mul(lane as i64);
            let along = self.strides[1].wrapping_mul(step as i64);
            self.from.wrapping_add(across).wrapping_add(along) as usize
        };
        match self.strides {
            [1, _] => {
                #[cfg(target_arch = "x86_64")]
                if simd == Simd::Avx512 && lanes <= 16 {
                    // SAFETY: whoever asks for AVX-512 has made sure that the machine has it.
                    return unsafe { self.copy_short_rows(source, width, out) };
                }
                for (step, out) in out.chunks_mut(width).take(steps).enumerate() {
                    out[..lanes].copy_from_slice(&source[start(0, step)..][..lanes]);
                }
            }
            [_, 1] => {
                let row = |lane: usize| &source[start(lane, 0)..][..steps];
                transpose(simd, row, self.size, width, out);
            }
            _ => {
                for (step, out) in out.chunks_mut(width).take(steps).enumerate() {
                    for (lane, to) in out[..lanes].iter_mut().enumerate() {
                        *to = source[start(lane, step)];
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Block {
    /// As [`Block::copy`], for at most 16 adjacent lanes.
    #[target_feature(enable = "avx512f")]
    fn copy_short_rows(&self, source: &[u32], width: usize, out: &mut [u32]) {
        use std::arch::x86_64::*;
        let [lanes, steps] = self.size;
        let mask = ((1u32 << lanes) - 1) as __mmask16;
        let last = self.from + self.strides[1] * (steps as i64 - 1);
        let inside = self.from.min(last) >= 0
            && self.from.max(last) + lanes as i64 <= source.len() as i64
            && (steps - 1) * width + lanes <= out.len();
        assert!(inside, "the validator bounds every offset");
        let mut from = source.as_ptr().wrapping_offset(self.from as isize);
        let mut to = out.as_mut_ptr();
        for _ in 0..steps {
            // SAFETY: the first and the last row are inside of both, and the mask lets through as
            // many words as a row has.
            unsafe {
                let words = _mm512_maskz_loadu_epi32(mask, from.cast());
                _mm512_mask_storeu_epi32(to.cast(), mask, words);
            }
            from = from.wrapping_offset(self.strides[1] as isize);
            to = to.wrapping_add(width);
        }
    }
}

/// Copies rows of `N` words, one after another.
fn rows_of<'a, const N: usize>(rows: impl Iterator<Item = &'a [u32]>, out: &mut [u32]) {
    let (out, _) = out.as_chunks_mut::<N>();
    for (row, out) in rows.zip(out) {
        *out = *row.first_chunk().expect("the row is that long");
    }
}
