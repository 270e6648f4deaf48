//! Convolution and transposed convolution, in one and two dimensions.

use super::{
    spatial::{padded, Sliding},
    Outcome,
};
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
};
use lockstep_graph::{Conv2d, Value};

/// The number of groups, which divides these numbers of channels.
fn groups(call: &Call, channels: &[usize]) -> Result<usize, Reason> {
    let group = call.int("group", 1);
    match usize::try_from(group) {
        Ok(groups) if groups > 0 && channels.iter().all(|c| c % groups == 0) => Ok(groups),
        _ => refuse!("{group} groups do not divide channels {channels:?}"),
    }
}

/// Adds a bias to every channel of an image, channels last.
fn biased(builder: &mut Builder, call: &Call, y: Value) -> Result<Value, Reason> {
    let Some(bias) = call.optional(2) else {
        return Ok(y);
    };
    let shape = builder.shape(bias)?;
    let channels = builder.graph().shape(y)[3];
    if shape != [channels] {
        refuse!("a bias of shape {shape:?} does not fit {channels} channels");
    }
    let bias = builder.float(bias)?;
    Ok(builder.graph().add(y, bias))
}

/// Refuses a window that is not the one of the weight.
fn same_window(call: &Call, weight: &[usize]) -> Result<(), Reason> {
    let window = call.sizes("kernel_shape", weight.len() - 2, 0)?;
    match call.ints("kernel_shape").is_none() || window == weight[2..] {
        true => Ok(()),
        false => refuse!("kernel_shape {window:?} is not that of its weight {weight:?}"),
    }
}

pub(super) fn conv(builder: &mut Builder, call: &Call) -> Outcome {
    let (image, weight) = (call.input(0)?, call.input(1)?);
    let (images, weights) = (builder.shape(image)?, builder.shape(weight)?);
    if weights.len() != images.len() || weights.len() < 3 {
        refuse!("weights of shape {weights:?} do not fit images of shape {images:?}");
    }
    same_window(call, &weights)?;
    let sliding = Sliding::new(call, &images, &weights[2..])?;
    let groups = groups(call, &[images[1], weights[0]])?;
    if weights[1] != images[1] / groups {
        refuse!(
            "weights of shape {weights:?} in {groups} groups do not fit images of shape {images:?}"
        );
    }
    let mut conv = Conv2d {
        stride: sliding.stride,
        padding: [0, 0],
        dilation: sliding.dilation,
        groups,
    };
    let mut x = sliding.channels_last(builder, image)?;
    match sliding.even() {
        Some(padding) => conv.padding = padding,
        None => x = padded(builder, x, sliding.pads, 0.0)?,
    }
    let weight = sliding.weight(builder, weight)?;
    let graph = builder.graph();
    let &[batch, height, width, _] = graph.shape(x) else {
        unreachable!("images have four axes");
    };
    let Some([rows, columns]) = conv.output([height, width], sliding.window) else {
        refuse!(
            "the window {:?} is larger than its images {images:?}",
            sliding.window
        );
    };
    builder.check(&[batch, rows, columns, weights[0]])?;
    let y = builder.graph().conv2d(x, weight, conv);
    let y = biased(builder, call, y)?;
    Ok(vec![sliding.channels_first(builder, y)?])
}

pub(super) fn conv_transpose(builder: &mut Builder, call: &Call) -> Outcome {
    let (image, weight) = (call.input(0)?, call.input(1)?);
    let (images, weights) = (builder.shape(image)?, builder.shape(weight)?);
    if weights.len() != images.len() || weights.len() < 3 || weights[0] != images[1] {
        refuse!("weights of shape {weights:?} do not fit images of shape {images:?}");
    }
    if call.attribute("output_shape").is_some() {
        refuse!("attribute output_shape is not supported: give pads and output_padding");
    }
    if !matches!(call.text("auto_pad", "NOTSET").as_str(), "NOTSET" | "VALID") {
        refuse!("auto_pad is not supported: give pads");
    }
    same_window(call, &weights)?;
    let sliding = Sliding::new(call, &images, &weights[2..])?;
    let groups = groups(call, &[images[1]])?;
    let behind = call.sizes("output_padding", sliding.dimensions, 0)?;
    let behind = match behind[..] {
        [width] => [0, width],
        _ => [behind[0], behind[1]],
    };
    if (0..2).any(|k| behind[k] >= sliding.stride[k]) {
        refuse!("an output_padding that is not below the stride is not supported");
    }
    let mut conv = Conv2d {
        stride: sliding.stride,
        padding: [0, 0],
        dilation: sliding.dilation,
        groups,
    };
    let x = sliding.channels_last(builder, image)?;
    let weight = sliding.weight(builder, weight)?;
    let &[batch, height, width, _] = builder.graph().shape(x) else {
        unreachable!("images have four axes");
    };
    let full = |k: usize, n: usize| sliding.stride[k] * (n - 1) + sliding.reach(k) + behind[k];
    let full = [full(0, height), full(1, width)];
    let channels = weights[1] * groups;
    builder.check(&[batch, full[0], full[1], channels])?;
    let cut = |k: usize| full[k].checked_sub(sliding.pads[k].iter().sum());
    let size = match (cut(0), cut(1)) {
        (Some(rows), Some(columns)) if rows > 0 && columns > 0 => [rows, columns],
        _ => refuse!("pads {:?} leave nothing of the result", sliding.pads),
    };
    let y = match sliding.even() {
        Some(padding) => {
            conv.padding = padding;
            builder.graph().conv_transpose2d(x, weight, conv, size)
        }
        None => {
            let graph = builder.graph();
            let mut y = graph.conv_transpose2d(x, weight, conv, full);
            for (k, (pads, extent)) in sliding.pads.iter().zip(size).enumerate() {
                y = graph.slice(y, 1 + k, pads[0], extent);
            }
            y
        }
    };
    let y = biased(builder, call, y)?;
    Ok(vec![sliding.channels_first(builder, y)?])
}
