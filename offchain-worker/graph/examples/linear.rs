//! A linear layer with both its gradients in floats and in 8-bit integers, on one thread, in
//! processor time.
//!
//!     cargo run --release -p lockstep-graph --example linear

use lockstep_engine::{
    cpu::{Cpu, Options},
    Engine, Job,
};
use lockstep_graph::{lower::lower, Graph, Precision};
use lockstep_protocol::{eval::Inputs, program::Dtype};
use std::sync::Arc;

/// One step moves x and the weight against the gradient of a sum over the output.
fn layer([rows, inputs, outputs]: [usize; 3], precision: Precision) -> Cpu {
    let mut graph = Graph::new();
    let (first, x) = graph.state(&[rows, inputs], Dtype::F32);
    let (second, weight) = graph.state(&[inputs, outputs], Dtype::F32);
    let (third, upstream) = graph.state(&[rows, outputs], Dtype::F32);
    let y = graph.linear_in(precision, x, weight, None);
    let weighted = graph.mul(y, upstream);
    let loss = graph.sum(weighted, &[0, 1]);
    let towards = graph.gradients(loss, &[x, weight]);
    let slots = [(first, towards[0]), (second, towards[1]), (third, y)];
    let program = lower(&graph, &slots).expect("within the limits");
    let mut word = 1u32;
    let mut number = || {
        word = word.wrapping_mul(0x915f_77f5).wrapping_add(1);
        (word >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut tensor =
        |len: usize| -> Vec<u8> { (0..len).flat_map(|_| number().to_le_bytes()).collect() };
    let state = [rows * inputs, inputs * outputs, rows * outputs].map(&mut tensor);
    let job = Job {
        program: Arc::new(program),
        inputs: Inputs::default(),
    };
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    let mut cpu = Cpu::new(job, options).expect("a valid program");
    cpu.load(&state).expect("the program's state");
    cpu
}

/// Nanoseconds that this thread has spent on a processor.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let first = text.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

fn main() {
    const RUNS: usize = 5;
    println!("milliseconds of a step, the fastest of {RUNS} in turn");
    for size in [
        [64, 64, 128],
        [512, 768, 768],
        [512, 768, 3072],
        [2048, 1024, 1024],
    ] {
        let precisions = [Precision::Float32, Precision::Int8];
        // The scheduler counts in ticks of milliseconds.
        let steps = (6_000_000_000 / size.iter().product::<usize>()).clamp(1, 999) as u32;
        let mut engines = precisions.map(|precision| layer(size, precision));
        let mut best = [u64::MAX; 2];
        for _ in 0..RUNS {
            for (engine, best) in engines.iter_mut().zip(&mut best) {
                let start = processor_time();
                (0..steps).for_each(|step| engine.step(step));
                *best = (processor_time() - start).min(*best);
            }
        }
        let [float, int8] = best.map(|time| time as f64 / 1e6 / steps as f64);
        println!(
            "{size:?}: float32 {float:.3}, int8 {int8:.3}, {:.2}x",
            float / int8
        );
    }
}
