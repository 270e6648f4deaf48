//! Elements by position.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::{axis, Call},
    error::refuse,
    operand::{Live, Operand},
    tensor::{Data, Element, Tensor},
};

/// Positions that depend on data are counted from the front; those out of range read zeros.
pub(super) fn gather(builder: &mut Builder, call: &Call) -> Outcome {
    let (x, positions) = (call.input(0)?, call.input(1)?);
    let axis = axis(call.int("axis", 0), builder.shape(x)?.len())?;
    if builder.element(positions)? != Element::Integer {
        refuse!("its positions must be integers");
    }
    Ok(vec![builder.gather(x, axis, positions)?])
}

pub(super) fn gather_elements(builder: &mut Builder, call: &Call) -> Outcome {
    let (x, positions) = (call.input(0)?, call.input(1)?);
    let (from, among) = (builder.shape(x)?, builder.shape(positions)?);
    let axis = axis(call.int("axis", 0), from.len())?;
    let fits = |k: usize| k == axis || among[k] <= from[k];
    if among.len() != from.len() || !(0..from.len()).all(fits) {
        refuse!("positions of shape {among:?} do not fit shape {from:?} beside axis {axis}");
    }
    if builder.element(positions)? != Element::Integer {
        refuse!("its positions must be integers");
    }
    let positions = match positions {
        Operand::Known(tensor) => Operand::Known(builder.in_range(tensor, from[axis])?),
        other => other.clone(),
    };
    let live = builder.live(x)?;
    let at = builder.live(&positions)?.value;
    let value = builder.graph().gather_elements(live.value, axis, at);
    Ok(vec![Operand::Live(Live { value, ..live })])
}

/// The elements or slices at places given by several positions each; where those depend on data,
/// by one.
pub(super) fn gather_nd(builder: &mut Builder, call: &Call) -> Outcome {
    let (x, places) = (call.input(0)?, call.input(1)?);
    let (from, among) = (builder.shape(x)?, builder.shape(places)?);
    if call.int("batch_dims", 0) != 0 {
        refuse!("batch_dims are not supported");
    }
    let depth = match among.last() {
        Some(&depth) if (1..=from.len()).contains(&depth) => depth,
        _ => refuse!("places of shape {among:?} do not fit shape {from:?}"),
    };
    let front = &among[..among.len() - 1];
    if depth == 1 {
        let positions = builder.reshape(places, front)?;
        return Ok(vec![builder.gather(x, 0, &positions)?]);
    }
    let Operand::Known(Tensor {
        data: Data::Integer(data),
        ..
    }) = places
    else {
        refuse!("places of several positions must be integers known when the model is built");
    };
    let mut positions = vec![];
    for place in data.chunks_exact(depth) {
        let mut position = 0;
        for (&k, &extent) in place.iter().zip(&from) {
            let one = builder.in_range(&Tensor::integers(&[], vec![k]), extent)?;
            let Data::Integer(one) = &one.data else {
                unreachable!("a position stays an integer");
            };
            position = position * extent as i64 + one[0];
        }
        positions.push(position);
    }
    let positions = Tensor::integers(front, positions);
    let rows: usize = from[..depth].iter().product();
    let table = builder.reshape(x, &[&[rows], &from[depth..]].concat())?;
    Ok(vec![builder.gather(&table, 0, &positions.into())?])
}
