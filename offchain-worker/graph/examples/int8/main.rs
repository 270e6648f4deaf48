//! What 8-bit integers save on this machine's CPU, in processor time of one thread (Linux).
//!
//!     cargo run --release -p lockstep-graph --example int8

mod layer;
mod products;

use lockstep_engine::{cpu::Cpu, Engine};

/// Nanoseconds of a step of each engine: the fastest of five runs, taken in turn, of as many steps
/// as make the scheduler's tick of some milliseconds short.
fn fastest<const N: usize>(mut engines: [Cpu; N], steps: u32) -> [f64; N] {
    let mut best = [u64::MAX; N];
    for _ in 0..5 {
        for (engine, best) in engines.iter_mut().zip(&mut best) {
            let start = processor_time();
            (0..steps).for_each(|step| engine.step(step));
            *best = (processor_time() - start).min(*best);
        }
    }
    best.map(|time| time as f64 / steps as f64)
}

/// Nanoseconds that this thread has spent on a processor.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let first = text.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

fn main() {
    products::run();
    layer::run();
}
