//! Well-formed ONNX files of random nodes on random tensors, which reach every operation at once.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use lockstep_import::Onnx;
use std::sync::LazyLock;

#[path = "../../tests/support/onnx.rs"]
#[allow(dead_code)]
mod onnx;
#[path = "../../tests/support/whole.rs"]
mod whole;

use onnx::{Attribute, Graph};

static OPERATIONS: LazyLock<Vec<&str>> = LazyLock::new(|| Onnx::operations().collect());

/// Element types in ONNX's numbers: f32, u8, i32, i64, bool.
const TYPES: [(i64, usize); 5] = [(1, 4), (2, 1), (6, 4), (7, 8), (9, 1)];

const INTEGERS: &[&str] = &[
    "allowzero",
    "axis",
    "batch_dims",
    "ceil_mode",
    "count_include_pad",
    "end",
    "fmod",
    "group",
    "keepdims",
    "new_axis",
    "noop_with_empty_axes",
    "num_groups",
    "start",
    "to",
    "transA",
    "transB",
    "upper",
    "training_mode",
    "stash_type",
    "num_outputs",
    "storage_order",
    "exclusive",
];
const FLOATS: &[&str] = &[
    "alpha",
    "beta",
    "epsilon",
    "gamma",
    "momentum",
    "value_float",
];
const LISTS: &[&str] = &[
    "axes",
    "split",
    "kernel_shape",
    "perm",
    "strides",
    "pads",
    "dilations",
    "output_padding",
    "output_shape",
    "value_ints",
    "value_floats",
];
const TEXTS: [(&str, &[&str]); 4] = [
    ("approximate", &["none", "tanh"]),
    ("auto_pad", &["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    (
        "equation",
        &[
            "ij,jk->ik",
            "bij,bkj->bik",
            "ii->i",
            "...i,ij",
            "a,b->",
            "ij->ji",
        ],
    ),
    ("mode", &["constant", "reflect", "edge", "wrap"]),
];

/// A small number, or rarely one at the edge of a type.
fn integer(u: &mut Unstructured) -> Result<i64> {
    Ok(match u.int_in_range(0..=23)? {
        0 => u.arbitrary()?,
        1 => *u.choose(&[i64::MIN, i64::MAX, 1 << 31, -(1 << 31), 1 << 40])?,
        2 => u.int_in_range(-1000..=100_000)?,
        _ => u.int_in_range(-4..=6)?,
    })
}

fn list<T>(
    u: &mut Unstructured,
    longest: usize,
    mut each: impl FnMut(&mut Unstructured) -> Result<T>,
) -> Result<Vec<T>> {
    let len = u.int_in_range(0..=longest)?;
    (0..len).map(|_| each(u)).collect()
}

fn shape(u: &mut Unstructured) -> Result<Vec<i64>> {
    list(u, 5, |u| match u.int_in_range(0..=39)? {
        0 => u.int_in_range(0..=1 << 20),
        _ => u.int_in_range(1..=6),
    })
}

fn elements(shape: &[i64]) -> usize {
    let product = |n: usize, &d: &i64| n.saturating_mul(d as usize);
    shape.iter().fold(1, product)
}

fn attribute(u: &mut Unstructured) -> Result<(&'static str, Attribute)> {
    Ok(match u.int_in_range(0..=3)? {
        0 => (*u.choose(INTEGERS)?, Attribute::Int(integer(u)?)),
        1 => (*u.choose(FLOATS)?, Attribute::Float(u.arbitrary()?)),
        2 => (*u.choose(LISTS)?, Attribute::Ints(list(u, 8, integer)?)),
        _ => {
            let (name, values) = u.choose(&TEXTS)?;
            (*name, Attribute::Text(u.choose(values)?.to_string()))
        }
    })
}

/// A tensor with as many bytes as its shape needs, where those are few.
fn tensor(u: &mut Unstructured, graph: &mut Graph, name: &str) -> Result<()> {
    let (element, size) = *u.choose(&TYPES)?;
    let shape = shape(u)?;
    let len = elements(&shape);
    let seed = u.bytes(4)?;
    let raw: Vec<u8> = seed
        .iter()
        .cycle()
        .take(len.saturating_mul(size).min(1 << 12))
        .copied()
        .collect();
    graph.tensor(name, element, &shape, &raw);
    Ok(())
}

fn file(u: &mut Unstructured) -> Result<Vec<u8>> {
    let mut graph = Graph::new();
    graph.opset = u.int_in_range(13..=21)?;
    let mut names = vec![String::new()];
    for k in 0..u.int_in_range(1..=6)? {
        let name = format!("t{k}");
        match u.int_in_range(0..=3)? {
            0 => graph.input(&name, u.choose(&TYPES)?.0, &shape(u)?),
            1 => {
                let extents = shape(u)?;
                let len = elements(&extents).min(1 << 10);
                let x = u.choose(&[0.5, -1.0, f32::NAN, 1e30])?;
                graph.floats(&name, &extents, &vec![*x; len]);
            }
            2 => graph.integers(&name, &list(u, 6, integer)?),
            _ => tensor(u, &mut graph, &name)?,
        }
        names.push(name);
    }
    let nodes = u.int_in_range(1..=10)?;
    for k in 1..=nodes {
        let operation = *u.choose(&OPERATIONS)?;
        let inputs = list(u, 5, |u| Ok(u.choose(&names)?.clone()))?;
        let inputs: Vec<&str> = inputs.iter().map(|name| &name[..]).collect();
        let attributes = list(u, 4, attribute)?;
        let output = if k == nodes {
            "y".to_string()
        } else {
            format!("n{k}")
        };
        let second = format!("{output}b");
        graph.call(operation, &inputs, &[&output, &second], &attributes);
        names.extend([output, second]);
    }
    Ok(graph.file())
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = file(&mut Unstructured::new(bytes)) {
        let _ = whole::import(&file);
    }
});
