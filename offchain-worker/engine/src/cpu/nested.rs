//! Folds whose steps lie between the outer and the inner dimension of their operands.
//!
//! A row of a matrix is summed in 32 lanes, the sums in another fold: element `(row, lane)` takes
//! the words `lane`, `lane + 32`, ... of its row. Taken output by output such operands come in short
//! runs; taken as they lie, they are read like a map's.

use super::affine::{Domain, Load, Point, Side};
use lockstep_protocol::program::Access;

/// How the points of such a fold are nested: outer dimensions, steps, inner dimension.
#[derive(Clone, Copy)]
pub struct Nested {
    /// The inner dimension, and its extent.
    dim: usize,
    /// See [`Nested::dim`].
    pub inner: u64,
    /// Steps.
    pub steps: u64,
}

impl Nested {
    /// Recognises operands that either run through steps and inner dimension without a gap, or
    /// stand still in both.
    pub fn recognise(domain: &Domain, reads: &[Access]) -> Option<Nested> {
        let dim = domain.out.iter().rposition(|extent| *extent > 1)?;
        let nested = Nested {
            dim,
            inner: domain.out[dim] as u64,
            steps: domain.red.iter().product::<i64>() as u64,
        };
        let runs = |access: &Access| {
            let place = domain.load(access, false).place;
            let (inner, step) = (&place.out.units[dim], nested.step(&place.red)?);
            let strides = [inner.offset, step.offset];
            (place.ranges.is_empty() && !place.indexed()).then_some(strides)
        };
        let strides: Vec<[i64; 2]> = reads.iter().map(runs).collect::<Option<_>>()?;
        let gapless = [1, nested.inner as i64];
        let known = strides.iter().all(|s| *s == gapless || *s == [0, 0]);
        let outer = domain.out[..dim].iter().any(|extent| *extent > 1);
        (known && strides.contains(&gapless) && outer && nested.inner.is_multiple_of(16))
            .then_some(nested)
    }

    /// What one step adds, if all steps add the same.
    fn step(&self, red: &Side) -> Option<Point> {
        match red.units.as_slice() {
            [] => Some(Point::default()),
            [unit] if red.extents[0] as u64 == self.steps => Some(*unit),
            _ => None,
        }
    }

    /// The operand as that of a map over all points; its output part must not be merged yet.
    pub fn over_points(&self, mut load: Load) -> Load {
        let step = self.step(&load.place.red).unwrap_or_default();
        let points = &mut load.place.out;
        points.units.insert(self.dim, step);
        points.extents.insert(self.dim, self.steps as i64);
        points.merge();
        load.place.red = Side::default();
        load
    }
}
