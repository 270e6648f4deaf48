//! Sums, means and extremes over axes.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::{axes, Call},
    error::{refuse, Reason},
    operand::Operand,
    tensor::{Data, Tensor},
};
use lockstep_graph::{Graph, Value};

/// What is reduced: which axes, and whether they stay with extent 1.
struct Reduction {
    axes: Vec<usize>,
    keep: bool,
}

impl Reduction {
    fn new(call: &Call, rank: usize) -> Result<Reduction, Reason> {
        let list = call.attribute_or_input("axes", 1)?.unwrap_or_default();
        let axes = match (list, call.int("noop_with_empty_axes", 0)) {
            ([], 0) => (0..rank).collect(),
            (list, _) => axes(list, rank)?,
        };
        let keep = call.int("keepdims", 1) != 0;
        Ok(Reduction { axes, keep })
    }

    fn shape(&self, from: &[usize]) -> Vec<usize> {
        let axes = from.iter().enumerate();
        let kept = axes.filter(|(k, _)| self.keep || !self.axes.contains(k));
        kept.map(|(k, &d)| if self.axes.contains(&k) { 1 } else { d })
            .collect()
    }
}

/// A reduction of floats that keeps its axes with extent 1.
fn reduced(
    builder: &mut Builder,
    call: &Call,
    join: impl FnOnce(&mut Graph, Value, &[usize]) -> Value,
) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    let from = builder.graph().shape(x).to_vec();
    let reduction = Reduction::new(call, from.len())?;
    let y = join(builder.graph(), x, &reduction.axes);
    let y = builder.reshape(&Operand::float(y), &reduction.shape(&from))?;
    Ok(vec![y])
}

/// A reduction of known integers; `None` where they are not.
fn folded(
    builder: &mut Builder,
    call: &Call,
    start: Option<i64>,
    join: fn(i64, i64) -> Option<i64>,
) -> Result<Option<Operand>, Reason> {
    let x = call.input(0)?;
    let Operand::Known(Tensor {
        shape,
        data: Data::Integer(_),
    }) = x
    else {
        return Ok(None);
    };
    let reduction = Reduction::new(call, shape.len())?;
    let result = reduction.shape(shape);
    // The reduced axes last, so that neighbours are joined.
    let kept = (0..shape.len()).filter(|k| !reduction.axes.contains(k));
    let order: Vec<usize> = kept.chain(reduction.axes.iter().copied()).collect();
    let run: usize = reduction.axes.iter().map(|&k| shape[k]).product();
    let Operand::Known(Tensor {
        data: Data::Integer(data),
        ..
    }) = builder.permute(x, &order)?
    else {
        unreachable!("known integers stay known integers");
    };
    let outputs = builder.room(&result)?;
    let joined = |k: usize| {
        let mut run = data[k * run..(k + 1) * run].iter().copied();
        let first = start.or_else(|| run.next())?;
        run.try_fold(first, join)
    };
    match (0..outputs).map(joined).collect() {
        Some(data) => Ok(Some(Tensor::integers(&result, data).into())),
        None => refuse!("its result is no 64-bit integer"),
    }
}

pub(super) fn sum(builder: &mut Builder, call: &Call) -> Outcome {
    match folded(builder, call, Some(0), i64::checked_add)? {
        Some(folded) => Ok(vec![folded]),
        None => reduced(builder, call, Graph::sum_keep),
    }
}

pub(super) fn mean(builder: &mut Builder, call: &Call) -> Outcome {
    reduced(builder, call, Graph::mean_keep)
}

pub(super) fn max(builder: &mut Builder, call: &Call) -> Outcome {
    match folded(builder, call, None, |a, b| Some(a.max(b)))? {
        Some(folded) => Ok(vec![folded]),
        None => reduced(builder, call, Graph::max_keep),
    }
}

pub(super) fn min(builder: &mut Builder, call: &Call) -> Outcome {
    match folded(builder, call, None, |a, b| Some(a.min(b)))? {
        Some(folded) => Ok(vec![folded]),
        None => reduced(builder, call, |graph, x, axes| {
            let minus = graph.neg(x);
            let max = graph.max_keep(minus, axes);
            graph.neg(max)
        }),
    }
}

pub(super) fn product(builder: &mut Builder, call: &Call) -> Outcome {
    match folded(builder, call, Some(1), i64::checked_mul)? {
        Some(folded) => Ok(vec![folded]),
        None => refuse!("it is supported for integers that are known when the model is built"),
    }
}

pub(super) fn l1(builder: &mut Builder, call: &Call) -> Outcome {
    reduced(builder, call, |graph, x, axes| {
        let size = graph.abs(x);
        graph.sum_keep(size, axes)
    })
}

fn squares(graph: &mut Graph, x: Value, axes: &[usize]) -> Value {
    let square = graph.mul(x, x);
    graph.sum_keep(square, axes)
}

pub(super) fn l2(builder: &mut Builder, call: &Call) -> Outcome {
    reduced(builder, call, |graph, x, axes| {
        let sum = squares(graph, x, axes);
        graph.sqrt(sum)
    })
}

pub(super) fn sum_square(builder: &mut Builder, call: &Call) -> Outcome {
    reduced(builder, call, squares)
}

pub(super) fn log_sum_exp(builder: &mut Builder, call: &Call) -> Outcome {
    reduced(builder, call, |graph, x, axes| {
        let max = graph.max_keep(x, axes);
        let shifted = graph.sub(x, max);
        let exp = graph.exp(shifted);
        let sum = graph.sum_keep(exp, axes);
        let log = graph.log(sum);
        graph.add(log, max)
    })
}
