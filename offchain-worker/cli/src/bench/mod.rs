//! Benchmarks: each compares Lockstep with what a person would otherwise use, in the same run, and
//! gives rows that print as a table and serialise for `--json`.

mod blas;
pub mod dispute;
pub mod gemm;
pub mod hash;
pub mod int8;
pub mod load;
pub mod machine;
pub mod nodes;
mod product;
pub mod python;
pub mod shape;
pub mod step;
mod table;
pub mod train;

pub use table::Table;

use std::time::{Duration, Instant};

/// Hears of every measurement before it begins: how many are done, how many there are, and what
/// is measured next.
pub type Watch<'a> = &'a mut dyn FnMut(usize, usize, &str);

/// How long a measurement is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Turns of each subject.
    pub turns: u32,
    /// Repetitions go on until this much time was measured, in all turns together.
    pub time: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            turns: 5,
            time: Duration::from_millis(800),
        }
    }
}

/// Between two subjects: as long as a library's idle threads wait for more work by spinning, which
/// would cost the next one a core.
const PAUSE: Duration = Duration::from_millis(40);

/// The times of repeated runs of one thing.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The fastest run, in seconds.
    pub best: f64,
    /// The middle one, in seconds.
    pub median: f64,
}

/// Measures several things in turns, so that they see the same weather on the machine. A turn
/// begins with a run that does not count, to warm up.
pub fn measure(patience: Patience, subjects: &mut [&mut dyn FnMut()]) -> Vec<Times> {
    let mut seconds = vec![Vec::new(); subjects.len()];
    let alone = subjects.len() == 1;
    let turn = patience.time / patience.turns;
    for _ in 0..patience.turns {
        for (run, seconds) in subjects.iter_mut().zip(&mut seconds) {
            if !alone {
                std::thread::sleep(PAUSE);
            }
            run();
            let mut total = Duration::ZERO;
            while total < turn {
                let start = Instant::now();
                run();
                let took = start.elapsed();
                total += took;
                seconds.push(took.as_secs_f64());
            }
        }
    }
    let times = seconds.into_iter().map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        Times {
            best: seconds[0],
            median: seconds[seconds.len() / 2],
        }
    });
    times.collect()
}
