//! Benchmarks: each compares Lockstep with what a person would otherwise use, in the same run, and
//! gives rows that print as a table and serialise for `--json`.

pub mod dispute;
pub mod gemm;
pub mod hash;
pub mod load;
pub mod step;
mod table;

pub use table::Table;

use std::time::{Duration, Instant};

/// How long a measurement is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Fewest repetitions.
    pub runs: usize,
    /// Repetitions go on until this much time was measured.
    pub time: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            runs: 5,
            time: Duration::from_millis(800),
        }
    }
}

/// The times of repeated runs of one thing.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The fastest run, in seconds.
    pub best: f64,
    /// The middle one, in seconds.
    pub median: f64,
}

/// Measures several things in turn, so that they see the same weather on the machine, after one
/// run of each to warm up.
pub fn measure<const N: usize>(
    patience: Patience,
    mut subjects: [&mut dyn FnMut(); N],
) -> [Times; N] {
    subjects.iter_mut().for_each(|run| run());
    let mut seconds = [const { Vec::new() }; N];
    let mut total = Duration::ZERO;
    while seconds[0].len() < patience.runs || total < patience.time * N as u32 {
        for (run, seconds) in subjects.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            run();
            let took = start.elapsed();
            total += took;
            seconds.push(took.as_secs_f64());
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        Times {
            best: seconds[0],
            median: seconds[seconds.len() / 2],
        }
    })
}
