//! What a task's metrics were: step by step by running it again, or as the published checkpoints
//! have them.

use anyhow::{Context, Result};
use lockstep_agent::roles::Observer;
use lockstep_agent::run::training::state_hash;
use lockstep_agent::run::workload::{save_state, Workload};
use lockstep_agent::run::Device;
use lockstep_agent::store::Store;
use lockstep_graph::training::{metric, WINDOW};
use lockstep_protocol::program::Dtype;
use lockstep_protocol::Hash;
use std::time::{Duration, Instant};

/// Steps that are timed before the time of all is foreseen.
const PROBE: u32 = 3;

/// A slot of the state that holds one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What it is called.
    pub name: String,
    /// Which slot.
    pub slot: usize,
    dtype: Dtype,
}

/// A run of the whole task.
pub struct Run {
    /// On what.
    pub engine: String,
    /// For each metric its value after every step.
    pub values: Vec<Vec<f64>>,
    /// Seconds of every step.
    pub seconds: Vec<f64>,
    /// The hash of the state at each segment's end.
    pub checkpoints: Vec<Hash>,
}

/// A published checkpoint.
pub struct Checkpoint {
    /// Steps done.
    pub steps: u32,
    /// The hash of the state.
    pub state: Hash,
    /// The value of each metric, where the store has it.
    pub values: Vec<Option<f64>>,
}

/// The metrics of a program. Without names, every slot of one number may be one.
pub fn metrics(workload: &Workload, names: Option<&[String]>) -> Vec<Metric> {
    let slots = &workload.program.nodes[..workload.program.slots as usize];
    let metric = |(slot, node): (usize, &lockstep_protocol::program::Node)| {
        let name = match names {
            Some(names) => names.get(slot)?.strip_prefix("metric.")?.to_owned(),
            None => format!("slot {slot}"),
        };
        (node.len() == 1).then(|| Metric {
            name,
            slot,
            dtype: node.dtype(),
        })
    };
    slots.iter().enumerate().filter_map(metric).collect()
}

impl Metric {
    fn value(&self, tensor: &[u8]) -> f64 {
        let word = self.dtype.load(tensor);
        match self.dtype {
            Dtype::F32 => f64::from(f32::from_bits(word)),
            Dtype::I32 | Dtype::I8 => f64::from(word as i32),
            Dtype::U32 | Dtype::U8 | Dtype::U16 => f64::from(word),
        }
    }

    /// Whether it is a running mean of what each step had.
    pub fn averages(&self) -> bool {
        self.is_one_of(&[metric::LOSS, metric::ACCURACY])
    }

    /// Whether it is the result of an evaluation at the end of the training.
    pub fn tests(&self) -> bool {
        self.is_one_of(&[metric::TEST_LOSS, metric::TEST_ACCURACY])
    }

    /// Whether it adds up for another metric's sake.
    pub fn counts(&self) -> bool {
        self.is_one_of(&[metric::LOSS_SUM, metric::CORRECT, metric::SEEN])
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        let full = format!("metric.{}", self.name);
        names.contains(&full.as_str())
    }
}

/// What each step had, from the running mean after every step: the mean moves towards it by one
/// part in as many as there have been steps, at most [`WINDOW`].
pub fn unaveraged(means: &[f64]) -> Vec<f64> {
    let mut before = 0.0;
    let step = |(k, mean): (usize, &f64)| {
        let parts = (k + 1).min(WINDOW as usize) as f64;
        let value = before + (mean - before) * parts;
        before = *mean;
        value
    };
    means.iter().enumerate().map(step).collect()
}

/// Runs the task from its genesis. The states before the segments in `keep` are put into `store`.
/// `None` when it would take longer than `limit`.
///
/// # Errors
/// When the engine refuses the task, the store a state, or the observer stops the run.
pub fn run(
    workload: &Workload,
    metrics: &[Metric],
    device: Device,
    (store, keep): (&Store, &[u32]),
    limit: Duration,
    observer: &mut dyn Observer,
) -> Result<std::result::Result<Run, Duration>> {
    let spec = &workload.spec;
    let mut engine = device.engine(workload.job())?;
    engine.load(&workload.genesis)?;
    let mut run = Run {
        engine: engine.name(),
        values: vec![Vec::with_capacity(spec.steps as usize); metrics.len()],
        seconds: Vec::with_capacity(spec.steps as usize),
        checkpoints: Vec::with_capacity(spec.segments() as usize),
    };
    for step in 0..spec.steps {
        if step % spec.segment == 0 && keep.contains(&(step / spec.segment)) {
            save_state(store, &engine.state())?;
        }
        let start = Instant::now();
        engine.step(step);
        run.seconds.push(start.elapsed().as_secs_f64());
        let state = engine.state();
        for (metric, values) in metrics.iter().zip(&mut run.values) {
            values.push(metric.value(state[metric.slot]));
        }
        let done = step + 1;
        if done % spec.segment == 0 || done == spec.steps {
            run.checkpoints.push(state_hash(&*engine));
        }
        if done >= PROBE.min(spec.steps) {
            let foreseen = foreseen(&run.seconds, spec.steps);
            if foreseen > limit {
                return Ok(Err(foreseen));
            }
        }
        anyhow::ensure!(observer.step(done, spec.steps), "stopped");
    }
    Ok(Ok(run))
}

/// How long all steps take, if the others take as long as the least of the first ones.
fn foreseen(seconds: &[f64], steps: u32) -> Duration {
    let spent: f64 = seconds.iter().sum();
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let left = f64::from(steps) - seconds.len() as f64;
    Duration::from_secs_f64(spent + least * left)
}

/// The checkpoints that a solver published, with the metrics of those whose states are to be had.
///
/// # Errors
/// When the checkpoint trace is not to be had.
pub fn published(
    workload: &Workload,
    metrics: &[Metric],
    store: &Store,
    trace: &Hash,
) -> Result<Vec<Checkpoint>> {
    let spec = &workload.spec;
    let trace = store
        .get_exact(trace, u64::from(spec.segments()) * 32)
        .context("the checkpoint trace is not to be had")?;
    let checkpoint = |(segment, entry): (usize, &[u8])| {
        let segment = segment as u32;
        let state: Hash = entry.try_into().expect("chunks have 32 bytes");
        let file = store.get_exact(&state, u64::from(spec.slots) * 32).ok();
        let value = |metric: &Metric| {
            let entry = file.as_ref()?.get(metric.slot * 32..)?.first_chunk()?;
            let bytes = workload.program.nodes[metric.slot].bytes();
            Some(metric.value(&store.get_exact(entry, bytes).ok()?))
        };
        Checkpoint {
            steps: spec.first_step(segment) + spec.segment_steps(segment),
            state,
            values: metrics.iter().map(value).collect(),
        }
    };
    Ok(trace.chunks_exact(32).enumerate().map(checkpoint).collect())
}

/// The first segment whose published end is not that of the run.
pub fn first_difference(run: &[Hash], published: &[Checkpoint]) -> Option<u32> {
    let differ = |(own, theirs): (&Hash, &Checkpoint)| *own != theirs.state;
    let at = run.iter().zip(published).position(differ)?;
    Some(at as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe;
    use std::path::Path;

    #[test]
    fn metrics_are_known_by_name_or_else_by_being_single_numbers() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/mlp.toml");
        let made = recipe::make(&recipe).unwrap();
        let slots = &made.task.built.slots;
        let names: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
        let named = metrics(&made.workload, Some(&names));
        let found: Vec<&str> = named.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(found, ["loss", "accuracy"]);
        assert!(named.iter().all(Metric::averages));
        let nameless = metrics(&made.workload, None);
        let same = |(a, b): (&Metric, &Metric)| a.slot == b.slot && !b.averages();
        assert!(named.iter().zip(&nameless).all(same));
        assert_eq!(nameless.len(), 2);
    }

    #[test]
    fn what_each_step_had_is_found_from_the_running_mean() {
        let each: Vec<f64> = (0..200).map(|k| f64::from(k * 37 % 101)).collect();
        let mut mean = 0.0;
        let means: Vec<f64> = each
            .iter()
            .enumerate()
            .map(|(k, x)| {
                mean += (x - mean) / ((k + 1) as f64).min(f64::from(WINDOW));
                mean
            })
            .collect();
        let found = unaveraged(&means);
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(found.iter().zip(&each).all(close), "{found:?}");
    }

    #[test]
    fn the_time_of_all_steps_is_foreseen_from_the_quickest() {
        let foreseen = foreseen(&[5.0, 1.0, 2.0], 103);
        assert_eq!(foreseen, Duration::from_secs(8 + 100));
    }

    #[test]
    fn the_first_checkpoint_that_differs_is_named() {
        let published = |state: u8| Checkpoint {
            steps: 1,
            state: [state; 32],
            values: vec![],
        };
        let run = [[1; 32], [2; 32], [3; 32]];
        let same: Vec<Checkpoint> = [1, 2, 3].map(published).into();
        assert_eq!(first_difference(&run, &same), None);
        let wrong: Vec<Checkpoint> = [1, 9, 8].map(published).into();
        assert_eq!(first_difference(&run, &wrong), Some(1));
    }
}
