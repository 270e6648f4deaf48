//! Holds a GPU to the protocol's bits and measures it. `scripts/gpu-check` runs it.
//!
//!     gpu-check [--device NUMBER] [--programs COUNT] [--json FILE]
//!
//! Committed hashes of programs and models, then random programs against the CPU engine, then
//! times. It ends with an error at the first bit that differs. The executable needs no other file
//! than the GPU's driver and NVRTC.

#[path = "../tests/golden/programs.rs"]
mod programs;

use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::{Cuda, Device, Gpu};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::*;
use lockstep_protocol::random::{self, Size};
use lockstep_protocol::tree;
use programs::{committed, hashes, programs, Golden};
use serde_json::{json, Value};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut device, mut count, mut file) = (0, 300, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or(format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--device" => device = value.parse()?,
            "--programs" => count = value.parse()?,
            "--json" => file = Some(value),
            _ => return Err(format!("no option {argument}").into()),
        }
    }
    let name = Gpu::open(device)?.name();
    println!("{name}\n");
    let goldens = programs();
    for golden in &goldens {
        let mut engine = Cuda::new(golden.job.clone(), Gpu::open(device)?)?;
        let got = hashes(golden, &mut engine)?;
        if committed(&golden.name).as_ref() != Some(&got) {
            return Err(format!(
                "{}: other hashes than the committed ones: {got}",
                golden.name
            )
            .into());
        }
    }
    println!(
        "{} programs and models give the committed hashes",
        goldens.len()
    );
    for seed in 0..count {
        agree(
            device,
            1000 + seed,
            if seed % 10 == 0 {
                Size::LARGE
            } else {
                Size::SMALL
            },
        )?;
    }
    println!("{count} random programs give the bytes of the CPU engine\n");
    let report = json!({
        "device": name,
        "golden": goldens.len(),
        "random": count,
        "sgemm": products(device)?,
        "blake3": hashing(device)?,
        "steps": steps(device, &goldens)?,
    });
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

/// Compares every node of a step and the state after three.
fn agree(device: u32, seed: u64, size: Size) -> Result<(), Box<dyn Error>> {
    let case = random::program(seed, size);
    let job = Job {
        program: Arc::new(case.program),
        inputs: case.inputs,
    };
    let mut cpu = Cpu::new(job.clone(), Options::default())?;
    let mut gpu = Cuda::new(job, Gpu::open(device)?)?;
    cpu.load(&case.state)?;
    gpu.load(&case.state)?;
    let mut want = Vec::new();
    cpu.trace(7, &mut |_, bytes| want.push(bytes.to_vec()));
    let mut differs = None;
    gpu.trace(7, &mut |node, bytes| {
        if differs.is_none() && bytes != want[node as usize] {
            differs = Some(node);
        }
    });
    if let Some(node) = differs {
        return Err(format!("seed {seed} {size:?}: node {node} differs").into());
    }
    for step in 7..10 {
        cpu.step(step);
        gpu.step(step);
        if cpu.state() != gpu.state() || cpu.hashes() != gpu.hashes() {
            return Err(format!("seed {seed} {size:?}: step {step} differs").into());
        }
    }
    Ok(())
}

/// Seconds of one run, the middle of several.
fn seconds(
    mut run: impl FnMut() -> Result<(), lockstep_engine::Error>,
) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Steps that are measured together, so that starting one is hidden behind the one before it.
const TOGETHER: u32 = 10;

/// Seconds of a step.
fn step_seconds(engine: &mut Cuda<Gpu>) -> Result<f64, Box<dyn Error>> {
    let mut next = 0;
    let together = seconds(|| {
        for _ in 0..TOGETHER {
            engine.step(next);
            next += 1;
        }
        engine.wait();
        Ok(())
    })?;
    Ok(together / TOGETHER as f64)
}

fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}

/// Products of square matrices of f32.
fn products(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("| n | TFLOP/s | ms |\n|---|---|---|");
    let mut rows = Vec::new();
    for n in [1024u64, 2048, 4096, 8192] {
        let word = |i: u64| 0x3f00_0000 | (i.wrapping_mul(2_654_435_761) as u32 & 0x807f_ffff);
        let matrix = |salt: u64| {
            (0..n * n)
                .flat_map(|i| word(i + salt).to_le_bytes())
                .collect()
        };
        let matrices: [Vec<u8>; 2] = [matrix(1), matrix(7)];
        let shape = dims(&[n, n]);
        let dtype = Dtype::F32;
        let source = |bytes: &Vec<u8>| {
            Node::Source(Source::Constant {
                shape: shape.clone(),
                dtype,
                hash: tree::hash(bytes),
            })
        };
        let read = |node: u32, row: u8, column: u8| Access {
            node,
            dtype,
            len: n * n,
            base: Int(0),
            axes: [(row, n), (column, 1)]
                .map(|(v, stride)| Axis {
                    form: Form::var(v),
                    extent: n,
                    stride: Int(stride as i64),
                })
                .to_vec(),
            fill: 0,
        };
        let product = Node::Fold(Fold {
            body: Body {
                shape: shape.clone(),
                dtype,
                index: Vec::new(),
                reads: vec![read(1, 0, var::RED), read(2, var::RED, 1)],
                values: Vec::new(),
                consts: Vec::new(),
                ops: vec![Op::FFma(1, 2, 0)],
            },
            red: dims(&[n]),
            when: Vec::new(),
            init: Init::Word(0),
        });
        let state = Node::Source(Source::State {
            shape: shape.clone(),
            dtype,
        });
        let nodes = vec![state, source(&matrices[0]), source(&matrices[1]), product];
        let constants = matrices.map(|bytes| (tree::hash(&bytes), Arc::new(bytes) as Blob));
        let job = Job {
            program: Arc::new(Program { slots: 1, nodes }),
            inputs: Inputs {
                constants: constants.into_iter().collect(),
                ..Inputs::default()
            },
        };
        let time = step_seconds(&mut Cuda::new(job, Gpu::open(device)?)?)?;
        let tera = 2.0 * (n as f64).powi(3) / time / 1e12;
        println!("| {n} | {tera:.2} | {:.3} |", time * 1e3);
        rows.push(json!({ "n": n, "seconds": time, "tflops": tera }));
    }
    Ok(rows)
}

/// The hash of a state of one large tensor.
fn hashing(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| bytes hashed | GB/s | ms |\n|---|---|---|");
    let mut rows = Vec::new();
    for bytes in [1u64 << 20, 1 << 26, 1 << 30] {
        let shape = dims(&[bytes / 4]);
        let dtype = Dtype::U32;
        let state = Node::Source(Source::State {
            shape: shape.clone(),
            dtype,
        });
        let whole = Access {
            node: 0,
            dtype,
            len: bytes / 4,
            base: Int(0),
            axes: vec![Axis {
                form: Form::var(0),
                extent: bytes / 4,
                stride: Int(1),
            }],
            fill: 0,
        };
        let copy = Node::Map(Body {
            shape,
            dtype,
            index: Vec::new(),
            reads: vec![whole],
            values: Vec::new(),
            consts: Vec::new(),
            ops: Vec::new(),
        });
        let job = Job {
            program: Arc::new(Program {
                slots: 1,
                nodes: vec![state, copy],
            }),
            inputs: Inputs::default(),
        };
        let engine = Cuda::new(job, Gpu::open(device)?)?;
        let time = seconds(|| {
            engine.hashes();
            Ok(())
        })?;
        let speed = bytes as f64 / time / 1e9;
        println!("| {bytes} | {speed:.1} | {:.3} |", time * 1e3);
        rows.push(json!({ "bytes": bytes, "seconds": time, "gbps": speed }));
    }
    Ok(rows)
}

/// Steps of the examples, and what hashing their state costs, beside the CPU engine.
fn steps(device: u32, goldens: &[Golden]) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| model | ms a step | hashing, ms | CPU engine, ms a step |\n|---|---|---|---|");
    let mut rows = Vec::new();
    for golden in goldens.iter().filter(|golden| golden.model) {
        let mut gpu = Cuda::new(golden.job.clone(), Gpu::open(device)?)?;
        let mut cpu = Cpu::new(golden.job.clone(), Options::default())?;
        gpu.load(&golden.state)?;
        cpu.load(&golden.state)?;
        let on_gpu = step_seconds(&mut gpu)?;
        let hashing = seconds(|| {
            gpu.hashes();
            Ok(())
        })?;
        let mut next = 0;
        let on_cpu = seconds(|| {
            cpu.step(next);
            next += 1;
            Ok(())
        })?;
        println!(
            "| {} | {:.3} | {:.3} | {:.3} |",
            golden.name,
            on_gpu * 1e3,
            hashing * 1e3,
            on_cpu * 1e3
        );
        rows.push(json!({
            "model": golden.name,
            "seconds": on_gpu,
            "hashing": hashing,
            "cpu": on_cpu,
        }));
    }
    Ok(rows)
}
