//! Products of matrices: the bits of every shape of tile, and times in floats and 8-bit integers.

use crate::{dims, step_seconds};
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::{Cuda, Gpu};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::*;
use lockstep_protocol::tree;
use serde_json::{json, Value};
use std::error::Error;
use std::sync::Arc;

/// How many shapes of tile there are, at most, for one element type.
const SHAPES: usize = 5;

/// Which of the operands are stored with their steps outermost.
const TRANSPOSES: [(&str, [bool; 2]); 3] = [
    ("x w", [false, false]),
    ("g w^T", [false, true]),
    ("x^T g", [true, false]),
];

/// Rows, columns and steps that are timed: squares, and what a transformer of width 768 has for
/// 4096 tokens.
const SIZES: [[u64; 3]; 6] = [
    [2048, 2048, 2048],
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [4096, 3072, 768],
    [4096, 768, 3072],
    [768, 3072, 4096],
];

/// A step that multiplies two constants, rows x steps and steps x columns, either stored transposed.
/// Integers are the sums of one block along the steps.
fn product([rows, columns, steps]: [u64; 3], transposed: [bool; 2], dtype: Dtype) -> Job {
    let byte = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let matrix = |len: u64, salt: u64| -> Vec<u8> {
        match dtype {
            Dtype::F32 => (0..len)
                .map(|i| 0x3f00_0000 | (u32::from(byte(i + salt)) << 12))
                .flat_map(u32::to_le_bytes)
                .collect(),
            _ => (0..len).map(|i| byte(i + salt)).collect(),
        }
    };
    let (x_len, y_len) = (rows * steps, steps * columns);
    let matrices = [matrix(x_len, 1), matrix(y_len, 7)];
    let source = |bytes: &Vec<u8>, len: u64| {
        Node::Source(Source::Constant {
            shape: dims(&[len]),
            dtype,
            hash: tree::hash(bytes),
        })
    };
    // Axes from the outermost on, with their extents.
    let read = |node: u32, axes: [(u8, u64); 2]| Access {
        node,
        dtype,
        len: axes[0].1 * axes[1].1,
        base: Int(0),
        axes: axes
            .iter()
            .zip([axes[1].1, 1])
            .map(|((v, extent), stride)| Axis {
                form: Form::var(*v),
                extent: *extent,
                stride: Int(stride as i64),
            })
            .collect(),
        fill: 0,
    };
    let either = |node: u32, axes: [(u8, u64); 2], transposed: bool| match transposed {
        false => read(node, axes),
        true => read(node, [axes[1], axes[0]]),
    };
    let (out, ops) = match dtype {
        Dtype::F32 => (Dtype::F32, vec![Op::FFma(1, 2, 0)]),
        _ => (Dtype::I32, vec![Op::IMul(1, 2), Op::IAdd(0, 3)]),
    };
    let result = Node::Fold(Fold {
        body: Body {
            shape: dims(&[rows, columns]),
            dtype: out,
            index: Vec::new(),
            reads: vec![
                either(1, [(0, rows), (var::RED, steps)], transposed[0]),
                either(2, [(var::RED, steps), (1, columns)], transposed[1]),
            ],
            values: Vec::new(),
            consts: Vec::new(),
            ops,
        },
        red: dims(&[steps]),
        when: Vec::new(),
        init: Init::Word(0),
    });
    let state = Node::Source(Source::State {
        shape: dims(&[rows, columns]),
        dtype: out,
    });
    let [x, y] = &matrices;
    let nodes = vec![state, source(x, x_len), source(y, y_len), result];
    let constants = matrices.map(|bytes| (tree::hash(&bytes), Arc::new(bytes) as Blob));
    Job {
        program: Arc::new(Program { slots: 1, nodes }),
        inputs: Inputs {
            constants: constants.into_iter().collect(),
            ..Inputs::default()
        },
    }
}

fn name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        _ => "int8",
    }
}

/// Holds every shape of tile to the bits of the CPU engine.
pub fn check(device: u32) -> Result<(), Box<dyn Error>> {
    for (dtype, (what, transposed)) in both() {
        for extents in [[259, 301, 77], [320, 384, 256]] {
            let job = product(extents, transposed, dtype);
            let mut cpu = Cpu::new(job.clone(), Options::default())?;
            cpu.step(0);
            for shape in 0..SHAPES {
                let gpu = Gpu::open(device)?.with_shape(shape);
                let mut gpu = Cuda::new(job.clone(), gpu)?;
                gpu.step(0);
                if gpu.state() != cpu.state() {
                    let name = name(dtype);
                    let of = format!("{what} of {extents:?} in tiles of shape {shape}");
                    return Err(format!("{name} {of}: other bits than the CPU engine's").into());
                }
            }
        }
    }
    println!("products in {SHAPES} shapes of tile give the bits of the CPU engine");
    Ok(())
}

/// Both element types with all products.
fn both() -> impl Iterator<Item = (Dtype, (&'static str, [bool; 2]))> {
    let dtypes = [Dtype::F32, Dtype::I8];
    dtypes
        .into_iter()
        .flat_map(|dtype| TRANSPOSES.map(|transposed| (dtype, transposed)))
}

/// How fast every shape of tile is where it is full.
pub fn shapes(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| shape of tile | numbers | product | 10^12 a second |\n|--:|---|---|--:|");
    let mut rows = Vec::new();
    for (dtype, (what, transposed)) in both() {
        for shape in 0..SHAPES {
            let job = product([4096; 3], transposed, dtype);
            let gpu = Gpu::open(device)?.with_shape(shape);
            let time = step_seconds(&mut Cuda::new(job, gpu)?)?;
            let tera = 2.0 * 4096f64.powi(3) / time / 1e12;
            println!("| {shape} | {} | {what} | {tera:.2} |", name(dtype));
            rows.push(json!({
                "shape": shape, "dtype": name(dtype), "product": what, "tera": tera,
            }));
        }
    }
    Ok(rows)
}

/// Times in the shapes of tile that the engine takes by itself. A multiplication and an addition count
/// as two.
pub fn times(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| numbers | product | rows x columns x steps | 10^12 a second | ms |\n|---|---|---|--:|--:|");
    let mut rows = Vec::new();
    for (dtype, (what, transposed)) in both() {
        for extents in SIZES {
            let job = product(extents, transposed, dtype);
            let time = step_seconds(&mut Cuda::new(job, Gpu::open(device)?)?)?;
            let [m, n, k] = extents;
            let tera = 2.0 * (m * n * k) as f64 / time / 1e12;
            println!(
                "| {} | {what} | {m} x {n} x {k} | {tera:.2} | {:.3} |",
                name(dtype),
                time * 1e3
            );
            rows.push(json!({
                "dtype": name(dtype), "product": what, "extents": extents,
                "seconds": time, "tera": tera,
            }));
        }
    }
    Ok(rows)
}
