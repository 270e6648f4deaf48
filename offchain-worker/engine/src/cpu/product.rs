//! How the dimensions of a fold over products fall to its two factors.
//!
//! An output dimension that only one operand follows is a row or a column; one that both follow, or
//! on which a guard depends, is a batch; the reduction is K, without the steps that the guards skip
//! in a batch. Which operand is which changes nothing, since a product does not
//! depend on the order of its factors.

use super::affine::{row_major, Domain, Load, Place, Side};
use lockstep_protocol::program::Fold;

/// Fewest rows times columns for which packing pays.
const MIN_TILE: u64 = 32;

/// Steps that a micro-kernel takes while a tape executes an instruction.
const STEPS_OF_AN_INSTRUCTION: u64 = 4;

/// The dimensions of a fold over products of its two reads.
pub struct Product {
    /// The operand of the rows and that of the columns.
    pub operands: [Operand; 2],
    /// Output dimensions that both follow.
    pub batch_dims: Vec<usize>,
    /// Number of batches, and offsets of their parts of the output.
    pub batches: u64,
    /// See [`Product::batches`].
    pub batch_layout: Side,
    /// Rows, columns, steps.
    pub size: [usize; 3],
    /// The conditions on steps, and the part of them that depends on the batch.
    guards: Place,
    batch_guards: Side,
}

/// One factor.
pub struct Operand {
    /// Which read of the body it is.
    pub read: usize,
    /// Which element is read.
    pub load: Load,
    /// Output dimensions that only this operand follows.
    pub dims: Vec<usize>,
    /// Their part of the access.
    pub lanes: Side,
    /// The part of the dimensions that both follow.
    pub batch: Side,
    /// Offsets of the lanes in the output.
    pub layout: Side,
}

impl Product {
    /// The product of the two reads of `fold`; `None` where it is too small or has no rows and
    /// columns.
    pub fn new(fold: &Fold) -> Option<Product> {
        let domain = Domain::new(&fold.body.shape, &fold.red, &[]);
        let [x, y] = fold.body.reads.as_slice() else {
            return None;
        };
        let loads = [x, y].map(|access| domain.load(access, false));
        Product::of(fold, &domain, loads)
    }

    /// As [`Product::new`], given what loads the two reads.
    pub fn of(fold: &Fold, domain: &Domain, [x, y]: [Load; 2]) -> Option<Product> {
        let guards = domain.guards(fold.when.iter());
        let follows = |load: &Load, d: usize| {
            let depends = |place: &Place| !place.out.units[d].zero();
            domain.out[d] > 1 && (depends(&load.place) || depends(&guards))
        };
        // The columns are the dimensions that the operand of the innermost one follows.
        let alone = |d: &usize| follows(&x, *d) != follows(&y, *d);
        let innermost = (0..domain.out.len()).rev().find(alone)?;
        let (loads, reads) = match follows(&x, innermost) {
            true => ([y, x], [1, 0]),
            false => ([x, y], [0, 1]),
        };
        let dims = |wanted: [bool; 2]| -> Vec<usize> {
            let of = |d: usize| [follows(&loads[0], d), follows(&loads[1], d)];
            (0..domain.out.len()).filter(|d| of(*d) == wanted).collect()
        };
        let mut lanes = [dims([true, false]), dims([false, true])];
        // What neither follows repeats the same sums, in columns as well as anywhere.
        lanes[1].extend(dims([false, false]));
        lanes[1].sort_unstable();
        let batch = dims([true, true]);
        let count = |dims: &[usize]| dims.iter().map(|d| domain.out[*d] as u64).product::<u64>();
        let (m, n) = (count(&lanes[0]), count(&lanes[1]));
        if m * n < MIN_TILE {
            return None;
        }
        let whole = row_major(&domain.out);
        let batch_layout = whole.select(&batch);
        let [rows, cols] = loads;
        let [row_dims, col_dims] = lanes;
        let operand = |load: Load, read: usize, dims: Vec<usize>| Operand {
            read,
            lanes: load.place.out.select(&dims),
            batch: load.place.out.select(&batch),
            layout: whole.select(&dims),
            load,
            dims,
        };
        Some(Product {
            operands: [
                operand(rows, reads[0], row_dims),
                operand(cols, reads[1], col_dims),
            ],
            batches: count(&batch),
            batch_layout,
            batch_guards: guards.out.select(&batch),
            batch_dims: batch,
            guards,
            size: [
                m as usize,
                n as usize,
                domain.red.iter().product::<i64>() as usize,
            ],
        })
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        let sizes = self.size.iter().map(|size| *size as u64);
        let steps = sizes.fold(self.batches, u64::saturating_mul);
        steps >= grain.saturating_mul(2 * STEPS_OF_AN_INSTRUCTION)
    }

    /// Whether guards may skip steps.
    pub fn guarded(&self) -> bool {
        !self.guards.ranges.is_empty()
    }

    /// The steps that the guards let through in a batch, listed in `room`; `None` when that is all
    /// of them.
    pub fn passing<'a>(&self, batch: u64, room: &'a mut Vec<u64>) -> Option<&'a [u64]> {
        let Place {
            origin,
            red,
            ranges,
            ..
        } = &self.guards;
        if ranges.is_empty() {
            return None;
        }
        let at = origin.plus(&self.batch_guards.point(batch));
        let steps = 0..self.size[2] as u64;
        let passes = |step: &u64| at.plus(&red.point(*step)).passes(ranges);
        room.clear();
        room.extend(steps.filter(passes));
        (room.len() < self.size[2]).then_some(room)
    }
}
