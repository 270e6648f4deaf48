//! Operations that move elements.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::{axes, axis, Call},
    error::{refuse, Reason},
    fold,
    operand::Operand,
    tensor::{count, Data, Element, Tensor},
};
use lockstep_protocol::program::limits;

/// An extent that a file gives as a signed number.
fn extent(n: i64) -> Result<usize, Reason> {
    match usize::try_from(n) {
        Ok(extent) => Ok(extent),
        Err(_) => refuse!("{n} is no extent"),
    }
}

pub(super) fn reshape(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let from = builder.shape(x)?;
    let target = call.integers(1)?;
    let mut shape = vec![];
    let mut open = None;
    for (k, &n) in target.iter().enumerate() {
        shape.push(match n {
            0 if call.int("allowzero", 0) == 0 => match from.get(k) {
                Some(&same) => same,
                None => refuse!("shape {from:?} has no axis {k} to keep"),
            },
            -1 if open.replace(k).is_none() => 1,
            n => extent(n)?,
        });
    }
    if let Some(k) = open {
        let (all, rest) = (count(&from), count(&shape));
        let (Some(all), Some(rest @ 1..)) = (all, rest) else {
            refuse!("shape {target:?} of shape {from:?} is not defined");
        };
        if all % rest != 0 {
            refuse!("shape {from:?} cannot become {target:?}");
        }
        shape[k] = all / rest;
    }
    Ok(vec![builder.reshape(x, &shape)?])
}

pub(super) fn flatten(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let from = builder.shape(x)?;
    let at = match call.int("axis", 1) {
        end if end == from.len() as i64 => from.len(),
        k => axis(k, from.len())?,
    };
    let (front, back) = from.split_at(at);
    let shape = [front.iter().product(), back.iter().product()];
    Ok(vec![builder.reshape(x, &shape)?])
}

pub(super) fn transpose(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let rank = builder.shape(x)?.len();
    let order = match call.ints("perm") {
        None => (0..rank).rev().collect(),
        Some(order) => axes(order, rank)?,
    };
    if order.len() != rank {
        refuse!("perm {order:?} is not an order of {rank} axes");
    }
    Ok(vec![builder.permute(x, &order)?])
}

pub(super) fn squeeze(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let from = builder.shape(x)?;
    let gone = match call.attribute_or_input("axes", 1)? {
        Some(list) => axes(list, from.len())?,
        None => (0..from.len()).filter(|&k| from[k] == 1).collect(),
    };
    if let Some(&k) = gone.iter().find(|&&k| from[k] != 1) {
        refuse!("axis {k} of shape {from:?} has not extent 1");
    }
    let kept = (0..from.len()).filter(|k| !gone.contains(k));
    let shape: Vec<usize> = kept.map(|k| from[k]).collect();
    Ok(vec![builder.reshape(x, &shape)?])
}

pub(super) fn unsqueeze(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let from = builder.shape(x)?;
    let Some(list) = call.attribute_or_input("axes", 1)? else {
        refuse!("it does not say where axes are added");
    };
    let rank = from.len() + list.len();
    let added = axes(list, rank)?;
    let mut old = from.iter();
    let place = |k| match added.contains(&k) {
        true => 1,
        false => *old
            .next()
            .expect("as many places are left as there were axes"),
    };
    let shape: Vec<usize> = (0..rank).map(place).collect();
    Ok(vec![builder.reshape(x, &shape)?])
}

pub(super) fn expand(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let from = builder.shape(x)?;
    let target = call.integers(1)?.iter().map(|&n| extent(n));
    let target = target.collect::<Result<Vec<usize>, Reason>>()?;
    let Some(shape) = lockstep_graph::broadcast_shape(&from, &target) else {
        refuse!("shape {from:?} does not expand to {target:?}");
    };
    Ok(vec![builder.broadcast(x, &shape)?])
}

pub(super) fn tile(builder: &mut Builder, call: &Call) -> Outcome {
    let mut x = call.input(0)?.clone();
    let mut shape = builder.shape(&x)?;
    let repeats = call.integers(1)?;
    if repeats.len() != shape.len() {
        refuse!("{repeats:?} has not one number for each axis of {shape:?}");
    }
    for (k, &times) in repeats.iter().enumerate() {
        let times = extent(times)?;
        if times == 1 {
            continue;
        }
        let (front, back) = (shape[..k].to_vec(), shape[k..].to_vec());
        let apart = builder.reshape(&x, &[&front[..], &[1], &back].concat())?;
        let repeated = builder.broadcast(&apart, &[&front[..], &[times], &back].concat())?;
        shape[k] = match shape[k].checked_mul(times) {
            Some(extent) => extent,
            None => refuse!("{repeats:?} times shape {shape:?} is too large"),
        };
        x = builder.reshape(&repeated, &shape)?;
    }
    Ok(vec![x])
}

pub(super) fn concat(builder: &mut Builder, call: &Call) -> Outcome {
    let parts = call.all()?;
    let axis = axis(call.int("axis", 0), builder.shape(&parts[0])?.len())?;
    Ok(vec![builder.concat(&parts, axis)?])
}

/// Neighbouring parts of an axis, of these lengths.
fn parts(builder: &mut Builder, x: &Operand, axis: usize, lengths: &[usize]) -> Outcome {
    let all = builder.shape(x)?[axis];
    if lengths
        .iter()
        .try_fold(0usize, |sum, &n| sum.checked_add(n))
        != Some(all)
    {
        refuse!("parts of {lengths:?} are not the {all} positions of axis {axis}");
    }
    let mut start = 0;
    let mut part = |&length: &usize| {
        start += length;
        builder.slice(x, axis, start - length, 1, length)
    };
    lengths.iter().map(&mut part).collect()
}

/// Parts of `length` positions each, the last one with what is left.
fn even(all: usize, length: usize) -> Result<Vec<usize>, Reason> {
    let length = length.max(1);
    if all.div_ceil(length) > limits::NODES as usize {
        refuse!("{all} positions in parts of {length} are more parts than a program has nodes");
    }
    let starts = (0..all).step_by(length);
    Ok(starts.map(|start| length.min(all - start)).collect())
}

pub(super) fn split(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let shape = builder.shape(x)?;
    let axis = axis(call.int("axis", 0), shape.len())?;
    let lengths = match call.attribute_or_input("split", 1)? {
        Some(list) => list.iter().map(|&n| extent(n)).collect::<Result<_, _>>()?,
        None => even(
            shape[axis],
            shape[axis].div_ceil(call.node.output.len().max(1)),
        )?,
    };
    parts(builder, x, axis, &lengths)
}

pub(super) fn split_to_sequence(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let shape = builder.shape(x)?;
    let axis = axis(call.int("axis", 0), shape.len())?;
    let lengths = match call.optional(1) {
        None => even(shape[axis], 1)?,
        Some(Operand::Known(Tensor {
            shape: rank,
            data: Data::Integer(data),
        })) => {
            let lengths = data.iter().map(|&n| extent(n));
            match (rank.len(), lengths.collect::<Result<Vec<usize>, _>>()?) {
                (0, lengths) => even(shape[axis], lengths[0])?,
                (_, lengths) => lengths,
            }
        }
        Some(_) => refuse!("input 1 must be integers that are known when the model is built"),
    };
    let mut parts = parts(builder, x, axis, &lengths)?;
    if call.optional(1).is_none() && call.int("keepdims", 1) == 0 {
        let mut apart = shape;
        apart.remove(axis);
        for part in &mut parts {
            *part = builder.reshape(part, &apart)?;
        }
    }
    Ok(vec![Operand::Sequence(parts.into())])
}

fn sequence<'a>(call: &'a Call) -> Result<&'a [Operand], Reason> {
    match call.input(0)? {
        Operand::Sequence(parts) => Ok(parts),
        _ => refuse!("input 0 must be a sequence of tensors"),
    }
}

pub(super) fn sequence_at(_: &mut Builder, call: &Call) -> Outcome {
    let parts = sequence(call)?;
    match call.integers(1)? {
        &[position] => Ok(vec![parts[axis(position, parts.len())?].clone()]),
        _ => refuse!("input 1 must be one position"),
    }
}

pub(super) fn sequence_construct(_: &mut Builder, call: &Call) -> Outcome {
    Ok(vec![Operand::Sequence(call.all()?.into())])
}

pub(super) fn concat_from_sequence(builder: &mut Builder, call: &Call) -> Outcome {
    let mut parts = sequence(call)?.to_vec();
    let Some(first) = parts.first() else {
        refuse!("an empty sequence has nothing to join");
    };
    let rank = builder.shape(first)?.len();
    let at = match call.int("new_axis", 0) {
        0 => axis(call.int("axis", 0), rank)?,
        _ => {
            let at = axis(call.int("axis", 0), rank + 1)?;
            for part in &mut parts {
                let mut shape = builder.shape(part)?;
                shape.insert(at.min(shape.len()), 1);
                *part = builder.reshape(part, &shape)?;
            }
            at
        }
    };
    Ok(vec![builder.concat(&parts, at)?])
}

pub(super) fn slice(builder: &mut Builder, call: &Call) -> Outcome {
    let mut x = call.input(0)?.clone();
    let rank = builder.shape(&x)?.len();
    let (starts, ends) = (call.integers(1)?, call.integers(2)?);
    let along = match call.optional_integers(3)? {
        Some(list) => axes(list, rank)?,
        None => (0..starts.len()).collect(),
    };
    let ones = vec![1; starts.len()];
    let steps = call.optional_integers(4)?.unwrap_or(&ones);
    if [ends.len(), along.len(), steps.len()] != [starts.len(); 3] || along.len() > rank {
        refuse!("its starts, ends, axes and steps are not equally many, at most {rank}");
    }
    for (k, &axis) in along.iter().enumerate() {
        let extent = builder.shape(&x)?[axis] as i64;
        let step = steps[k].clamp(-(1 << 40), 1 << 40);
        if step == 0 {
            refuse!("a step of 0 never ends");
        }
        // Positions from the end, and beyond either, are brought to the axis.
        let place = |n: i64, least: i64, most: i64| {
            let n = if n < 0 { n.saturating_add(extent) } else { n };
            n.clamp(least, most)
        };
        let (start, len) = if step > 0 {
            let (start, end) = (place(starts[k], 0, extent), place(ends[k], 0, extent));
            (start, (end - start).max(0) as u64)
        } else {
            let start = place(starts[k], -1, extent - 1);
            let end = place(ends[k], -1, extent - 1);
            (start, (start - end).max(0) as u64)
        };
        let len = len.div_ceil(step.unsigned_abs()) as usize;
        let start = if len == 0 { 0 } else { start as usize };
        x = builder.slice(&x, axis, start, step as isize, len)?;
    }
    Ok(vec![x])
}

pub(super) fn pad(builder: &mut Builder, call: &Call) -> Outcome {
    let mut x = call.input(0)?.clone();
    let rank = builder.shape(&x)?.len();
    let pads = call.integers(1)?;
    let along = match call.optional_integers(3)? {
        Some(list) => axes(list, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * along.len() {
        refuse!("{pads:?} are not two numbers for each of axes {along:?}");
    }
    let mode = call.text("mode", "constant");
    for (k, &axis) in along.iter().enumerate() {
        let (front, behind) = (pads[k], pads[k + along.len()]);
        if front == 0 && behind == 0 {
            continue;
        }
        if [front, behind].iter().any(|n| n.unsigned_abs() > 1 << 38) {
            refuse!("pads {pads:?} are too large");
        }
        x = match mode.as_str() {
            "constant" => surrounded(builder, call, &x, axis, [front, behind])?,
            "reflect" | "edge" | "wrap" => {
                let extent = builder.shape(&x)?[axis] as i64;
                let len = extent + front + behind;
                if len <= 0 || extent == 0 {
                    refuse!("pads {pads:?} leave nothing of axis {axis}");
                }
                builder.room(&[len as usize])?;
                let from = |at: i64| match mode.as_str() {
                    "edge" => at.clamp(0, extent - 1),
                    "wrap" => at.rem_euclid(extent),
                    _ => {
                        let period = (2 * (extent - 1)).max(1);
                        let at = at.rem_euclid(period);
                        at.min(period - at)
                    }
                };
                let positions = (-front..extent + behind).map(from).collect();
                let positions = Tensor::integers(&[len as usize], positions);
                builder.gather(&x, axis, &positions.into())?
            }
            other => refuse!("mode {other:?} is not known"),
        };
    }
    Ok(vec![x])
}

/// An axis with a constant in front and behind, or cut where a number is negative.
fn surrounded(
    builder: &mut Builder,
    call: &Call,
    x: &Operand,
    axis: usize,
    pads: [i64; 2],
) -> Result<Operand, Reason> {
    let mut shape = builder.shape(x)?;
    let cut = pads.map(|n| n.min(0).unsigned_abs() as usize);
    let Some(left) = shape[axis].checked_sub(cut[0] + cut[1]) else {
        refuse!("pads {pads:?} leave nothing of axis {axis}");
    };
    let x = builder.slice(x, axis, cut[0], 1, left)?;
    let element = builder.element(&x)?;
    let fill = match (call.optional(2), element) {
        (Some(_), _) => match call.known(2)? {
            fill if fill.len() == 1 && fill.element() == element => fill.reshaped(&[]),
            _ => refuse!("the value to pad with must be one {element}"),
        },
        (None, Element::Float) => Tensor::floats(&[], vec![0.0]),
        (None, Element::Integer) => Tensor::integers(&[], vec![0]),
        (None, Element::Boolean) => Tensor::booleans(&[], vec![false]),
    };
    let [front, behind] = pads.map(|n| n.max(0) as usize);
    if let (Operand::Live(live), Data::Float(data)) = (&x, &fill.data) {
        if data[0].to_bits() == 0 {
            shape[axis] = left + front + behind;
            builder.check(&shape)?;
            let value = builder.graph().pad(live.value, axis, front, behind);
            return Ok(Operand::float(value));
        }
    }
    let fill = Operand::Known(fill);
    let live = matches!(x, Operand::Live(_));
    let mut parts = vec![];
    for (len, part) in [(front, None), (left, Some(&x)), (behind, None)] {
        if len == 0 {
            continue;
        }
        parts.push(match part {
            Some(part) => part.clone(),
            None => {
                shape[axis] = len;
                let fill = match live {
                    true => Operand::Live(builder.live(&fill)?),
                    false => fill.clone(),
                };
                builder.broadcast(&fill, &shape)?
            }
        });
    }
    match parts.is_empty() {
        true => Ok(x),
        false => builder.concat(&parts, axis),
    }
}

pub(super) fn trilu(builder: &mut Builder, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let shape = builder.shape(x)?;
    let &[.., rows, columns] = &shape[..] else {
        refuse!("shape {shape:?} has no matrices");
    };
    let upper = call.int("upper", 1) != 0;
    let diagonal = match call.optional_integers(1)? {
        None => 0,
        Some(&[k]) => k.clamp(-(1 << 40), 1 << 40),
        Some(_) => refuse!("input 1 must be one diagonal"),
    };
    builder.room(&[rows, columns])?;
    let kept = (0..rows as i64).flat_map(|row| {
        (0..columns as i64).map(move |column| match upper {
            true => column - row >= diagonal,
            false => column - row <= diagonal,
        })
    });
    let kept: Vec<bool> = kept.collect();
    match x {
        Operand::Known(tensor) => {
            // One more element behind all others, which is zero.
            let end = tensor.len();
            let zero = match tensor.element() {
                Element::Float => Tensor::floats(&[1], vec![0.0]),
                Element::Integer => Tensor::integers(&[1], vec![0]),
                Element::Boolean => Tensor::booleans(&[1], vec![false]),
            };
            let flat = builder.reshape(x, &[end])?;
            let joined = builder.concat(&[flat, zero.into()], 0)?;
            let joined = fold::known(&joined).expect("known tensors stay known");
            let matrix = kept.len();
            let place = |k: usize| if kept[k % matrix] { k } else { end };
            Ok(vec![joined.picked(&shape, (0..end).map(place)).into()])
        }
        _ => {
            let value = builder.float(x)?;
            let mask = Tensor::booleans(&[rows, columns], kept);
            let mask = builder.live(&mask.into())?.value;
            let graph = builder.graph();
            let zero = graph.scalar(0.0);
            Ok(vec![Operand::float(graph.select(mask, value, zero))])
        }
    }
}
