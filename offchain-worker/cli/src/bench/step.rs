//! Training steps of a recipe, and what committing its checkpoints adds to them.

use super::{measure, Patience, Table};
use crate::recipe;
use lockstep_engine::cpu::{describe, Cpu, Options};
use lockstep_engine::Engine;
use lockstep_protocol::tree;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// One recipe on one number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The recipe's file name without its ending.
    pub recipe: String,
    /// Threads.
    pub threads: usize,
    /// Nodes of the program.
    pub nodes: usize,
    /// Floating-point operations of a step.
    pub flops: u64,
    /// Bytes of the state.
    pub state: u64,
    /// Microseconds of the median step.
    pub step_us: f64,
    /// Records a second.
    pub records: f64,
    /// Steps between checkpoints.
    pub segment: u32,
    /// Microseconds to hash the state, one thread.
    pub commit_us: f64,
    /// Hashing a checkpoint over computing its segment, as a fraction.
    pub commit_share: f64,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Our code path.
    pub engine: String,
    /// One for each recipe and number of threads.
    pub rows: Vec<Row>,
}

/// Measures steps of the recipe at `path` on each of `threads`.
///
/// # Errors
/// When the recipe cannot be read or built, or the engine cannot be started.
pub fn run(path: &Path, threads: &[usize], patience: Patience) -> anyhow::Result<Report> {
    let made = recipe::make(path)?;
    let (job, task) = (made.workload.job(), &made.task);
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let flops = describe(&job.program).flops;
    let mut rows = Vec::new();
    let mut engine = String::new();
    for &threads in threads {
        let options = Options {
            threads: Some(threads),
            ..Options::default()
        };
        let mut cpu = Cpu::new(job.clone(), options)?;
        cpu.load(&task.built.genesis())?;
        engine = cpu.name().split(' ').next().unwrap_or_default().into();
        let steps = step(&mut cpu, task.steps, patience);
        let commits = commit(&cpu.state(), patience);
        rows.push(Row {
            recipe: name.to_string_lossy().into_owned(),
            threads,
            nodes: job.program.nodes.len(),
            flops,
            state: cpu.state().iter().map(|slot| slot.len() as u64).sum(),
            step_us: steps * 1e6,
            records: task.batch as f64 / steps,
            segment: task.segment,
            commit_us: commits * 1e6,
            commit_share: commits / (steps * task.segment as f64),
        });
    }
    Ok(Report { engine, rows })
}

/// Seconds of the median step of a training of `steps` steps, whose state the engine has loaded.
pub fn step(engine: &mut dyn Engine, steps: u32, patience: Patience) -> f64 {
    let mut number = 0;
    let mut advance = || {
        engine.step(number % steps);
        engine.wait();
        number += 1;
    };
    measure(patience, &mut [&mut advance])[0].median
}

/// Seconds to hash a state on one thread, the median.
pub fn commit(state: &[&[u8]], patience: Patience) -> f64 {
    let mut commit = || {
        let hashes: Vec<u8> = state.iter().flat_map(|slot| tree::hash(slot)).collect();
        std::hint::black_box(tree::hash(&hashes));
    };
    measure(patience, &mut [&mut commit])[0].median
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "training steps ({})", self.engine)?;
        let mut table = Table::new(&[
            "recipe",
            "threads",
            "nodes",
            "Mflop",
            "state KiB",
            "us/step",
            "records/s",
            "commit us",
            "of segment",
        ]);
        for row in &self.rows {
            table.row(&[
                row.recipe.clone(),
                row.threads.to_string(),
                row.nodes.to_string(),
                format!("{:.2}", row.flops as f64 / 1e6),
                format!("{:.1}", row.state as f64 / 1024.0),
                format!("{:.1}", row.step_us),
                format!("{:.0}", row.records),
                format!("{:.1}", row.commit_us),
                format!("{:.2}%", row.commit_share * 100.0),
            ]);
        }
        write!(f, "{table}")
    }
}
