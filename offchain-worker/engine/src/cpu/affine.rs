//! Forms and accesses of one node, rewritten for speed.
//!
//! An access is a sum of parts that depend on different coordinates: the origin, the output
//! coordinates, the reduction coordinates, the index words. Axes that can never be left need no test
//! and dissolve into one linear offset; dimensions that a part walks as one are merged. What is
//! left of a part is usually one or two dimensions, in which it is contiguous, strided or constant.

use lockstep_protocol::float;
use lockstep_protocol::program::{limits, var, Access, Dim, Dtype, Form, Guard};

/// Most conditions of an access, and of the guards of a fold.
pub const RANGES: usize = limits::AXES;

/// A condition `lo <= position < hi`.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Lowest position that passes.
    pub lo: i64,
    /// Lowest position above that does not.
    pub hi: i64,
}

impl Range {
    /// Whether a position passes.
    pub fn holds(self, position: i64) -> bool {
        self.lo <= position && position < self.hi
    }

    /// Which of the `len` positions `from`, `from + pace`, ... pass: `start..end`.
    pub fn span(self, from: i64, pace: i64, len: usize) -> (usize, usize) {
        let len = len as i64;
        let (start, end) = match pace {
            0 if self.holds(from) => return (0, len as usize),
            0 => return (0, 0),
            1 => (self.lo.saturating_sub(from), self.hi.saturating_sub(from)),
            c if c > 0 => (
                ceil_div(self.lo.saturating_sub(from), c),
                ceil_div(self.hi.saturating_sub(from), c),
            ),
            c => (
                from.saturating_sub(self.hi)
                    .div_euclid(-c)
                    .saturating_add(1),
                from.saturating_sub(self.lo)
                    .div_euclid(-c)
                    .saturating_add(1),
            ),
        };
        let start = start.clamp(0, len);
        (start as usize, end.clamp(start, len) as usize)
    }
}

fn ceil_div(a: i64, b: i64) -> i64 {
    a.saturating_neg().div_euclid(b).saturating_neg()
}

/// What one point of a part adds to the offset and to each tested position.
///
/// Arithmetic wraps: a part alone may leave the range of 64 bits, the sums that the validator
/// bounds cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Share of the offset, in elements.
    pub offset: i64,
    /// Share of each position.
    pub positions: [i64; RANGES],
}

impl Point {
    /// Whether the positions satisfy their conditions.
    #[inline]
    pub fn passes(&self, ranges: &[Range]) -> bool {
        let positions = ranges.iter().zip(&self.positions);
        positions.into_iter().all(|(range, at)| range.holds(*at))
    }

    /// The sum of two parts.
    #[inline]
    pub fn plus(&self, other: &Point) -> Point {
        let mut sum = *self;
        sum.offset = sum.offset.wrapping_add(other.offset);
        for (a, b) in sum.positions.iter_mut().zip(&other.positions) {
            *a = a.wrapping_add(*b);
        }
        sum
    }
}

/// The part of an access that depends on some dimensions.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Extents of the dimensions, the innermost last.
    pub extents: Vec<i64>,
    /// For each dimension, what one unit of it adds.
    pub units: Vec<Point>,
}

impl Side {
    fn new(shape: &[i64]) -> Side {
        Side {
            extents: shape.to_vec(),
            units: vec![Point::default(); shape.len()],
        }
    }

    /// The part that depends on dimensions `dims` alone, merged.
    pub fn select(&self, dims: &[usize]) -> Side {
        let mut side = Side {
            extents: dims.iter().map(|d| self.extents[*d]).collect(),
            units: dims.iter().map(|d| self.units[*d]).collect(),
        };
        side.merge();
        side
    }

    /// Drops dimensions of extent 1 and merges those that are walked as one.
    pub fn merge(&mut self) {
        for d in (0..self.extents.len()).rev() {
            let one = match (self.units.get(d + 1), self.extents.get(d + 1)) {
                _ if self.extents[d] == 1 => true,
                (Some(unit), Some(extent)) => {
                    let scaled = |x: i64| x.checked_mul(*extent);
                    let outer = &self.units[d];
                    scaled(unit.offset) == Some(outer.offset)
                        && (unit.positions.iter().zip(&outer.positions))
                            .all(|(inner, outer)| scaled(*inner) == Some(*outer))
                }
                _ => false,
            };
            if one {
                let extent = self.extents.remove(d);
                self.units.remove(d);
                if let Some(inner) = self.extents.get_mut(d) {
                    *inner *= extent;
                }
            }
        }
        if self.units.iter().all(|unit| unit.zero()) {
            self.extents.clear();
            self.units.clear();
        }
    }

    /// Whether nothing depends on the dimensions.
    pub fn constant(&self) -> bool {
        self.extents.is_empty()
    }

    /// Elements from one point of the innermost dimension to the next.
    pub fn stride(&self) -> i64 {
        self.units.last().map_or(0, |unit| unit.offset)
    }

    /// After how many points it repeats itself, if only the innermost dimension adds anything.
    pub fn period(&self) -> Option<u64> {
        let (inner, outer) = (self.extents.last()?, &self.units[..self.units.len() - 1]);
        outer.iter().all(Point::zero).then_some(*inner as u64)
    }

    /// The offsets of consecutive points from row-major index `first`.
    pub fn offsets(&self, first: u64, out: &mut [usize]) {
        let Some(inner) = self.extents.last().copied() else {
            return out.fill(0);
        };
        let stride = self.stride() as usize;
        let mut at = 0;
        while at < out.len() {
            let index = first + at as u64;
            let left = (inner as u64 - index % inner as u64) as usize;
            let run = left.min(out.len() - at);
            let start = self.point(index).offset as usize;
            for (i, offset) in out[at..at + run].iter_mut().enumerate() {
                *offset = start + i * stride;
            }
            at += run;
        }
    }

    /// What the point with row-major index `index` adds.
    pub fn point(&self, mut index: u64) -> Point {
        let mut sum = Point::default();
        for (extent, unit) in self.extents.iter().zip(&self.units).rev() {
            let x = (index % *extent as u64) as i64;
            index /= *extent as u64;
            sum = sum.plus(&unit.times(x));
        }
        sum
    }
}

impl Point {
    /// Whether it adds nothing.
    pub fn zero(&self) -> bool {
        let bits = self.positions.iter().fold(self.offset, |bits, p| bits | p);
        bits == 0
    }

    /// As many times the part.
    #[inline]
    pub fn times(&self, x: i64) -> Point {
        Point {
            offset: self.offset.wrapping_mul(x),
            positions: self.positions.map(|p| p.wrapping_mul(x)),
        }
    }
}

/// The offsets of a row-major tensor.
pub fn row_major(extents: &[i64]) -> Side {
    let mut stride = extents.iter().product::<i64>();
    let unit = |extent: &i64| {
        stride /= extent;
        Point {
            offset: stride,
            ..Point::default()
        }
    };
    Side {
        units: extents.iter().map(unit).collect(),
        extents: extents.to_vec(),
    }
}

/// An offset and the conditions under which it is taken, as sums of parts.
#[derive(Clone, Debug)]
pub struct Place {
    /// The constant part.
    pub origin: Point,
    /// The part of the output coordinates.
    pub out: Side,
    /// The part of the reduction coordinates.
    pub red: Side,
    /// The parts of the index words, for each unit of them.
    pub words: [Point; limits::INDEX],
    /// Conditions on the positions, as many as there are.
    pub ranges: Vec<Range>,
    /// Whether words may be gathered: all positions, and all their parts, fit in 30 bits, and all
    /// offsets in 31.
    pub small: bool,
}

impl Place {
    /// Puts the output dimensions in the order `order` and merges them.
    pub fn arrange(&mut self, order: &[usize]) {
        self.out = self.out.select(order);
    }

    /// Whether anything depends on an index word.
    pub fn indexed(&self) -> bool {
        self.words.iter().any(|word| !word.zero())
    }
}

/// An operand.
#[derive(Clone, Debug)]
pub struct Load {
    /// The node that is read.
    pub node: u32,
    /// Its element type.
    pub dtype: Dtype,
    /// Which element, if the conditions hold.
    pub place: Place,
    /// The register value if they do not.
    pub fill: u32,
    /// Whether the node's bytes may hold a NaN that is not canonical.
    pub payload: bool,
}

/// The points of a node.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Extents of the output dimensions.
    pub out: Vec<i64>,
    /// Extents of the reduction dimensions.
    pub red: Vec<i64>,
    /// Lowest and highest value of each index word.
    pub words: Vec<(i64, i64)>,
}

impl Domain {
    /// The domain of a node with these dimensions and index words.
    pub fn new(out: &[Dim], red: &[Dim], index: &[Access]) -> Domain {
        let extents = |dims: &[Dim]| dims.iter().map(|d| d.0 as i64).collect();
        Domain {
            out: extents(out),
            red: extents(red),
            words: index.iter().map(word_range).collect(),
        }
    }

    /// An access over this domain; its output part is not merged.
    pub fn load(&self, access: &Access, payload: bool) -> Load {
        let mut place = self.nowhere();
        place.origin.offset = access.base.0;
        for axis in &access.axes {
            self.add(&mut place, &axis.form, |point| {
                (&mut point.offset, axis.stride.0)
            });
            let (low, high) = self.span(&axis.form);
            if low < 0 || high >= axis.extent as i128 {
                let hi = i64::try_from(axis.extent).unwrap_or(i64::MAX);
                self.condition(&mut place, &axis.form, Range { lo: 0, hi });
            }
        }
        place.red.merge();
        place.small &= access.len < 1 << 31;
        // Such a fill must pass where a loaded word would not, so the two cannot be mixed.
        place.small &= !(payload && access.fill != float::canonical(access.fill));
        Load {
            node: access.node,
            dtype: access.dtype,
            place,
            fill: access.fill,
            payload,
        }
    }

    /// The elements of a tensor whose dimensions are those of the reduction and then those of the
    /// output, row-major; its output part is not merged.
    pub fn whole(&self) -> Place {
        let mut side = row_major(&[&self.red[..], &self.out[..]].concat());
        let mut place = self.nowhere();
        place.out.units = side.units.split_off(self.red.len());
        place.red.units = side.units;
        place.red.merge();
        place
    }

    /// A form over this domain, as an offset without conditions; its output part is not merged.
    pub fn form(&self, form: &Form) -> Place {
        let mut place = self.nowhere();
        self.add(&mut place, form, |point| (&mut point.offset, 1));
        place.red.merge();
        place
    }

    /// Guards over this domain, as conditions without an offset; their output part is not merged.
    pub fn guards<'a>(&self, guards: impl Iterator<Item = &'a Guard>) -> Place {
        let mut place = self.nowhere();
        for guard in guards {
            let range = Range {
                lo: guard.lo.0,
                hi: guard.hi.0,
            };
            self.condition(&mut place, &guard.form, range);
        }
        place.red.merge();
        place
    }

    fn nowhere(&self) -> Place {
        Place {
            origin: Point::default(),
            out: Side::new(&self.out),
            red: Side::new(&self.red),
            words: Default::default(),
            ranges: Vec::new(),
            small: true,
        }
    }

    fn condition(&self, place: &mut Place, form: &Form, range: Range) {
        let k = place.ranges.len();
        self.add(place, form, |point| (&mut point.positions[k], 1));
        place.ranges.push(range);
        let reach = form
            .terms
            .iter()
            .fold(form.constant.0.unsigned_abs() as u128, |sum, term| {
                let (low, high) = self.values(term.var);
                let magnitude = low.unsigned_abs().max(high.unsigned_abs());
                sum.saturating_add(term.coef.0.unsigned_abs() as u128 * magnitude as u128)
            });
        place.small &= reach < 1 << 30;
    }

    /// Adds `form` times the scale that `to` gives to the number that it names in every part.
    fn add<'a>(
        &self,
        place: &mut Place,
        form: &Form,
        to: impl for<'p> Fn(&'p mut Point) -> (&'p mut i64, i64) + 'a,
    ) {
        let add = |point: &mut Point, coef: i64| {
            let (sum, scale) = to(point);
            *sum = sum.wrapping_add(coef.wrapping_mul(scale));
        };
        add(&mut place.origin, form.constant.0);
        for term in &form.terms {
            let point = if term.var < var::RED {
                &mut place.out.units[term.var as usize]
            } else if term.var < var::INDEX {
                &mut place.red.units[(term.var - var::RED) as usize]
            } else {
                &mut place.words[(term.var - var::INDEX) as usize]
            };
            add(point, term.coef.0);
        }
    }

    /// The lowest and highest value of a variable.
    fn values(&self, variable: u8) -> (i64, i64) {
        if variable < var::RED {
            (0, self.out[variable as usize] - 1)
        } else if variable < var::INDEX {
            (0, self.red[(variable - var::RED) as usize] - 1)
        } else {
            self.words[(variable - var::INDEX) as usize]
        }
    }

    /// The lowest and highest value of a form.
    pub fn span(&self, form: &Form) -> (i128, i128) {
        let constant = form.constant.0 as i128;
        form.terms
            .iter()
            .fold((constant, constant), |(low, high), term| {
                let (lo, hi) = self.values(term.var);
                let (a, b) = (
                    term.coef.0 as i128 * lo as i128,
                    term.coef.0 as i128 * hi as i128,
                );
                (low + a.min(b), high + a.max(b))
            })
    }
}

/// The values that an index word can take, read as its dtype says.
fn word_range(access: &Access) -> (i64, i64) {
    let (lo, hi) = match access.dtype {
        Dtype::U8 => (0, u8::MAX as i64),
        Dtype::U16 => (0, u16::MAX as i64),
        Dtype::I8 => (i8::MIN as i64, i8::MAX as i64),
        Dtype::U32 => (0, u32::MAX as i64),
        Dtype::I32 | Dtype::F32 => (i32::MIN as i64, i32::MAX as i64),
    };
    let fill = word(access.dtype, access.fill);
    (lo.min(fill), hi.max(fill))
}

/// An index word as a variable of forms.
pub fn word(dtype: Dtype, bits: u32) -> i64 {
    match dtype {
        Dtype::U32 => bits as i64,
        _ => bits as i32 as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_positions_that_hold() {
        for pace in -4..=4 {
            for from in -9..=9 {
                for (lo, hi) in [(0, 1), (0, 5), (-3, 2), (4, i64::MAX), (i64::MIN, -1)] {
                    let range = Range { lo, hi };
                    let (start, end) = range.span(from, pace, 7);
                    let inside: Vec<i64> =
                        (0..7).filter(|i| range.holds(from + pace * i)).collect();
                    let span: Vec<i64> = (start as i64..end as i64).collect();
                    assert_eq!(span, inside, "{from} + {pace} * i in {lo}..{hi}");
                }
            }
        }
    }

    #[test]
    fn merged_parts_add_the_same_at_every_point() {
        let unit = |offset: i64, position: i64| {
            let mut point = Point {
                offset,
                ..Point::default()
            };
            point.positions[0] = position;
            point
        };
        for (extents, units) in [
            (vec![3, 4, 5], vec![unit(20, 0), unit(5, 0), unit(1, 0)]),
            (vec![3, 1, 5], vec![unit(5, 2), unit(9, 9), unit(1, 0)]),
            (vec![2, 3, 4], vec![unit(0, 0), unit(0, 0), unit(1, -1)]),
            (vec![2, 3, 4], vec![unit(1, 12), unit(0, 4), unit(0, 1)]),
            (vec![2, 3], vec![unit(0, 0), unit(0, 0)]),
        ] {
            let plain = Side { extents, units };
            let mut merged = plain.clone();
            merged.merge();
            assert!(merged.extents.len() <= plain.extents.len());
            for index in 0..plain.extents.iter().product::<i64>() as u64 {
                assert_eq!(
                    merged.point(index),
                    plain.point(index),
                    "{plain:?} at {index}"
                );
            }
        }
    }
}
