//! Tensors with a margin: a copy in which every element that a contraction may ask for is there.
//!
//! The windows of a convolution reach over the edges of the image. In a copy whose edges are as far
//! out as they reach, an access needs no conditions, and its words can be read where they lie.

use super::affine::{Domain, Load, Point};
use super::workers::Team;
use lockstep_protocol::program::Access;

/// How many times longer than the tensor its copy may be.
const MOST: u64 = 4;

/// Positions and strides below which no sum of their products can overflow.
const BOUND: i64 = 1 << 28;

/// A tensor's copy with a margin.
pub struct Padding {
    /// The axes that can be left, the outermost first.
    axes: Vec<Axis>,
    /// Words within the innermost of them.
    inner: usize,
    /// Words of the copy.
    pub len: usize,
    fill: u32,
}

#[derive(Clone, Copy)]
struct Axis {
    /// Which condition of the load it is.
    range: usize,
    extent: i64,
    stride: i64,
    /// Lowest position that is asked for, and how many are.
    low: i64,
    wide: i64,
}

impl Padding {
    /// Makes `load`, which is `access` over `domain`, one of the copy; `None` when it cannot leave
    /// the tensor, or the tensor's axes do not lie within one another.
    pub fn new(domain: &Domain, access: &Access, load: &mut Load) -> Option<Padding> {
        let leaving = access.axes.iter().filter_map(|axis| {
            let (low, high) = domain.span(&axis.form);
            let leaves = low < 0 || high >= axis.extent as i128;
            leaves.then_some((axis, low, high))
        });
        let mut axes = Vec::new();
        for (range, (axis, low, high)) in leaving.enumerate() {
            axes.push(Axis {
                range,
                extent: i64::try_from(axis.extent).ok()?,
                stride: axis.stride.0,
                low: i64::try_from(low).ok()?,
                wide: i64::try_from(high - low + 1).ok()?,
            });
        }
        axes.sort_by_key(|axis| -axis.stride);
        let (first, inner) = (*axes.first()?, axes.last()?.stride);
        let nested = axes
            .windows(2)
            .all(|pair| Some(pair[0].stride) == pair[1].stride.checked_mul(pair[1].extent));
        let outer = first.stride.checked_mul(first.extent)?;
        if !nested || inner < 1 || outer < 1 || !access.len.is_multiple_of(outer as u64) {
            return None;
        }
        let words = (axes.iter())
            .try_fold(access.len / outer as u64 * inner as u64, |len, axis| {
                len.checked_mul(axis.wide as u64)
            })?;
        if words > access.len.saturating_mul(MOST) {
            return None;
        }
        let place = &load.place;
        let units = place.out.units.iter().chain(&place.red.units);
        let bounded = |point: &Point| {
            let positions = point.positions.iter();
            point.offset.unsigned_abs() < 1 << 60 && { positions }
                .all(|position| position.unsigned_abs() < BOUND as u64)
        };
        let near = axes.iter().all(|axis| {
            axis.stride < BOUND && axis.wide < BOUND && axis.low.unsigned_abs() < BOUND as u64
        });
        if !near || !units.chain([&place.origin]).all(bounded) {
            return None;
        }
        let padding = Padding {
            axes,
            inner: inner as usize,
            len: words as usize,
            fill: access.fill,
        };
        padding.redirect(load, outer)?;
        Some(padding)
    }

    /// The axes' distances in the copy, and that of whole copies of the outermost.
    fn strides(&self) -> (Vec<i64>, i64) {
        let mut next = self.inner as i64;
        let mut strides = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            strides.push(next);
            next *= axis.wide;
        }
        strides.reverse();
        (strides, next)
    }

    /// Turns offsets in the tensor, whose outermost axis repeats every `outer` words, to offsets in
    /// the copy.
    fn redirect(&self, load: &mut Load, outer: i64) -> Option<()> {
        let (strides, copy_outer) = self.strides();
        let turn = |point: &Point| -> Point {
            let mut rest = point.offset;
            let mut offset = 0;
            for (axis, stride) in self.axes.iter().zip(&strides) {
                rest -= point.positions[axis.range] * axis.stride;
                offset += point.positions[axis.range] * stride;
            }
            let within = rest % outer;
            Point {
                offset: offset + rest / outer * copy_outer + within,
                ..Point::default()
            }
        };
        // Below the innermost axis, what the dimensions add must stay below it.
        let mut reach = 0i64;
        let below = |point: &Point| {
            let axes = self.axes.iter();
            let rest = axes.fold(point.offset, |rest, axis| {
                rest - point.positions[axis.range] * axis.stride
            });
            rest % outer
        };
        let place = &mut load.place;
        for side in [&place.out, &place.red] {
            for (unit, extent) in side.units.iter().zip(&side.extents) {
                let step = below(unit);
                if step < 0 {
                    return None;
                }
                reach = reach.checked_add(step.checked_mul(extent - 1)?)?;
            }
        }
        let start = below(&place.origin);
        if start < 0 || start + reach >= self.inner as i64 {
            return None;
        }
        place.origin = turn(&place.origin);
        for (axis, stride) in self.axes.iter().zip(&strides) {
            place.origin.offset -= axis.low * stride;
        }
        let units = place.out.units.iter_mut().chain(&mut place.red.units);
        units.for_each(|unit| *unit = turn(unit));
        place.red.merge();
        place.ranges.clear();
        Some(())
    }

    /// Copies the tensor.
    pub fn copy(&self, source: &[u32], team: Team, out: &mut [u32]) {
        let Some((last, outer)) = self.axes.split_last() else {
            return;
        };
        let row = last.wide as usize * self.inner;
        // The margins of the innermost axis, and what lies between them.
        let from = last.low.clamp(0, last.extent);
        let to = (last.low + last.wide).clamp(from, last.extent);
        let words = |positions: i64| positions as usize * self.inner;
        let (before, within) = (words((from - last.low).min(last.wide)), words(to - from));
        let rows_of_task = (1 << 14) / row.max(1) + 1;
        team.chunks(out, rows_of_task * row, |task, out| {
            for (k, out) in out.chunks_mut(row).enumerate() {
                let mut index = (task * rows_of_task + k) as i64;
                let (mut offset, mut inside) = (0, true);
                for axis in outer.iter().rev() {
                    let position = index % axis.wide + axis.low;
                    index /= axis.wide;
                    inside &= (0..axis.extent).contains(&position);
                    offset += position * axis.stride;
                }
                let first = self.axes[0];
                offset += index * first.stride * first.extent;
                if !inside {
                    out.fill(self.fill);
                    continue;
                }
                let offset = (offset + from * last.stride) as usize;
                out[..before].fill(self.fill);
                out[before..][..within].copy_from_slice(&source[offset..][..within]);
                out[before + within..].fill(self.fill);
            }
        });
    }
}
