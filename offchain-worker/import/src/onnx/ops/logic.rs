//! Comparisons, conditions and choices.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    fold,
    operand::{Live, Operand},
    tensor::{Data, Element, Tensor},
};
use lockstep_graph::{Graph, Value};
use std::cmp::Ordering;

type Live2 = fn(&mut Graph, Value, Value) -> Value;

/// A comparison: by how known elements are ordered, and of floats that the program computes.
fn compared(
    builder: &mut Builder,
    call: &Call,
    holds: fn(Ordering) -> bool,
    floats: Live2,
    integers: Live2,
) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if let Some([a, b]) = fold::aligned(builder, a, b)? {
        return Ok(vec![known(&a, &b, holds)?.into()]);
    }
    let shape = fold::broadcast_shape(builder, &[a, b])?;
    builder.check(&shape)?;
    let (a, b) = (builder.live(a)?, builder.live(b)?);
    let function = match (a.element, b.element) {
        (Element::Float, Element::Float) => floats,
        (a, b) if a != b => refuse!("a {a} and a {b} cannot be compared"),
        _ => integers,
    };
    let value = function(builder.graph(), a.value, b.value);
    Ok(vec![Operand::boolean(value)])
}

fn known(a: &Tensor, b: &Tensor, holds: fn(Ordering) -> bool) -> Result<Tensor, Reason> {
    // A NaN has no order, so nothing holds of it.
    let data = match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => {
            let each = a.iter().zip(b.iter());
            each.map(|(a, b)| a.partial_cmp(b).is_some_and(holds))
                .collect()
        }
        (Data::Integer(a), Data::Integer(b)) => a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| holds(a.cmp(b)))
            .collect(),
        (Data::Boolean(a), Data::Boolean(b)) => a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| holds(a.cmp(b)))
            .collect(),
        _ => refuse!("a {} and a {} cannot be compared", a.element(), b.element()),
    };
    Ok(Tensor::booleans(&a.shape, data))
}

pub(super) fn equal(builder: &mut Builder, call: &Call) -> Outcome {
    compared(builder, call, Ordering::is_eq, Graph::equal, Graph::same)
}

pub(super) fn less(builder: &mut Builder, call: &Call) -> Outcome {
    compared(builder, call, Ordering::is_lt, Graph::less, Graph::int_less)
}

pub(super) fn less_or_equal(builder: &mut Builder, call: &Call) -> Outcome {
    let integers: Live2 = |g, a, b| {
        let greater = g.int_less(b, a);
        g.not(greater)
    };
    compared(
        builder,
        call,
        Ordering::is_le,
        Graph::less_or_equal,
        integers,
    )
}

pub(super) fn greater(builder: &mut Builder, call: &Call) -> Outcome {
    let floats: Live2 = |g, a, b| g.less(b, a);
    let integers: Live2 = |g, a, b| g.int_less(b, a);
    compared(builder, call, Ordering::is_gt, floats, integers)
}

pub(super) fn greater_or_equal(builder: &mut Builder, call: &Call) -> Outcome {
    let floats: Live2 = |g, a, b| g.less_or_equal(b, a);
    let integers: Live2 = |g, a, b| {
        let less = g.int_less(a, b);
        g.not(less)
    };
    compared(builder, call, Ordering::is_ge, floats, integers)
}

pub(super) fn is_nan(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    if let Operand::Known(Tensor {
        shape,
        data: Data::Float(data),
    }) = x
    {
        let data = data.iter().map(|x| x.is_nan()).collect();
        return Ok(vec![Tensor::booleans(shape, data).into()]);
    }
    let x = builder.float(x)?;
    let is = builder.graph().equal(x, x);
    Ok(vec![Operand::boolean(builder.graph().not(is))])
}

pub(super) fn not(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    if let Operand::Known(Tensor {
        shape,
        data: Data::Boolean(data),
    }) = x
    {
        let data = data.iter().map(|x| !x).collect();
        return Ok(vec![Tensor::booleans(shape, data).into()]);
    }
    let x = builder.boolean(x)?;
    Ok(vec![Operand::boolean(builder.graph().not(x))])
}

fn joined(
    builder: &mut Builder,
    call: &Call,
    known: fn(bool, bool) -> bool,
    live: Live2,
) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if let Some([a, b]) = fold::aligned(builder, a, b)? {
        let (Data::Boolean(x), Data::Boolean(y)) = (&a.data, &b.data) else {
            refuse!("its inputs must be booleans");
        };
        let data = x.iter().zip(y.iter()).map(|(&x, &y)| known(x, y)).collect();
        return Ok(vec![Tensor::booleans(&a.shape, data).into()]);
    }
    let shape = fold::broadcast_shape(builder, &[a, b])?;
    builder.check(&shape)?;
    let (a, b) = (builder.boolean(a)?, builder.boolean(b)?);
    Ok(vec![Operand::boolean(live(builder.graph(), a, b))])
}

pub(super) fn and(builder: &mut Builder, call: &Call) -> Outcome {
    joined(builder, call, |a, b| a && b, Graph::and)
}

pub(super) fn or(builder: &mut Builder, call: &Call) -> Outcome {
    joined(builder, call, |a, b| a || b, Graph::or)
}

pub(super) fn xor(builder: &mut Builder, call: &Call) -> Outcome {
    let live: Live2 = |g, a, b| {
        let same = g.same(a, b);
        g.not(same)
    };
    joined(builder, call, |a, b| a != b, live)
}

/// `Where`.
pub(super) fn choose(builder: &mut Builder, call: &Call) -> Outcome {
    let [condition, a, b] = [call.input(0)?, call.input(1)?, call.input(2)?];
    let shape = fold::broadcast_shape(builder, &[condition, a, b])?;
    let element = builder.element(a)?;
    if builder.element(b)? != element {
        refuse!("it chooses between a {element} and another type");
    }
    if [condition, a, b].iter().all(|x| fold::known(x).is_some()) {
        let mut align = |x: &Operand| builder.broadcast(x, &shape);
        let (condition, a, b) = (align(condition)?, align(a)?, align(b)?);
        // Both results in one, so that one pick serves every element type.
        let flat = vec![shape.iter().product()];
        let (a, b) = (builder.reshape(&a, &flat)?, builder.reshape(&b, &flat)?);
        let both = builder.concat(&[a, b], 0)?;
        let (Some(condition), Some(both)) = (fold::known(&condition), fold::known(&both)) else {
            unreachable!("known tensors stay known");
        };
        let Data::Boolean(condition) = &condition.data else {
            refuse!("input 0 is no condition");
        };
        let place = |(k, &first): (usize, &bool)| if first { k } else { flat[0] + k };
        let places = condition.iter().enumerate().map(place);
        return Ok(vec![both.picked(&shape, places).into()]);
    }
    builder.check(&shape)?;
    let condition = builder.boolean(condition)?;
    let (a, b) = (builder.live(a)?, builder.live(b)?);
    let graph = builder.graph();
    if graph.dtype(a.value) != graph.dtype(b.value) {
        refuse!("it chooses between integers of different width");
    }
    let value = graph.select(condition, a.value, b.value);
    Ok(vec![Operand::Live(Live { value, element })])
}
