//! One model on one number of threads, in a process of its own, so that its peak of memory is its
//! own.

use super::models::{self, ModelName};
use super::overheads::{self, Overheads};
use anyhow::{Context, Result};
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::Engine;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What training steps took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steps {
    /// Steps that were measured.
    pub steps: u32,
    /// Milliseconds of the median step.
    pub wall_ms: f64,
    /// Milliseconds of the fastest step.
    pub best_ms: f64,
    /// Milliseconds that all threads together computed for a step, the mean.
    pub cpu_ms: Option<f64>,
    /// The most memory that the process has held, in KiB.
    pub peak_kib: Option<u64>,
    /// The same before there was an engine, or before there was a model.
    pub before_kib: Option<u64>,
}

/// What a process measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The steps.
    pub steps: Steps,
    /// What being verifiable adds to them.
    pub overheads: Overheads,
}

/// Trains `model` for some seconds, and then measures the overheads.
///
/// # Errors
/// When the engine cannot be started or no checkpoint can be stored.
pub fn run(model: ModelName, threads: usize, seconds: f64) -> Result<Measured> {
    let case = models::case(model);
    let job = case.job();
    let before_kib = peak_kib();
    let options = Options {
        threads: Some(threads),
        ..Options::default()
    };
    let mut engine = Cpu::new(job, options)?;
    engine.load(&case.built.genesis())?;
    drop(case);
    let steps = measure(&mut engine, seconds, before_kib);
    let overheads = overheads::run(&mut engine).context("cannot measure the overheads")?;
    Ok(Measured { steps, overheads })
}

fn measure(engine: &mut Cpu, seconds: f64, before_kib: Option<u64>) -> Steps {
    const WARM_UP: u32 = 3;
    (0..WARM_UP).for_each(|step| engine.step(step));
    let (began, used) = (Instant::now(), processor_time());
    let mut times = Vec::new();
    while began.elapsed().as_secs_f64() < seconds || times.len() < 3 {
        let step = WARM_UP + times.len() as u32;
        let began = Instant::now();
        engine.step(step % models::STEPS);
        times.push(began.elapsed());
    }
    let used = processor_time().zip(used).map(|(now, then)| now - then);
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Steps {
        steps: times.len() as u32,
        wall_ms: ms(times[times.len() / 2]),
        best_ms: ms(times[0]),
        cpu_ms: used.map(|used| ms(used) / times.len() as f64),
        peak_kib: peak_kib(),
        before_kib,
    }
}

/// What all threads of the process have computed so far.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of every unix, and `time` is there to be written.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    (done == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

/// The most memory that the process has held, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
