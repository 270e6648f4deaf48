//! Arithmetic and elementary functions.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    fold::{self, Binary},
    operand::{Live, Operand},
    tensor::{Data, Element, Tensor},
};
use lockstep_graph::{Graph, Value};

type Live2 = fn(&mut Graph, Value, Value) -> Value;
type Live1 = fn(&mut Graph, Value) -> Value;

fn binary(builder: &mut Builder, call: &Call, known: Binary, live: Live2) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    Ok(vec![joined(builder, a, b, &known, live)?])
}

fn joined(
    builder: &mut Builder,
    a: &Operand,
    b: &Operand,
    known: &Binary,
    live: Live2,
) -> Result<Operand, Reason> {
    if let Some(folded) = known.fold(builder, a, b)? {
        return Ok(folded);
    }
    let shape = fold::broadcast_shape(builder, &[a, b])?;
    builder.check(&shape)?;
    let (a, b) = (builder.float(a)?, builder.float(b)?);
    Ok(Operand::float(builder.both(a, b, live)))
}

/// A function of floats that are known or not: `exact` computes what IEEE-754 fixes.
fn exact(builder: &mut Builder, call: &Call, exact: fn(f32) -> f32, live: Live1) -> Outcome {
    let x = call.input(0)?;
    match fold::unary(x, exact, None) {
        Some(folded) => Ok(vec![folded]),
        None => unary(builder, call, live),
    }
}

/// A function of floats that the program computes.
pub(super) fn unary(builder: &mut Builder, call: &Call, live: Live1) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    Ok(vec![Operand::float(builder.each(x, live))])
}

/// Integers that depend on data wrap at 32 bits.
pub(super) fn add(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| a + b,
        integers: i64::checked_add,
    };
    let (a, b) = (call.input(0)?, call.input(1)?);
    let integer = Element::Integer;
    let live = [a, b].iter().any(|x| matches!(x, Operand::Live(_)));
    if live && builder.element(a)? == integer && builder.element(b)? == integer {
        let shape = fold::broadcast_shape(builder, &[a, b])?;
        builder.check(&shape)?;
        let (a, b) = (builder.live(a)?.value, builder.live(b)?.value);
        let value = builder.graph().int_add(a, b);
        return Ok(vec![Operand::Live(Live {
            value,
            element: integer,
        })]);
    }
    binary(builder, call, known, Graph::add)
}

pub(super) fn sub(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| a - b,
        integers: i64::checked_sub,
    };
    binary(builder, call, known, Graph::sub)
}

pub(super) fn mul(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| a * b,
        integers: i64::checked_mul,
    };
    binary(builder, call, known, Graph::mul)
}

/// Integers are rounded towards zero.
pub(super) fn div(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| a / b,
        integers: i64::checked_div,
    };
    binary(builder, call, known, Graph::div)
}

/// Of integers that are known: the remainder has the sign of the divisor, or with `fmod` that of
/// the dividend.
pub(super) fn modulo(builder: &mut Builder, call: &Call) -> Outcome {
    let floor: fn(i64, i64) -> Option<i64> = |a, b| {
        let rest = a.checked_rem(b)?;
        Some(if rest != 0 && (rest < 0) != (b < 0) {
            rest + b
        } else {
            rest
        })
    };
    let integers = match call.int("fmod", 0) {
        0 => floor,
        _ => i64::checked_rem,
    };
    let (a, b) = (call.known(0)?, call.known(1)?);
    if a.element() != Element::Integer || b.element() != Element::Integer {
        refuse!("it is supported for integers alone");
    }
    let known = Binary {
        floats: |a, _| a,
        integers,
    };
    let folded = known.fold(builder, call.input(0)?, call.input(1)?)?;
    Ok(folded.into_iter().collect())
}

fn several(
    builder: &mut Builder,
    call: &Call,
    known: Binary,
    live: Live2,
) -> Result<Operand, Reason> {
    let operands = call.all()?;
    let mut result = operands[0].clone();
    for operand in &operands[1..] {
        result = joined(builder, &result, operand, &known, live)?;
    }
    Ok(result)
}

pub(super) fn min(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| if b < a || b.is_nan() { b } else { a },
        integers: |a, b| Some(a.min(b)),
    };
    Ok(vec![several(builder, call, known, Graph::minimum)?])
}

pub(super) fn max(builder: &mut Builder, call: &Call) -> Outcome {
    let known = Binary {
        floats: |a, b| if a < b || b.is_nan() { b } else { a },
        integers: |a, b| Some(a.max(b)),
    };
    Ok(vec![several(builder, call, known, Graph::maximum)?])
}

const SUM: Binary = Binary {
    floats: |a, b| a + b,
    integers: i64::checked_add,
};

pub(super) fn total(builder: &mut Builder, call: &Call) -> Outcome {
    Ok(vec![several(builder, call, SUM, Graph::add)?])
}

pub(super) fn mean(builder: &mut Builder, call: &Call) -> Outcome {
    let total = several(builder, call, SUM, Graph::add)?;
    let total = builder.float(&total)?;
    let share = 1.0 / call.inputs.len() as f32;
    Ok(vec![Operand::float(builder.graph().scale(total, share))])
}

/// The exponents that are products and roots; others go through the logarithm.
pub(super) fn pow(builder: &mut Builder, call: &Call) -> Outcome {
    let (x, exponent) = (call.input(0)?, call.input(1)?);
    let shape = fold::broadcast_shape(builder, &[x, exponent])?;
    builder.check(&shape)?;
    let uniform = match exponent {
        Operand::Known(tensor) => uniform(tensor),
        _ => None,
    };
    let base = builder.float(x)?;
    let base = builder.graph().broadcast(base, &shape);
    let graph = builder.graph();
    let y = match uniform {
        Some(e) if e.fract() == 0.0 && e.abs() <= 64.0 => graph.powi(base, e as i32),
        Some(0.5) => graph.sqrt(base),
        Some(-0.5) => graph.rsqrt(base),
        Some(1.5) => {
            let root = graph.sqrt(base);
            graph.mul(base, root)
        }
        _ => {
            let exponent = builder.float(exponent)?;
            builder.graph().pow(base, exponent)
        }
    };
    Ok(vec![Operand::float(y)])
}

/// The number that all elements are.
fn uniform(tensor: &Tensor) -> Option<f32> {
    match &tensor.data {
        Data::Float(data) => data
            .first()
            .copied()
            .filter(|x| data.iter().all(|y| x == y)),
        Data::Integer(data) => {
            let first = *data.first()?;
            let small = i16::try_from(first).ok()?;
            data.iter().all(|&y| first == y).then_some(f32::from(small))
        }
        Data::Boolean(_) => None,
    }
}

pub(super) fn neg(builder: &mut Builder, call: &Call) -> Outcome {
    match fold::unary(call.input(0)?, |x| -x, Some(i64::wrapping_neg)) {
        Some(folded) => Ok(vec![folded]),
        None => unary(builder, call, Graph::neg),
    }
}

pub(super) fn abs(builder: &mut Builder, call: &Call) -> Outcome {
    match fold::unary(call.input(0)?, f32::abs, Some(i64::wrapping_abs)) {
        Some(folded) => Ok(vec![folded]),
        None => unary(builder, call, Graph::abs),
    }
}

pub(super) fn sqrt(builder: &mut Builder, call: &Call) -> Outcome {
    exact(builder, call, f32::sqrt, Graph::sqrt)
}

pub(super) fn reciprocal(builder: &mut Builder, call: &Call) -> Outcome {
    exact(builder, call, |x| 1.0 / x, |graph, x| graph.powi(x, -1))
}

pub(super) fn exp(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::exp)
}

pub(super) fn log(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::log)
}

pub(super) fn sin(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::sin)
}

pub(super) fn cos(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::cos)
}

pub(super) fn erf(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::erf)
}

pub(super) fn tanh(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::tanh)
}

pub(super) fn sigmoid(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::sigmoid)
}

pub(super) fn identity(_: &mut Builder, call: &Call) -> Outcome {
    Ok(vec![call.input(0)?.clone()])
}

pub(super) fn cast(builder: &mut Builder, call: &Call) -> Outcome {
    let Ok(to) = i32::try_from(call.int("to", 0)) else {
        refuse!("it does not say to which type");
    };
    Ok(vec![converted(builder, call.input(0)?, Element::of(to)?)?])
}

pub(super) fn cast_like(builder: &mut Builder, call: &Call) -> Outcome {
    let to = builder.element(call.input(1)?)?;
    Ok(vec![converted(builder, call.input(0)?, to)?])
}

fn converted(builder: &mut Builder, x: &Operand, to: Element) -> Result<Operand, Reason> {
    if builder.element(x)? == to {
        return Ok(x.clone());
    }
    match x {
        Operand::Known(tensor) => Ok(known(tensor, to).into()),
        _ => {
            let live = builder.live(x)?;
            let graph = builder.graph();
            match (live.element, to) {
                (_, Element::Float) => Ok(Operand::float(graph.to_f32(live.value))),
                (Element::Float, Element::Boolean) => {
                    let zero = graph.scalar(0.0);
                    let is = graph.equal(live.value, zero);
                    Ok(Operand::boolean(graph.not(is)))
                }
                (Element::Integer, Element::Boolean) => {
                    let is = graph.not(live.value);
                    Ok(Operand::boolean(graph.not(is)))
                }
                (from, _) => refuse!("a {from} that depends on data cannot become a {to}"),
            }
        }
    }
}

/// Floats become integers towards zero, at most as far as 64 bits reach.
fn known(tensor: &Tensor, to: Element) -> Tensor {
    let data = match (&tensor.data, to) {
        (Data::Float(x), Element::Integer) => Data::Integer(x.iter().map(|&x| x as i64).collect()),
        (Data::Float(x), Element::Boolean) => Data::Boolean(x.iter().map(|&x| x != 0.0).collect()),
        (Data::Integer(x), Element::Float) => Data::Float(x.iter().map(|&x| x as f32).collect()),
        (Data::Integer(x), Element::Boolean) => Data::Boolean(x.iter().map(|&x| x != 0).collect()),
        (Data::Boolean(x), Element::Float) => {
            Data::Float(x.iter().map(|&x| x.into()).map(|x: u8| x.into()).collect())
        }
        (Data::Boolean(x), Element::Integer) => {
            Data::Integer(x.iter().map(|&x| x.into()).collect())
        }
        (same, _) => same.clone(),
    };
    Tensor::new(&tensor.shape, data)
}

/// Drops elements where the file says that it trains and the model is trained.
pub(super) fn dropout(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let trains = match call.optional(2) {
        None => false,
        Some(_) => match &call.known(2)?.data {
            Data::Boolean(data) if data.len() == 1 => data[0],
            _ => refuse!("input 2, whether it trains, must be one boolean"),
        },
    };
    if !trains {
        return Ok(vec![x.clone()]);
    }
    let rate = match call.optional(1) {
        None => 0.5,
        Some(_) => call.known_float(1)?,
    };
    if !(0.0..1.0).contains(&rate) {
        refuse!("a rate of {rate} is not in 0.0..1.0");
    }
    let x = builder.float(x)?;
    Ok(vec![Operand::float(builder.model.dropout(x, rate))])
}
