//! Activation functions.

use super::{elementwise::unary, Outcome};
use crate::onnx::{
    builder::Builder,
    call::{axis, Call},
    error::{refuse, Reason},
    fold,
    operand::Operand,
    tensor::{Data, Tensor},
};
use lockstep_graph::{Graph, Value};

/// A function of floats with parameters.
fn with(
    builder: &mut Builder,
    call: &Call,
    function: impl FnOnce(&mut Graph, Value) -> Value,
) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    Ok(vec![Operand::float(builder.each(x, function))])
}

pub(super) fn relu(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::relu)
}

/// `x` where it is positive, else `slope * x`.
fn leaky(graph: &mut Graph, x: Value, slope: Value) -> Value {
    let zero = graph.scalar(0.0);
    let positive = graph.less(zero, x);
    let below = graph.mul(x, slope);
    graph.select(positive, x, below)
}

pub(super) fn leaky_relu(builder: &mut Builder, call: &Call) -> Outcome {
    let slope = call.float("alpha", 0.01);
    with(builder, call, |graph, x| {
        let slope = graph.scalar(slope);
        leaky(graph, x, slope)
    })
}

pub(super) fn prelu(builder: &mut Builder, call: &Call) -> Outcome {
    let (x, slope) = (call.input(0)?, call.input(1)?);
    let shape = builder.shape(x)?;
    if fold::broadcast_shape(builder, &[x, slope])? != shape {
        refuse!("the slope does not broadcast to shape {shape:?}");
    }
    let (x, slope) = (builder.float(x)?, builder.float(slope)?);
    Ok(vec![Operand::float(leaky(builder.graph(), x, slope))])
}

pub(super) fn elu(builder: &mut Builder, call: &Call) -> Outcome {
    let alpha = call.float("alpha", 1.0);
    with(builder, call, |graph, x| graph.elu(x, alpha))
}

pub(super) fn selu(builder: &mut Builder, call: &Call) -> Outcome {
    let alpha = call.float("alpha", 1.673_263_2);
    let gamma = call.float("gamma", 1.050_701);
    with(builder, call, |graph, x| {
        let y = graph.elu(x, alpha);
        graph.scale(y, gamma)
    })
}

/// `alpha * elu(x / alpha)`.
pub(super) fn celu(builder: &mut Builder, call: &Call) -> Outcome {
    let alpha = call.float("alpha", 1.0);
    with(builder, call, |graph, x| {
        let scaled = graph.scale(x, 1.0 / alpha);
        let y = graph.elu(scaled, 1.0);
        graph.scale(y, alpha)
    })
}

pub(super) fn gelu(builder: &mut Builder, call: &Call) -> Outcome {
    match call.text("approximate", "none").as_str() {
        "none" => unary(builder, call, Graph::gelu),
        "tanh" => with(builder, call, |graph, x| {
            let square = graph.mul(x, x);
            let (cubic, one) = (graph.scalar(0.044715), graph.scalar(1.0));
            let factor = graph.fma(square, cubic, one);
            // sqrt(2 / pi)
            let scaled = graph.scale(x, 0.797_884_6);
            let inner = graph.mul(scaled, factor);
            let tanh = graph.tanh(inner);
            let raised = graph.add(tanh, one);
            let half = graph.scale(x, 0.5);
            graph.mul(half, raised)
        }),
        other => refuse!("approximation {other:?} is not known, only \"none\" and \"tanh\""),
    }
}

/// `alpha * x + beta`, no less than 0 and no more than 1.
fn ramp(graph: &mut Graph, x: Value, alpha: f32, beta: f32) -> Value {
    let (alpha, beta) = (graph.scalar(alpha), graph.scalar(beta));
    let line = graph.fma(x, alpha, beta);
    graph.clamp(line, 0.0, 1.0)
}

pub(super) fn hard_sigmoid(builder: &mut Builder, call: &Call) -> Outcome {
    let (alpha, beta) = (call.float("alpha", 0.2), call.float("beta", 0.5));
    with(builder, call, |graph, x| ramp(graph, x, alpha, beta))
}

pub(super) fn hard_swish(builder: &mut Builder, call: &Call) -> Outcome {
    with(builder, call, |graph, x| {
        let gate = ramp(graph, x, 1.0 / 6.0, 0.5);
        graph.mul(x, gate)
    })
}

pub(super) fn mish(builder: &mut Builder, call: &Call) -> Outcome {
    with(builder, call, |graph, x| {
        let softplus = graph.softplus(x);
        let gate = graph.tanh(softplus);
        graph.mul(x, gate)
    })
}

pub(super) fn softplus(builder: &mut Builder, call: &Call) -> Outcome {
    unary(builder, call, Graph::softplus)
}

pub(super) fn softsign(builder: &mut Builder, call: &Call) -> Outcome {
    with(builder, call, |graph, x| {
        let (size, one) = (graph.abs(x), graph.scalar(1.0));
        let divisor = graph.add(size, one);
        graph.div(x, divisor)
    })
}

pub(super) fn swish(builder: &mut Builder, call: &Call) -> Outcome {
    let alpha = call.float("alpha", 1.0);
    with(builder, call, |graph, x| {
        let scaled = graph.scale(x, alpha);
        let gate = graph.sigmoid(scaled);
        graph.mul(x, gate)
    })
}

pub(super) fn thresholded_relu(builder: &mut Builder, call: &Call) -> Outcome {
    let alpha = call.float("alpha", 1.0);
    with(builder, call, |graph, x| {
        let (alpha, zero) = (graph.scalar(alpha), graph.scalar(0.0));
        let above = graph.less(alpha, x);
        graph.select(above, x, zero)
    })
}

pub(super) fn clip(builder: &mut Builder, call: &Call) -> Outcome {
    let bound = |k, default| match call.optional(k) {
        None => Ok::<f32, Reason>(default),
        Some(_) => call.known_float(k),
    };
    if let Operand::Known(Tensor {
        shape,
        data: Data::Integer(data),
    }) = call.input(0)?
    {
        let bound = |k, default| -> Result<i64, Reason> {
            match call.optional_integers(k)? {
                None => Ok(default),
                Some(&[bound]) => Ok(bound),
                Some(_) => refuse!("a bound is one number"),
            }
        };
        let (low, high) = (bound(1, i64::MIN)?, bound(2, i64::MAX)?);
        let data = data.iter().map(|&x| x.max(low).min(high)).collect();
        return Ok(vec![Tensor::integers(shape, data).into()]);
    }
    let (low, high) = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
    with(builder, call, |graph, x| graph.clamp(x, low, high))
}

fn along(
    builder: &mut Builder,
    call: &Call,
    function: fn(&mut Graph, Value, usize) -> Value,
) -> Outcome {
    let x = call.input(0)?;
    let axis = axis(call.int("axis", -1), builder.shape(x)?.len())?;
    let x = builder.float(x)?;
    Ok(vec![Operand::float(function(builder.graph(), x, axis))])
}

pub(super) fn softmax(builder: &mut Builder, call: &Call) -> Outcome {
    along(builder, call, Graph::softmax)
}

pub(super) fn log_softmax(builder: &mut Builder, call: &Call) -> Outcome {
    along(builder, call, Graph::log_softmax)
}
