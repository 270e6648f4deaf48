//! Training steps of four models beside PyTorch's, and what being verifiable adds to them.

pub mod alone;
pub mod models;
mod overheads;

use super::python::{self, Python};
use super::{Table, Watch};
use crate::screen;
use alone::{Measured, Steps};
use anyhow::{ensure, Context, Result};
use lockstep_engine::cpu::Simd;
use models::ModelName;
use overheads::{Overheads, SEGMENT};
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::fmt;
use std::process::Command;

/// The other side, which a carried binary brings along.
const PYTORCH: &str = include_str!("pytorch.py");

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which models.
    pub models: Vec<ModelName>,
    /// On how many threads, one after the other.
    pub threads: Vec<usize>,
    /// How long to train in each process.
    pub seconds: f64,
    /// Processes of each side; medians over them count.
    pub rounds: u32,
}

/// One model on one number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which model.
    pub model: ModelName,
    /// Threads of either side.
    pub threads: usize,
    /// Our steps.
    pub ours: Steps,
    /// PyTorch's steps.
    pub pytorch: Option<Steps>,
    /// Our time of a step over PyTorch's, as a fraction.
    pub wall_share: Option<f64>,
    /// Our processor time of a step over PyTorch's, as a fraction.
    pub cpu_share: Option<f64>,
    /// What being verifiable takes.
    pub overheads: Overheads,
    /// The same in steps.
    pub shares: Shares,
}

/// Overheads over the time of training, as fractions.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shares {
    /// Steps between checkpoints.
    pub segment: u32,
    /// Hashing a checkpoint over computing its segment.
    pub hash: f64,
    /// What storing a checkpoint holds the next segment up, over computing it.
    pub held: f64,
    /// The trace of a step over the step: what a dispute costs, in steps.
    pub trace: f64,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Our code path.
    pub engine: String,
    /// PyTorch's version; absent when no Python was found that has it.
    pub pytorch: Option<String>,
    /// How to get PyTorch.
    pub advice: &'static str,
    /// One for each model and number of threads.
    pub rows: Vec<Row>,
}

/// Measures our steps and PyTorch's in turns, each in a process of its own.
///
/// # Errors
/// When a process cannot be started or fails.
pub fn run(plan: &Plan, python: Option<&Python>, watch: Watch) -> Result<Report> {
    ensure!(plan.rounds > 0, "0 rounds measure nothing");
    let python = python.filter(|python| python.torch.is_some());
    let mut rows = Vec::new();
    let count = plan.models.len() * plan.threads.len();
    for &model in &plan.models {
        for &threads in &plan.threads {
            watch(rows.len(), count, &format!("{model} on {threads}"));
            rows.push(row(plan, model, threads, python)?);
        }
    }
    Ok(Report {
        engine: format!("cpu/{}", Simd::best()),
        pytorch: python.and_then(|python| python.torch.clone()),
        advice: python::ADVICE,
        rows,
    })
}

fn row(plan: &Plan, model: ModelName, threads: usize, python: Option<&Python>) -> Result<Row> {
    let arguments = [
        model.to_string(),
        threads.to_string(),
        plan.seconds.to_string(),
    ];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "alone"]).args(&arguments);
        ours.push(json::<Measured>(&mut command)?);
        if let Some(python) = python {
            let mut command = Command::new(&python.program);
            command.args(["-c", PYTORCH]).args(&arguments);
            theirs.push(json::<Steps>(&mut command)?);
        }
    }
    let overheads = Overheads {
        state: ours[0].overheads.state,
        hash_ms: median(&ours, |ours| ours.overheads.hash_ms),
        store_ms: median(&ours, |ours| ours.overheads.store_ms),
        held_ms: median(&ours, |ours| ours.overheads.held_ms),
        trace_ms: median(&ours, |ours| ours.overheads.trace_ms),
    };
    let ours = middle(ours.into_iter().map(|ours| ours.steps).collect());
    let pytorch = (!theirs.is_empty()).then(|| middle(theirs));
    let share = |of: fn(&Steps) -> Option<f64>| Some(of(&ours)? / of(pytorch.as_ref()?)?);
    let segment = ours.wall_ms * f64::from(SEGMENT);
    Ok(Row {
        model,
        threads,
        wall_share: share(|steps| Some(steps.wall_ms)),
        cpu_share: share(|steps| steps.cpu_ms),
        shares: Shares {
            segment: SEGMENT,
            hash: overheads.hash_ms / segment,
            held: overheads.held_ms / segment,
            trace: overheads.trace_ms / ours.wall_ms,
        },
        ours,
        pytorch,
        overheads,
    })
}

/// What a process prints.
fn json<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?} failed: {}",
        command.get_program(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The process whose median step is the middle one.
fn middle(mut processes: Vec<Steps>) -> Steps {
    processes.sort_by(|a, b| a.wall_ms.total_cmp(&b.wall_ms));
    processes.swap_remove(processes.len() / 2)
}

fn median<T>(of: &[T], value: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = of.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "training steps ({}) in float32", self.engine)?;
        match &self.pytorch {
            Some(version) => writeln!(
                f,
                "PyTorch {version}, in turns; shares are our time over PyTorch's"
            )?,
            None => writeln!(f, "PyTorch: not found; {}", self.advice)?,
        }
        writeln!(f, "{}", self.steps())?;
        writeln!(
            f,
            "what being verifiable takes: hashing a checkpoint every {SEGMENT} steps, and what \
             storing it holds the next steps up, of their time; a dispute's trace of one step, in \
             steps"
        )?;
        write!(f, "{}", self.overheads())
    }
}

impl Report {
    fn steps(&self) -> Table {
        let mut titles = vec!["model", "threads", "ours ms", "CPU ms", "peak MiB"];
        if self.pytorch.is_some() {
            titles.extend(["PyTorch ms", "CPU ms", "peak MiB", "share", "of CPU"]);
        }
        let mut table = Table::new(&titles);
        for row in &self.rows {
            let mut cells = vec![row.model.to_string(), row.threads.to_string()];
            for steps in [Some(&row.ours), row.pytorch.as_ref()]
                .into_iter()
                .flatten()
            {
                cells.push(digits(steps.wall_ms));
                cells.push(steps.cpu_ms.map_or("-".into(), digits));
                let peak = steps
                    .peak_kib
                    .map(|kib| format!("{:.0}", kib as f64 / 1024.0));
                cells.push(peak.unwrap_or("-".into()));
            }
            if row.pytorch.is_some() {
                for share in [row.wall_share, row.cpu_share] {
                    cells.push(share.map_or("-".into(), |share| format!("{share:.2}")));
                }
            }
            table.row(&cells);
        }
        table
    }

    fn overheads(&self) -> Table {
        let mut table = Table::new(&[
            "model", "threads", "state", "hash ms", "of steps", "store ms", "held ms", "of steps",
            "trace ms", "steps",
        ]);
        let percent = |x: f64| format!("{:.2}%", x * 100.0);
        for row in &self.rows {
            let (overheads, shares) = (&row.overheads, &row.shares);
            table.row(&[
                row.model.to_string(),
                row.threads.to_string(),
                screen::bytes(overheads.state),
                digits(overheads.hash_ms),
                percent(shares.hash),
                digits(overheads.store_ms),
                digits(overheads.held_ms),
                percent(shares.held),
                digits(overheads.trace_ms),
                format!("{:.2}", shares.trace),
            ]);
        }
        table
    }
}

/// A number with three digits that count.
fn digits(x: f64) -> String {
    let whole = x.abs().log10().floor().max(-3.0) as i32 + 1;
    format!("{x:.*}", (3 - whole).clamp(0, 5) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let written = [0.0, 0.00123, 0.1239, 12.34, 203.4, 1234.5].map(digits);
        assert_eq!(
            written,
            ["0.00000", "0.00123", "0.124", "12.3", "203", "1234"]
        );
    }

    #[test]
    fn a_missing_pytorch_is_said_with_advice() {
        let report = Report {
            engine: "cpu".into(),
            pytorch: None,
            advice: python::ADVICE,
            rows: Vec::new(),
        };
        let text = report.to_string();
        assert!(text.contains("PyTorch: not found") && text.contains("LOCKSTEP_PYTHON"));
    }
}
