//! Norms over batches, layers, groups and images.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::{axis, Call},
    error::{refuse, Reason},
    operand::Operand,
};
use lockstep_graph::{Graph, Value};

/// An operand of one element a channel, broadcast along all axes but number `axis`.
fn by_channel(
    builder: &mut Builder,
    operand: &Operand,
    channels: usize,
    rank: usize,
    axis: usize,
) -> Result<Value, Reason> {
    let shape = builder.shape(operand)?;
    if shape != [channels] {
        refuse!("an input of shape {shape:?} has not one element for each of {channels} channels");
    }
    let mut shape = vec![1; rank];
    shape[axis] = channels;
    let operand = builder.reshape(operand, &shape)?;
    builder.float(&operand)
}

/// The shape of an input that has channels.
fn image(builder: &Builder, call: &Call, least: usize) -> Result<Vec<usize>, Reason> {
    let shape = builder.shape(call.input(0)?)?;
    match shape.len() < least {
        true => refuse!("its input needs {least} axes, not shape {shape:?}"),
        false => Ok(shape),
    }
}

/// In a model that trains, by the mean and the variance of the batch, which move the running ones;
/// in an evaluation, and where the running ones are frozen, by those.
///
/// The file's word on its mode is not asked: exporters write either for either. The running
/// variance takes the batch's unbiased one, divided by n - 1 of its n elements, as PyTorch does,
/// whose files these are; ONNX would divide by n.
pub(super) fn batch(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = image(builder, call, 2)?;
    let (channels, rank) = (shape[1], shape.len());
    let x = builder.float(call.input(0)?)?;
    // Computed in the order in which the image lies, whose channels may be the last axis.
    let unpermuted = builder.graph().unpermuted(x);
    let (x, order) = unpermuted.unwrap_or_else(|| (x, (0..rank).collect()));
    let axis = order[1];
    let gain = by_channel(builder, call.input(1)?, channels, rank, axis)?;
    let bias = by_channel(builder, call.input(2)?, channels, rank, axis)?;
    let running = [call.input(3)?, call.input(4)?];
    let [mean, variance] = [
        by_channel(builder, running[0], channels, rank, axis)?,
        by_channel(builder, running[1], channels, rank, axis)?,
    ];
    let epsilon = call.float("epsilon", 1e-5);
    let buffers = running.map(|operand| match operand {
        Operand::Live(live) if builder.is_buffer(live.value) => Some(live.value),
        _ => None,
    });
    let by_running = |graph: &mut Graph| {
        let epsilon = graph.scalar(epsilon);
        let raised = graph.add(variance, epsilon);
        let scale = graph.rsqrt(raised);
        let centred = graph.sub(x, mean);
        let standard = graph.mul(centred, scale);
        let y = graph.fma(standard, gain, bias);
        graph.permute(y, &order)
    };
    let (true, [Some(old_mean), Some(old_variance)]) = (builder.model.is_training(), buffers)
    else {
        return Ok(vec![Operand::float(by_running(builder.graph()))]);
    };

    let elements = shape.iter().product::<usize>() / channels;
    if elements == 1 {
        refuse!("a batch with one element a channel has no variance");
    }
    let axes: Vec<usize> = (0..rank).filter(|&k| k != axis).collect();
    let standard = builder.graph().standardize(x, &axes, epsilon);
    let by_batch = |graph: &mut Graph| {
        let y = graph.fma(standard.result, gain, bias);
        graph.permute(y, &order)
    };
    let y = builder.model.by_mode(by_batch, by_running);
    let graph = builder.graph();
    let unbiased = (elements as f64 / (elements - 1) as f64) as f32;
    let variance = graph.scale(standard.variance, unbiased);
    let keep = call.float("momentum", 0.9);
    for (buffer, batch) in [(old_mean, standard.mean), (old_variance, variance)] {
        let old = builder.upcoming(buffer);
        let graph = builder.graph();
        let batch = graph.reshape(batch, &[channels]);
        let share = graph.scale(batch, 1.0 - keep);
        let keep = graph.scalar(keep);
        let next = graph.fma(old, keep, share);
        builder.model.update(buffer, next);
    }
    Ok(vec![Operand::float(y)])
}

/// `standard * gain + bias`, the latter where there is one, both broadcast.
fn scaled(
    builder: &mut Builder,
    standard: Value,
    gain: &Operand,
    bias: Option<&Operand>,
) -> Outcome {
    let shape = builder.graph().shape(standard).to_vec();
    let gain = builder.broadcast(gain, &shape)?;
    let gain = builder.float(&gain)?;
    let value = match bias {
        Some(bias) => {
            let bias = builder.broadcast(bias, &shape)?;
            let bias = builder.float(&bias)?;
            builder.graph().fma(standard, gain, bias)
        }
        None => builder.graph().mul(standard, gain),
    };
    Ok(vec![Operand::float(value)])
}

pub(super) fn layer(builder: &mut Builder, call: &Call) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    let rank = builder.graph().shape(x).len();
    let first = axis(call.int("axis", -1), rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let epsilon = call.float("epsilon", 1e-5);
    let standard = builder.graph().standardize(x, &axes, epsilon).result;
    scaled(builder, standard, call.input(1)?, call.optional(2))
}

pub(super) fn root_mean_square(builder: &mut Builder, call: &Call) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    let rank = builder.graph().shape(x).len();
    let first = axis(call.int("axis", -1), rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let epsilon = call.float("epsilon", 1e-5);
    let graph = builder.graph();
    let square = graph.mul(x, x);
    let mean = graph.mean_keep(square, &axes);
    let epsilon = graph.scalar(epsilon);
    let raised = graph.add(mean, epsilon);
    let scale = graph.rsqrt(raised);
    let standard = graph.mul(x, scale);
    scaled(builder, standard, call.input(1)?, None)
}

pub(super) fn instance(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = image(builder, call, 3)?;
    let axes: Vec<usize> = (2..shape.len()).collect();
    let x = builder.float(call.input(0)?)?;
    let epsilon = call.float("epsilon", 1e-5);
    let gain = by_channel(builder, call.input(1)?, shape[1], shape.len(), 1)?;
    let bias = by_channel(builder, call.input(2)?, shape[1], shape.len(), 1)?;
    let graph = builder.graph();
    let standard = graph.standardize(x, &axes, epsilon).result;
    Ok(vec![Operand::float(graph.fma(standard, gain, bias))])
}

/// Scales and biases are one a channel, as opset 21 has them, or one a group, as opset 18 had.
pub(super) fn group(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = image(builder, call, 3)?;
    let (batch, channels) = (shape[0], shape[1]);
    let inner: usize = shape[2..].iter().product();
    let groups = match usize::try_from(call.int("num_groups", 0)) {
        Ok(groups) if groups > 0 && channels % groups == 0 => groups,
        _ => refuse!("num_groups must divide its {channels} channels"),
    };
    let members = channels / groups;
    let x = builder.float(call.input(0)?)?;
    let epsilon = call.float("epsilon", 1e-5);
    let graph = builder.graph();
    let x = graph.reshape(x, &[batch, groups, members * inner]);
    let standard = graph.standardize(x, &[2], epsilon).result;
    let standard = graph.reshape(standard, &[batch, channels, inner]);
    let mut by_channel = |operand: &Operand| {
        let each = builder.shape(operand)?;
        let operand = match each[..] {
            [n] if n == channels => operand.clone(),
            [n] if n == groups => {
                let spread = builder.reshape(operand, &[groups, 1])?;
                let spread = builder.broadcast(&spread, &[groups, members])?;
                builder.reshape(&spread, &[channels])?
            }
            _ => refuse!("an input of shape {each:?} has not one element a channel"),
        };
        builder.reshape(&operand, &[channels, 1])
    };
    let (gain, bias) = (by_channel(call.input(1)?)?, by_channel(call.input(2)?)?);
    let outputs = scaled(builder, standard, &gain, Some(&bias))?;
    Ok(vec![builder.reshape(&outputs[0], &shape)?])
}
