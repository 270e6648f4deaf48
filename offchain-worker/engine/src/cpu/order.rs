//! The order in which a fold's elements are computed.
//!
//! A sum over the rows of a matrix reads fastest when neighbouring elements are neighbouring
//! columns, whichever dimension the output has innermost. So a fold may be computed in another
//! order than the output's, and put in order at the end.

use super::affine::{row_major, Domain, Place, Side};
use super::buffer::Plain;
use super::workers::Team;
use lockstep_protocol::program::Access;

/// The order of a fold's output dimensions in which most operands lie side by side, steps aside.
pub fn order(domain: &Domain, reads: &[Access]) -> Vec<usize> {
    const SIDE_BY_SIDE: i64 = 1;
    const APART: i64 = 16;
    let mut order: Vec<usize> = (0..domain.out.len()).collect();
    let places: Vec<Place> = reads
        .iter()
        .map(|access| domain.load(access, false).place)
        .collect();
    let cost = |stride: i64| match stride {
        -1..=1 => SIDE_BY_SIDE,
        _ => APART,
    };
    let total = |stride: &dyn Fn(&Place) -> i64| -> i64 {
        places.iter().map(|place| cost(stride(place))).sum()
    };
    let inner = |d: usize| total(&|place| place.out.units[d].offset);
    let wide = |d: &usize| domain.out[*d] >= 16;
    let Some(last) = (0..domain.out.len()).rfind(|d| domain.out[*d] > 1) else {
        return order;
    };
    let best = (0..last).rev().filter(wide).min_by_key(|d| inner(*d));
    match best {
        // Where steps lie side by side, a tile follows those.
        Some(best) if inner(best) < inner(last).min(total(&|place| place.red.stride())) => {
            order.remove(best);
            order.push(best);
            order
        }
        _ => order,
    }
}

/// Where each element of a row-major output is when its dimensions are ordered by `order`.
pub fn layout(domain: &Domain, order: &[usize]) -> Side {
    let extents: Vec<i64> = order.iter().map(|d| domain.out[*d]).collect();
    let ordered = row_major(&extents);
    let mut side = row_major(&domain.out);
    for (position, d) in order.iter().enumerate() {
        side.units[*d] = ordered.units[position];
    }
    side.merge();
    side
}

/// Puts elements in the order of the output.
pub fn rearrange<T: Plain>(layout: &Side, elements: &[T], team: Team, out: &mut [T]) {
    const PART: usize = 1 << 14;
    const BLOCK: usize = 256;
    team.chunks(out, PART, |part, out| {
        let mut offsets = [0; BLOCK];
        let mut first = (part * PART) as u64;
        for out in out.chunks_mut(BLOCK) {
            let offsets = &mut offsets[..out.len()];
            layout.offsets(first, offsets);
            first += out.len() as u64;
            for (to, from) in out.iter_mut().zip(offsets) {
                *to = elements[*from];
            }
        }
    });
}
