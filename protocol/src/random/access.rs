//! Random forms and accesses that the validator accepts.

use super::{value, Rng};
use crate::encoding::Int;
use crate::program::{Access, Axis, Form};
use alloc::vec::Vec;

/// A variable and the values that it mostly takes.
#[derive(Clone, Copy)]
pub(super) struct Variable {
    pub(super) var: u8,
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Variable {
    /// A coordinate below `extent`.
    pub(super) fn coordinate(var: u8, extent: u64) -> Variable {
        Variable {
            var,
            low: 0,
            high: extent as i64 - 1,
        }
    }

    /// An index word as tame tensors hold it.
    pub(super) fn index(var: u8) -> Variable {
        Variable {
            var,
            low: -4,
            high: 40,
        }
    }
}

pub(super) fn axis(form: Form, extent: u64, stride: i64) -> Axis {
    Axis {
        form,
        extent,
        stride: Int(stride),
    }
}

/// A form over some of `scope` with small numbers.
pub(super) fn form(rng: &mut Rng, scope: &[Variable]) -> Form {
    let mut terms = Vec::new();
    for _ in 0..rng.below(3) {
        let coef = rng.pick(&[1, 1, 1, -1, 2, -2, 3, 7]);
        terms.push((rng.pick(scope).var, coef));
    }
    let constant = match rng.below(8) {
        0 => rng.between(-(1 << 40), 1 << 40),
        _ => rng.between(-9, 9),
    };
    Form::new(constant, &terms)
}

/// A form that mostly, and often always, lies inside `0..extent`.
fn inside(rng: &mut Rng, scope: &[Variable], extent: u64) -> Form {
    let extent = extent.min(1000) as i64;
    if rng.one_in(20) {
        return Form::constant(rng.between(-1, extent));
    }
    if extent == 1 && !rng.one_in(8) {
        return Form::constant(0);
    }
    let mut variable = rng.pick(scope);
    for _ in 0..4 {
        // One that fits, and that varies, if there is any.
        if (1..extent).contains(&(variable.high - variable.low)) {
            break;
        }
        variable = rng.pick(scope);
    }
    if rng.one_in(8) {
        let other = rng.pick(scope);
        let coefs = [rng.between(-3, 3), rng.between(-3, 3)];
        let constant = rng.between(-extent, extent);
        return Form::new(constant, &[(variable.var, coefs[0]), (other.var, coefs[1])]);
    }
    let width = variable.high - variable.low;
    let coef = match rng.below(4) {
        0 => -1,
        1 if width > 0 => ((extent - 1) / width).clamp(1, 5),
        _ => 1,
    };
    let ends = [coef * variable.low, coef * variable.high];
    let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
    let room = (extent - 1 - (high - low)).max(0);
    let mut constant = rng.between(0, room) - low;
    if rng.one_in(6) {
        constant += rng.between(-2, 2);
    }
    Form::new(constant, &[(variable.var, coef)])
}

/// An access to node `node` with `len` elements, whose axes never leave them.
pub(super) fn access(
    rng: &mut Rng,
    (node, dtype, len): super::Tensor,
    scope: &[Variable],
) -> Access {
    let mut axes = Vec::new();
    let mut base = 0;
    let mut reach = 1;
    let mut stride = 1;
    let count = rng.pick(&[0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 6]);
    for _ in 0..count {
        let mut room = 1 + (len - reach) / stride;
        if axes.is_empty() && count > 1 {
            // Leave some for the next axes.
            room = room.div_ceil(rng.pick(&[1, 2, 4]));
        }
        let extent = match rng.below(3) {
            0 => rng.skewed(room),
            1 => room,
            // As long as a variable is.
            _ => {
                let variable = rng.pick(scope);
                room.min((variable.high - variable.low) as u64 + 1)
            }
        };
        reach += (extent - 1) * stride;
        let signed = if rng.one_in(5) {
            base += (extent - 1) * stride;
            -(stride as i64)
        } else {
            stride as i64
        };
        axes.push(axis(inside(rng, scope, extent), extent, signed));
        // Dense rows mostly, else rows that overlap or leave gaps.
        stride = match rng.below(4) {
            0 => rng.skewed(8),
            _ => (stride * extent).min(len),
        };
    }
    base += rng.below(len - reach + 1);
    if axes.len() < 6 && rng.one_in(6) {
        // Only a condition: its stride moves nothing.
        let extent = rng.pick(&[2, 5, 1 << 40, u64::MAX]);
        axes.push(axis(inside(rng, scope, extent), extent, 0));
    }
    if axes.len() < 6 && rng.one_in(12) {
        axes.push(axis(inside(rng, scope, 1), 1, rng.next() as i64));
    }
    if rng.one_in(2) {
        axes.reverse();
    }
    Access {
        node,
        dtype,
        len,
        base: Int(base as i64),
        axes,
        fill: value::word(rng),
    }
}
