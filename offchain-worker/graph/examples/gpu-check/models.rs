//! Training steps: the examples', and those of a transformer in the shape of GPT-2 small.

use crate::programs::Golden;
use crate::{seconds, step_seconds};
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::{Cuda, Gpu};
use lockstep_engine::{Engine, Job};
use lockstep_graph::{
    Field, Initial, Model, Objective, Optimizer, Precision, Schedule, Training, Value as Node,
};
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::Dtype;
use serde_json::{json, Value};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// Steps between two checkpoints, by which their cost is divided.
const SEGMENT: f64 = 100.0;

/// What is measured of an engine that holds a state: seconds of a step and of hashing the state.
fn measured(gpu: &mut Cuda<Gpu>) -> Result<[f64; 2], Box<dyn Error>> {
    let step = step_seconds(gpu)?;
    let hashing = seconds(|| {
        gpu.hashes();
        Ok(())
    })?;
    Ok([step, hashing])
}

/// Steps of the examples, and what hashing their state costs, beside the CPU engine.
pub fn examples(device: u32, goldens: &[Golden]) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| model | ms a step | hashing, ms | CPU engine, ms a step |\n|---|--:|--:|--:|");
    let mut rows = Vec::new();
    for golden in goldens.iter().filter(|golden| golden.model) {
        let mut gpu = Cuda::new(golden.job.clone(), Gpu::open(device)?)?;
        let mut cpu = Cpu::new(golden.job.clone(), Options::default())?;
        gpu.load(&golden.state)?;
        cpu.load(&golden.state)?;
        let [step, hashing] = measured(&mut gpu)?;
        let mut next = 0;
        let on_cpu = seconds(|| {
            cpu.step(next);
            next += 1;
            Ok(())
        })?;
        println!(
            "| {} | {:.3} | {:.3} | {:.3} |",
            golden.name,
            step * 1e3,
            hashing * 1e3,
            on_cpu * 1e3
        );
        rows.push(json!({
            "model": golden.name, "seconds": step, "hashing": hashing, "cpu": on_cpu,
        }));
    }
    Ok(rows)
}

/// The extents of a transformer.
#[derive(Clone, Copy)]
struct Extents {
    layers: usize,
    width: usize,
    heads: usize,
    time: usize,
    batch: usize,
    characters: usize,
}

/// GPT-2 small, its vocabulary filled up to a multiple of 128.
const GPT2: Extents = Extents {
    layers: 12,
    width: 768,
    heads: 12,
    time: 1024,
    batch: 4,
    characters: 50304,
};

/// One that is small enough for the CPU engine.
const SMALL: Extents = Extents {
    layers: 2,
    width: 128,
    heads: 2,
    time: 64,
    batch: 2,
    characters: 512,
};

/// A training step and the state before it.
///
/// A. Radford et al.: Language models are unsupervised multitask learners (2019).
fn transformer(extents: Extents, precision: Precision) -> (Job, Vec<Vec<u8>>) {
    let Extents {
        layers,
        width,
        heads,
        time,
        batch,
        characters,
    } = extents;
    let mut model = Model::training(1);
    let field = |offset: usize| Field {
        dataset: 0,
        batch: batch as u32,
        record_size: 4 * (time as u32 + 1),
        offset: 4 * offset as u32,
        count: time as u32,
        dtype: Dtype::U32,
    };
    let tokens = model.graph.field(field(0));
    let next = model.graph.field(field(1));
    let x = model.embedding("tokens", tokens, characters, width);
    let positions = model.parameter("positions", &[time, width], &Initial::xavier(time, width));
    let mut x = model.graph.add(x, positions);
    for layer in 0..layers {
        let y = model.layer_norm(&format!("{layer}.a"), x);
        let y = attention(
            &mut model,
            &format!("{layer}.attention"),
            y,
            heads,
            precision,
        );
        x = model.graph.add(x, y);
        let y = model.layer_norm(&format!("{layer}.b"), x);
        let y = linear(&mut model, &format!("{layer}.up"), y, 4 * width, precision);
        let y = model.graph.gelu(y);
        let y = linear(&mut model, &format!("{layer}.down"), y, width, precision);
        x = model.graph.add(x, y);
    }
    let x = model.layer_norm("last", x);
    let logits = linear(&mut model, "output", x, characters, precision);
    let losses = model.graph.cross_entropy(logits, next);
    let rates = Schedule::Constant.rates(1e-4, 0, 1 << 12);
    let optimizer = Optimizer::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        decay: 0.01,
    };
    let built = model.train(Objective::new(losses), &Training::new(optimizer, rates));
    let built = built.expect("the model keeps within the limits of programs");
    let mut token = 1u32;
    let mut text = || {
        token = token.wrapping_mul(0x915f_77f5).wrapping_add(1);
        (token >> 8) % characters as u32
    };
    let records: Vec<u8> = (0..64 * (time + 1))
        .flat_map(|_| text().to_le_bytes())
        .collect();
    let state = built.genesis();
    let constants = built.constants.into_iter();
    let inputs = Inputs {
        seed: 1,
        constants: constants
            .map(|(hash, bytes)| (hash, Arc::new(bytes) as Blob))
            .collect(),
        datasets: vec![Arc::new(records) as Blob],
    };
    let program = Arc::new(built.program);
    (Job { program, inputs }, state)
}

fn linear(model: &mut Model, name: &str, x: Node, outputs: usize, precision: Precision) -> Node {
    let inputs = *model.graph.shape(x).last().expect("rows of numbers");
    let initial = Initial::xavier(inputs, outputs);
    let weight = model.parameter(&format!("{name}.weight"), &[inputs, outputs], &initial);
    let bias = model.parameter(&format!("{name}.bias"), &[outputs], &Initial::Zeros);
    model.graph.linear_in(precision, x, weight, Some(bias))
}

fn attention(model: &mut Model, name: &str, x: Node, heads: usize, precision: Precision) -> Node {
    let &[batch, time, width] = model.graph.shape(x) else {
        unreachable!("attention is over [batch, time, width]");
    };
    let head = width / heads;
    let [query, key, value] = ["query", "key", "value"].map(|part| {
        let y = linear(model, &format!("{name}.{part}"), x, width, precision);
        let y = model.graph.reshape(y, &[batch, time, heads, head]);
        model.graph.permute(y, &[0, 2, 1, 3])
    });
    let keys = model.graph.transpose(key);
    let scores = model.graph.matmul(query, keys);
    let (scale, mask) = (
        model.graph.scalar(1.0 / (head as f32).sqrt()),
        model.graph.causal_mask(time),
    );
    let scores = model.graph.fma(scores, scale, mask);
    let weights = model.graph.softmax(scores, 3);
    let mixed = model.graph.matmul(weights, value);
    let mixed = model.graph.permute(mixed, &[0, 2, 1, 3]);
    let mixed = model.graph.reshape(mixed, &[batch, time, width]);
    linear(model, &format!("{name}.output"), mixed, width, precision)
}

const PRECISIONS: [(&str, Precision); 2] =
    [("float32", Precision::Float32), ("int8", Precision::Int8)];

/// Holds a small transformer to the CPU engine's bits in both precisions.
pub fn check(device: u32) -> Result<(), Box<dyn Error>> {
    for (name, precision) in PRECISIONS {
        let (job, state) = transformer(SMALL, precision);
        let mut cpu = Cpu::new(job.clone(), Options::default())?;
        let mut gpu = Cuda::new(job, Gpu::open(device)?)?;
        cpu.load(&state)?;
        gpu.load(&state)?;
        for step in 0..3 {
            cpu.step(step);
            gpu.step(step);
        }
        if cpu.state() != gpu.state() {
            return Err(
                format!("a transformer in {name}: other bits than the CPU engine's").into(),
            );
        }
    }
    println!("a transformer in float32 and in int8 gives the bits of the CPU engine");
    Ok(())
}

/// Steps in the shape of GPT-2 small in both precisions.
pub fn gpt2(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!(
        "\n| GPT-2 small, 4 x 1024 tokens | ms a step | hashing a state, ms | of a segment of 100 steps \
         | compiling, s |\n|---|--:|--:|--:|--:|"
    );
    let mut rows = Vec::new();
    for (name, precision) in PRECISIONS {
        let (job, state) = transformer(GPT2, precision);
        let began = Instant::now();
        let mut gpu = Cuda::new(job, Gpu::open(device)?)?;
        let compiling = began.elapsed().as_secs_f64();
        gpu.load(&state)?;
        let [step, hashing] = measured(&mut gpu)?;
        let share = hashing / (hashing + SEGMENT * step);
        println!(
            "| {name} | {:.2} | {:.3} | {:.3}% | {compiling:.1} |",
            step * 1e3,
            hashing * 1e3,
            share * 100.0
        );
        rows.push(json!({
            "precision": name, "seconds": step, "hashing": hashing, "share": share,
            "compiling": compiling,
        }));
    }
    Ok(rows)
}
