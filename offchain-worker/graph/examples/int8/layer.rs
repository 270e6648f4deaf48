//! A linear layer with both its gradients, in floats and in 8-bit integers.

use crate::fastest;
use lockstep_engine::{
    cpu::{Cpu, Options},
    Job,
};
use lockstep_graph::{lower::lower, Graph, Precision};
use lockstep_protocol::{
    eval::{Blob, Inputs},
    program::Dtype,
};
use std::sync::Arc;

/// A step computes the output of constants and the gradients towards them.
fn layer([rows, inputs, outputs]: [usize; 3], precision: Precision) -> Cpu {
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
    let program = lower(&graph, &slots).expect("within the limits");
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    let constants = graph.constants().iter();
    let job = Job {
        program: Arc::new(program),
        inputs: Inputs {
            constants: constants
                .map(|(hash, bytes)| (*hash, blob(bytes)))
                .collect(),
            ..Inputs::default()
        },
    };
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    Cpu::new(job, options).expect("a valid program on this machine")
}

/// Prints what a step of the layer takes in either precision.
pub fn run() {
    println!("milliseconds of a layer with its gradients: rows x in x out");
    for size in [
        [64, 64, 128],
        [512, 768, 768],
        [512, 768, 3072],
        [2048, 1024, 1024],
    ] {
        let precisions = [Precision::Float32, Precision::Int8];
        let engines = precisions.map(|precision| layer(size, precision));
        let steps = (6_000_000_000 / size.iter().product::<usize>()).clamp(1, 999);
        let [float, int8] = fastest(engines, steps as u32).map(|time| time / 1e6);
        println!(
            "{size:?}: float32 {float:.3}, int8 {int8:.3}, {:.2}x",
            float / int8
        );
    }
}
