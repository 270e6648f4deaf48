//! Packing: brings 8-bit operands into the order in which micro-kernels read them, four steps to a
//! word.

use super::micro::{GROUP, MAX_COLS};
use crate::cpu::affine::{Load, Point};
use crate::cpu::gemm::transpose::transpose;
use crate::cpu::simd::Simd;
use crate::cpu::walk::Walk;
use std::cell::RefCell;

/// Steps of a part: what each adds, the origin and the batch included.
#[derive(Default)]
pub struct Steps {
    points: Vec<Point>,
    /// Whether they lie one after another and are never outside.
    adjacent: bool,
}

impl Steps {
    /// Makes these the steps with the numbers `steps` of `load`, with `batch` for the batch's part.
    pub fn set(&mut self, load: &Load, batch: &Point, steps: impl Iterator<Item = u64>) {
        let origin = load.place.origin.plus(batch);
        let point = |step: u64| origin.plus(&load.place.red.point(step));
        self.points.clear();
        self.points.extend(steps.map(point));
        let next = |pair: &[Point]| pair[0].offset + 1 == pair[1].offset;
        self.adjacent = load.place.ranges.is_empty() && self.points.windows(2).all(next);
    }

    /// Words of every lane.
    pub fn groups(&self) -> usize {
        self.points.len().div_ceil(GROUP)
    }
}

thread_local! {
    static ROWS: RefCell<Vec<u32>> = RefCell::default();
}

/// Writes the operand's bytes for every step and lane: byte `s` of `out[group * width + lane]` is
/// that of step `4 * group + s`. Lanes from the walk's length up to `width`, and steps that are
/// missing in the last group, get zeros.
///
/// # Panics
/// When an element is outside of `source`.
pub fn pack(
    load: &Load,
    source: &[u8],
    lanes: &Walk,
    steps: &Steps,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    if lanes.len() < width {
        out.fill(0);
    }
    if steps.adjacent && steps.points.len() >= GROUP {
        return pack_columns(source, lanes, steps, width, simd, out);
    }
    for (group, out) in steps.points.chunks(GROUP).zip(out.chunks_exact_mut(width)) {
        let mut rows = [[0u8; MAX_COLS]; GROUP];
        for (row, at) in rows.iter_mut().zip(group) {
            let row = &mut row[..lanes.len()];
            match lanes.in_place(&load.place, source, at) {
                Some(bytes) => row.copy_from_slice(bytes),
                None => {
                    let mut words = [0u32; MAX_COLS];
                    let words = &mut words[..row.len()];
                    load.read(lanes, source, at, simd, words);
                    for (byte, word) in row.iter_mut().zip(words) {
                        *byte = *word as u8;
                    }
                }
            }
        }
        interleave(&rows, &mut out[..lanes.len()]);
    }
}

/// Joins the bytes of four steps lane by lane.
#[inline]
fn interleave(rows: &[[u8; MAX_COLS]; GROUP], out: &mut [u32]) {
    let [a, b, c, d] = rows;
    for (j, word) in out.iter_mut().enumerate() {
        *word = u32::from_le_bytes([a[j], b[j], c[j], d[j]]);
    }
}

/// Packs steps that lie one after another in every lane.
fn pack_columns(
    source: &[u8],
    lanes: &Walk,
    steps: &Steps,
    width: usize,
    simd: Simd,
    out: &mut [u32],
) {
    let (groups, count) = (steps.groups(), steps.points.len());
    ROWS.with_borrow_mut(|rows| {
        rows.clear();
        for lane in lanes.points() {
            let from = lane.plus(&steps.points[0]).offset as usize;
            let (words, rest) = source[from..from + count].as_chunks::<GROUP>();
            rows.extend(words.iter().map(|bytes| u32::from_le_bytes(*bytes)));
            if !rest.is_empty() {
                let mut last = [0; GROUP];
                last[..rest.len()].copy_from_slice(rest);
                rows.push(u32::from_le_bytes(last));
            }
        }
        let row = |lane: usize| &rows[lane * groups..][..groups];
        transpose(simd, row, [lanes.len(), groups], width, out);
    });
}
