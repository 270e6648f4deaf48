//! Holds a GPU to the protocol's bits and measures it. `scripts/gpu-check` runs it.
//!
//!     gpu-check [--device NUMBER] [--programs COUNT] [--times no] [--json FILE]
//!
//! Committed hashes of programs and models; random programs, products in every shape of tile and
//! transformers against the CPU engine; then times. It ends with an error at the first bit that differs. The executable needs no other file
//! than the GPU's driver and NVRTC.

mod hashing;
mod models;
mod products;
#[path = "../../tests/golden/programs.rs"]
mod programs;

use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::{Cuda, Device, Gpu};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::program::Dim;
use lockstep_protocol::random::{self, Size};
use programs::{committed, hashes, programs};
use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    lockstep_engine::attempt(check)?
}

fn check() -> Result<(), Box<dyn Error>> {
    let (mut device, mut count, mut times, mut file) = (0, 300, true, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or(format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--device" => device = value.parse()?,
            "--programs" => count = value.parse()?,
            "--times" => times = value != "no",
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
    println!("{count} random programs give the bytes of the CPU engine");
    products::check(device)?;
    models::check(device)?;
    if !times {
        return Ok(());
    }
    let report = json!({
        "device": name,
        "golden": goldens.len(),
        "random": count,
        "shapes": products::shapes(device)?,
        "products": products::times(device)?,
        "blake3": hashing::times(device)?,
        "examples": models::examples(device, &goldens)?,
        "gpt2": models::gpt2(device)?,
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
pub fn seconds(
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
pub fn step_seconds(engine: &mut Cuda<Gpu>) -> Result<f64, Box<dyn Error>> {
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

pub fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}
