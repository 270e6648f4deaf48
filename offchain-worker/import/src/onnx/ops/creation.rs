//! Tensors that come from nothing or from shapes.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    operand::Operand,
    read::Folder,
    tensor::{count, Data, Tensor},
};

pub(super) fn constant(_: &mut Builder, call: &Call) -> Outcome {
    let [attribute] = &call.node.attribute[..] else {
        refuse!("it must have one attribute, its value");
    };
    let tensor = match attribute.name.as_str() {
        "value" => match &attribute.t {
            Some(proto) => Tensor::decode(proto, &Folder::of(None))?,
            None => refuse!("its value is missing"),
        },
        "value_float" => Tensor::floats(&[], vec![attribute.f.unwrap_or_default()]),
        "value_int" => Tensor::integers(&[], vec![attribute.i.unwrap_or_default()]),
        "value_floats" => Tensor::floats(&[attribute.floats.len()], attribute.floats.clone()),
        "value_ints" => Tensor::integers(&[attribute.ints.len()], attribute.ints.clone()),
        other => refuse!("attribute {other:?} is not supported"),
    };
    Ok(vec![tensor.into()])
}

pub(super) fn constant_of_shape(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = call.integers(0)?.iter().map(|&n| usize::try_from(n));
    let Ok(shape) = shape.collect::<Result<Vec<usize>, _>>() else {
        refuse!("an extent is negative");
    };
    let element = match call.attribute("value").and_then(|a| a.t.as_ref()) {
        None => Tensor::floats(&[1], vec![0.0]),
        Some(proto) => Tensor::decode(proto, &Folder::of(None))?,
    };
    if element.len() != 1 {
        refuse!("its value must be one element");
    }
    let scalar = Operand::Known(element.reshaped(&[]));
    Ok(vec![builder.broadcast(&scalar, &shape)?])
}

pub(super) fn shape(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = builder.shape(call.input(0)?)?;
    let rank = shape.len() as i64;
    let place = |k: i64| if k < 0 { k.saturating_add(rank) } else { k }.clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)), place(call.int("end", rank)));
    Ok(vec![Tensor::list(&shape[start..end.max(start)]).into()])
}

pub(super) fn size(builder: &mut Builder, call: &Call) -> Outcome {
    let shape = builder.shape(call.input(0)?)?;
    match count(&shape) {
        Some(len) => Ok(vec![Tensor::integers(&[], vec![len as i64]).into()]),
        None => refuse!("shape {shape:?} is too large"),
    }
}

pub(super) fn range(builder: &mut Builder, call: &Call) -> Outcome {
    let known = [call.known(0)?, call.known(1)?, call.known(2)?];
    if known.iter().any(|tensor| tensor.len() != 1) {
        refuse!("its start, end and step must be one number each");
    }
    let room = |builder: &mut Builder, len: usize| -> Result<usize, Reason> {
        builder.room(&[len])?;
        Ok(len)
    };
    let tensor = match known.map(|tensor| &tensor.data) {
        [Data::Integer(start), Data::Integer(end), Data::Integer(step)] => {
            let (start, end, step) = (start[0], end[0], step[0]);
            if step == 0 {
                refuse!("a step of 0 never ends");
            }
            let distance = i128::from(end) - i128::from(start);
            let steps = distance * i128::from(step.signum());
            let len = (steps.max(0) as u128).div_ceil(step.unsigned_abs().into());
            let len = room(builder, usize::try_from(len).unwrap_or(usize::MAX))?;
            let element = |k| start + k as i64 * step;
            Tensor::integers(&[len], (0..len).map(element).collect())
        }
        [Data::Float(start), Data::Float(end), Data::Float(step)] => {
            let (start, end, step) = (start[0], end[0], step[0]);
            let len = ((f64::from(end) - f64::from(start)) / f64::from(step)).ceil();
            if !len.is_finite() {
                refuse!("a range from {start} to {end} in steps of {step} never ends");
            }
            let len = room(builder, len.max(0.0) as usize)?;
            let element = |k| start + k as f32 * step;
            Tensor::floats(&[len], (0..len).map(element).collect())
        }
        _ => refuse!("its start, end and step must be of one type, integers or floats"),
    };
    Ok(vec![tensor.into()])
}
