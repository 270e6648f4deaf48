//! Products of matrices and of tensors.

use super::Outcome;
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    operand::Operand,
};
use lockstep_graph::Precision;
use lockstep_protocol::program::limits;

/// An operand's elements in another shape, as a value of floats.
fn shaped(
    builder: &mut Builder,
    x: &Operand,
    shape: &[usize],
) -> Result<lockstep_graph::Value, Reason> {
    let x = builder.reshape(x, shape)?;
    builder.float(&x)
}

pub(super) fn matmul(builder: &mut Builder, call: &Call) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (mut left, mut right) = (builder.shape(a)?, builder.shape(b)?);
    let (vector_left, vector_right) = (left.len() == 1, right.len() == 1);
    if vector_left {
        left.insert(0, 1);
    }
    if vector_right {
        right.push(1);
    }
    let (&[ref front_a @ .., rows, inner], &[ref front_b @ .., depth, columns]) =
        (&left[..], &right[..])
    else {
        refuse!("a scalar has no matrix product");
    };
    if inner != depth {
        refuse!("matrices of shapes {left:?} and {right:?} do not fit");
    }
    let Some(front) = lockstep_graph::broadcast_shape(front_a, front_b) else {
        refuse!("stacks of matrices of shapes {left:?} and {right:?} do not fit");
    };
    let mut shape = [&front[..], &[rows, columns]].concat();
    builder.check(&shape)?;
    let product = if front_b.is_empty() {
        // The gradient towards the second operand sums over all axes in front at once.
        let flat = match left.len() - 1 > limits::RED_DIMS {
            true => vec![left[..left.len() - 1].iter().product(), inner],
            false => left.clone(),
        };
        let a = shaped(builder, a, &flat)?;
        let b = shaped(builder, b, &right)?;
        let precision = builder.model.precision;
        let y = builder.graph().linear_in(precision, a, b, None);
        builder.graph().reshape(y, &shape)
    } else {
        let a = builder.reshape(a, &left)?;
        let a = builder.broadcast(&a, &[&front[..], &[rows, inner]].concat())?;
        let b = builder.reshape(b, &right)?;
        let b = builder.broadcast(&b, &[&front[..], &[inner, columns]].concat())?;
        let (a, b) = (builder.float(&a)?, builder.float(&b)?);
        builder.graph().matmul(a, b)
    };
    if vector_right {
        shape.pop();
    }
    if vector_left {
        shape.remove(front.len());
    }
    Ok(vec![builder.reshape(&Operand::float(product), &shape)?])
}

pub(super) fn gemm(builder: &mut Builder, call: &Call) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (left, right) = (builder.shape(a)?, builder.shape(b)?);
    let (&[mut rows, mut inner], &[mut depth, mut columns]) = (&left[..], &right[..]) else {
        refuse!("it needs two matrices, not shapes {left:?} and {right:?}");
    };
    let (transposed_a, transposed_b) = (call.int("transA", 0) != 0, call.int("transB", 0) != 0);
    if transposed_a {
        std::mem::swap(&mut rows, &mut inner);
    }
    if transposed_b {
        std::mem::swap(&mut depth, &mut columns);
    }
    if inner != depth {
        refuse!("matrices of shapes {left:?} and {right:?} do not fit");
    }
    let shape = [rows, columns];
    let (a, b) = (builder.float(a)?, builder.float(b)?);
    let precision = builder.model.precision;
    let graph = builder.graph();
    let product = match precision {
        Precision::Float32 => {
            let names_a = if transposed_a { "km" } else { "mk" };
            let names_b = if transposed_b { "nk" } else { "kn" };
            graph.einsum(&format!("{names_a},{names_b}->mn"), a, b)
        }
        Precision::Int8 => {
            let a = if transposed_a { graph.transpose(a) } else { a };
            let b = if transposed_b { graph.transpose(b) } else { b };
            graph.matmul_int8(a, b)
        }
    };
    let product = graph.scale(product, call.float("alpha", 1.0));
    let Some(bias) = call.optional(2) else {
        return Ok(vec![Operand::float(product)]);
    };
    let bias = builder.broadcast(bias, &shape)?;
    let bias = builder.float(&bias)?;
    let graph = builder.graph();
    let bias = graph.scale(bias, call.float("beta", 1.0));
    Ok(vec![Operand::float(graph.add(product, bias))])
}

/// An equation with one or two operands.
struct Equation {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Equation {
    fn parse(text: &str) -> Result<Equation, Reason> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = match text.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (&text[..], None),
        };
        let inputs: Vec<Vec<char>> = inputs.split(',').map(|s| s.chars().collect()).collect();
        let output = match output {
            Some(output) => output.chars().collect(),
            None => once(&inputs),
        };
        let equation = Equation { inputs, output };
        for names in equation.inputs.iter().chain([&equation.output]) {
            let twice = (1..names.len()).any(|k| names[..k].contains(&names[k]));
            if twice || !names.iter().all(|c| c.is_ascii_alphabetic()) {
                refuse!("equation {text:?}: only letters, each at most once an operand");
            }
        }
        let known = |c: &char| equation.inputs.iter().any(|names| names.contains(c));
        if !equation.output.iter().all(known) {
            refuse!("equation {text:?}: the result has an axis that no operand has");
        }
        Ok(equation)
    }
}

/// The letters that appear once, in alphabetical order: the result where none is written.
fn once(inputs: &[Vec<char>]) -> Vec<char> {
    let mut letters: Vec<char> = inputs.concat();
    letters.sort_unstable();
    let count = |c: &char| letters.iter().filter(|other| *other == c).count();
    letters.iter().copied().filter(|c| count(c) == 1).collect()
}

pub(super) fn einsum(builder: &mut Builder, call: &Call) -> Outcome {
    let equation = Equation::parse(&call.text("equation", ""))?;
    let operands = call.all()?;
    if operands.len() != equation.inputs.len() || operands.len() > 2 {
        refuse!("it is supported for one or two operands that the equation names");
    }
    let mut extents: Vec<(char, usize)> = vec![];
    for (names, operand) in equation.inputs.iter().zip(&operands) {
        let shape = builder.shape(operand)?;
        if shape.len() != names.len() {
            refuse!("shape {shape:?} has not one axis for each of {names:?}");
        }
        for (&name, &extent) in names.iter().zip(&shape) {
            match extents.iter().find(|(known, _)| *known == name) {
                Some(&(_, known)) if known != extent => {
                    refuse!("axis {name:?} has extents {known} and {extent}")
                }
                Some(_) => {}
                None => extents.push((name, extent)),
            }
        }
    }
    let extent = |c: &char| {
        extents
            .iter()
            .find(|(name, _)| name == c)
            .map_or(1, |e| e.1)
    };
    let shape: Vec<usize> = equation.output.iter().map(extent).collect();
    builder.check(&shape)?;

    // Axes that are in one operand alone are summed before anything is multiplied.
    let mut parts = vec![];
    for (k, (names, operand)) in equation.inputs.iter().zip(&operands).enumerate() {
        let elsewhere = |c: &char| {
            let others = equation.inputs.iter().enumerate().filter(|(j, _)| *j != k);
            equation.output.contains(c) || others.into_iter().any(|(_, names)| names.contains(c))
        };
        let alone: Vec<usize> = (0..names.len())
            .filter(|&j| !elsewhere(&names[j]))
            .collect();
        let value = builder.float(operand)?;
        let value = builder.graph().sum(value, &alone);
        let names: Vec<char> = names.iter().copied().filter(elsewhere).collect();
        parts.push((names, value));
    }
    let value = match &parts[..] {
        [(names, value)] => {
            let place = |c: &char| names.iter().position(|name| name == c);
            let order: Option<Vec<usize>> = equation.output.iter().map(place).collect();
            let order = order.expect("what is left of one operand is in the result");
            builder.graph().permute(*value, &order)
        }
        [(a, left), (b, right)] => {
            let summed = |of: [&Vec<char>; 2], not: &Vec<char>| {
                let both = of[0].iter().filter(|c| of[1].contains(c));
                both.filter(|c| !not.contains(c)).count()
            };
            let out = &equation.output;
            let most = [
                summed([a, b], out),
                summed([a, out], b),
                summed([b, out], a),
            ];
            if most.iter().any(|&n| n > limits::RED_DIMS) {
                refuse!(
                    "it or its gradient sums over more than {} axes",
                    limits::RED_DIMS
                );
            }
            let text = |names: &[char]| names.iter().collect::<String>();
            let subscripts = format!("{},{}->{}", text(a), text(b), text(out));
            builder.graph().einsum(&subscripts, *left, *right)
        }
        _ => unreachable!("there are one or two operands"),
    };
    Ok(vec![Operand::float(value)])
}
