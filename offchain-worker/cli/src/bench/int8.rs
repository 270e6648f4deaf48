//! What 8-bit integers save on this machine's CPU, on one thread.

use super::product::{self, Element};
use super::shape::Shape;
use super::{measure, Patience, Table, Watch};
use anyhow::Result;
use lockstep_engine::cpu::{Cpu, Options, Simd};
use lockstep_engine::{Engine, Job};
use lockstep_graph::lower::lower;
use lockstep_graph::{Graph, Precision};
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::Dtype;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Rows, columns and steps of products.
const PRODUCTS: [[usize; 3]; 6] = [
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [512, 3072, 768],
    [512, 768, 3072],
    [768, 3072, 512],
];

/// Rows, inputs and outputs of layers.
const LAYERS: [[usize; 3]; 4] = [
    [64, 64, 128],
    [512, 768, 768],
    [512, 768, 3072],
    [2048, 1024, 1024],
];

/// A matrix product on one instruction set.
#[derive(Clone, Debug, Serialize)]
pub struct ProductRow {
    /// The shape.
    pub shape: Shape,
    /// The instruction set.
    pub simd: String,
    /// 10^9 products a second in floats, in canonical order.
    pub float32: f64,
    /// The same in bytes.
    pub int8: f64,
}

/// A linear layer with both its gradients.
#[derive(Clone, Debug, Serialize)]
pub struct LayerRow {
    /// Rows, inputs and outputs.
    pub size: [usize; 3],
    /// Milliseconds in floats.
    pub float32_ms: f64,
    /// Milliseconds in blocks of bytes, quantisation included.
    pub int8_ms: f64,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Products.
    pub products: Vec<ProductRow>,
    /// Layers.
    pub layers: Vec<LayerRow>,
}

/// Measures products on every instruction set that kernels are compiled for, and layers on the
/// widest.
///
/// # Errors
/// When an engine cannot be started.
pub fn run(patience: Patience, watch: Watch) -> Result<Report> {
    let sets: Vec<Simd> = Simd::available()
        .into_iter()
        .filter(|simd| *simd != Simd::Baseline)
        .collect();
    let count = sets.len() * PRODUCTS.len() + LAYERS.len();
    let (mut products, mut layers) = (Vec::new(), Vec::new());
    for &simd in &sets {
        for [rows, cols, steps] in PRODUCTS {
            let shape = Shape::plain(rows, cols, steps);
            watch(products.len(), count, &format!("{shape} with {simd}"));
            let engines = [
                product::engine(&shape, Element::F32, simd)?,
                product::engine(&shape, Element::I8, simd)?,
            ];
            let [float32, int8] = fastest(engines, patience);
            let rate = |seconds: f64| shape.products() as f64 / seconds / 1e9;
            products.push(ProductRow {
                shape,
                simd: simd.to_string(),
                float32: rate(float32),
                int8: rate(int8),
            });
        }
    }
    for size in LAYERS {
        let [rows, inputs, outputs] = size;
        let done = products.len() + layers.len();
        watch(done, count, &format!("layer {rows}x{inputs}x{outputs}"));
        let engines = [
            layer(size, Precision::Float32)?,
            layer(size, Precision::Int8)?,
        ];
        let [float32, int8] = fastest(engines, patience);
        layers.push(LayerRow {
            size,
            float32_ms: float32 * 1e3,
            int8_ms: int8 * 1e3,
        });
    }
    Ok(Report { products, layers })
}

/// Seconds of the fastest step of each engine.
fn fastest([mut first, mut second]: [Cpu; 2], patience: Patience) -> [f64; 2] {
    let (mut one, mut other) = (|| first.step(0), || second.step(0));
    let times = measure(patience, &mut [&mut one, &mut other]);
    [times[0].best, times[1].best]
}

/// A step computes the output of constants and the gradients towards them.
fn layer([rows, inputs, outputs]: [usize; 3], precision: Precision) -> Result<Cpu> {
    let mut graph = Graph::new();
    let mut word = 1u32;
    let mut number = || {
        word = word.wrapping_mul(0x915f_77f5).wrapping_add(1);
        (word >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut tensor = |graph: &mut Graph, shape: [usize; 2]| {
        let elements: Vec<f32> = (0..shape[0] * shape[1]).map(|_| number()).collect();
        graph.constant_f32(&shape, &elements)
    };
    let x = tensor(&mut graph, [rows, inputs]);
    let weight = tensor(&mut graph, [inputs, outputs]);
    let upstream = tensor(&mut graph, [rows, outputs]);
    let y = graph.linear_in(precision, x, weight, None);
    let weighted = graph.mul(y, upstream);
    let loss = graph.sum(weighted, &[0, 1]);
    let towards = graph.gradients(loss, &[x, weight]);
    let slots = [y, towards[0], towards[1]].map(|value| {
        let shape = graph.shape(value).to_vec();
        (graph.state(&shape, Dtype::F32).0, value)
    });
    let job = Job {
        program: Arc::new(lower(&graph, &slots)?),
        inputs: Inputs {
            constants: crate::recipe::blobs(graph.constants()),
            ..Inputs::default()
        },
    };
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    Ok(Cpu::new(job, options)?)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "10^9 products a second, one thread, the fastest run")?;
        let gain = |gain: f64| format!("{gain:.2}x");
        let mut table = Table::new(&["rows x cols x steps", "kernels", "float32", "int8", "gain"]);
        for row in &self.products {
            table.row(&[
                row.shape.to_string(),
                row.simd.clone(),
                format!("{:.1}", row.float32),
                format!("{:.1}", row.int8),
                gain(row.int8 / row.float32),
            ]);
        }
        writeln!(f, "{table}\nmilliseconds of a layer with its gradients")?;
        let mut table = Table::new(&["rows x in x out", "float32", "int8", "gain"]);
        for row in &self.layers {
            let [rows, inputs, outputs] = row.size;
            table.row(&[
                format!("{rows}x{inputs}x{outputs}"),
                format!("{:.3}", row.float32_ms),
                format!("{:.3}", row.int8_ms),
                gain(row.float32_ms / row.int8_ms),
            ]);
        }
        write!(f, "{table}")
    }
}
