//! Recipes on disk become tasks: the bridge between the model builder and the worker.

use crate::commands::result::Outcome;
use crate::import;
use anyhow::{bail, Context, Result};
use lockstep_agent::run::workload::{state_file, Workload};
use lockstep_agent::run::Device;
use lockstep_graph::recipe::{LanguageModel, Pass, Recipe, Task};
use lockstep_graph::{training::metric, Kind};
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{Node, Program};
use lockstep_protocol::task::{Dataset, TaskSpec};
use lockstep_protocol::Hash;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A recipe, built.
pub struct Made {
    /// What the graph made of it.
    pub task: Task,
    /// What the worker runs.
    pub workload: Workload,
}

impl Made {
    /// Starts from the end of another run instead of from initial weights.
    ///
    /// # Errors
    /// When the state is not that of the same model and optimizer: slots of the same types in the
    /// same order.
    pub fn go_on_from(&mut self, outcome: &Outcome) -> Result<()> {
        let Made { task, workload } = self;
        let slots = &task.built.slots;
        if outcome.state.len() != slots.len() {
            bail!(
                "its state has {} tensors, that of the recipe {}: use its model and optimizer",
                outcome.state.len(),
                slots.len()
            );
        }
        let nodes = outcome.program.nodes.iter().zip(&workload.program.nodes);
        for (slot, (theirs, ours)) in slots.iter().zip(nodes) {
            if theirs != ours {
                bail!(
                    "its state holds {:?} {:?} where the recipe's holds {} as {:?} {:?}: use its \
                     model and optimizer",
                    theirs.dtype(),
                    shape(theirs),
                    slot.name,
                    ours.dtype(),
                    shape(ours)
                );
            }
        }
        workload.spec.genesis = state_hash(&outcome.state);
        workload.genesis.clone_from(&outcome.state);
        Ok(())
    }
}

fn shape(node: &Node) -> Vec<u64> {
    node.shape().iter().map(|dim| dim.0).collect()
}

fn state_hash(tensors: &[Vec<u8>]) -> Hash {
    let tensors: Vec<&[u8]> = tensors.iter().map(Vec::as_slice).collect();
    *blake3::hash(&state_file(&tensors)).as_bytes()
}

/// How a model did on held-out records.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Score {
    /// Answers judged: one a record, or one a place of its sequence that counts.
    pub seen: u32,
    /// Answers that were right; absent for a model that does not classify.
    pub correct: Option<u32>,
    /// Mean loss over the answers.
    pub loss: f64,
}

impl Score {
    /// The share of answers that were right.
    pub fn accuracy(&self) -> Option<f64> {
        self.correct
            .map(|correct| correct as f64 / self.seen as f64)
    }
}

/// Reads a recipe and builds its task.
///
/// # Errors
/// What is wrong with the recipe, and where.
pub fn make(path: &Path) -> Result<Made> {
    let task = read(path, |recipe, folder| {
        recipe.build_with(folder, &import::model)
    })?;
    let workload = workload(&task);
    Ok(Made { task, workload })
}

/// Reads a recipe whose model writes text.
///
/// # Errors
/// When the model is no language model, and what else is wrong with the recipe.
pub fn language_model(path: &Path, temperature: f32) -> Result<LanguageModel> {
    read(path, |recipe, folder| {
        recipe.language_model(folder, &import::model, temperature)
    })
}

/// What `build` makes of the recipe at `path` and its folder.
fn read<T>(
    path: &Path,
    build: impl FnOnce(&Recipe, &Path) -> Result<T, lockstep_graph::recipe::Error>,
) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the recipe {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Recipe::from_toml(&text)
        .and_then(|recipe| build(&recipe, folder))
        .with_context(|| format!("in the recipe {}", path.display()))
}

/// The worker's view of a built task.
fn workload(task: &Task) -> Workload {
    let program = task.built.program.clone();
    let genesis = task.built.genesis();
    let spec = TaskSpec {
        program: program.root(),
        nodes: program.nodes.len() as u32,
        slots: program.slots,
        genesis: state_hash(&genesis),
        datasets: vec![Dataset {
            root: *blake3::hash(&task.train.bytes).as_bytes(),
            records: task.train.records,
            record_size: task.record_size,
        }],
        batch: task.batch,
        steps: task.steps,
        segment: task.segment,
        seed: task.seed,
    };
    let inputs = Inputs {
        seed: task.seed,
        datasets: vec![Arc::new(task.train.bytes.clone())],
        constants: blobs(&task.built.constants),
    };
    Workload {
        spec,
        program: Arc::new(program),
        inputs,
        genesis,
    }
}

/// Constants as an engine takes them.
pub fn blobs(constants: &BTreeMap<Hash, Vec<u8>>) -> BTreeMap<Hash, Blob> {
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    constants
        .iter()
        .map(|(hash, bytes)| (*hash, blob(bytes)))
        .collect()
}

/// Evaluates a trained state on the recipe's held-out records.
///
/// # Errors
/// When the recipe has none, or the state belongs to another model.
pub fn evaluate(task: &Task, state: &[Vec<u8>], device: Device) -> Result<Score> {
    let Some(Pass { built, test, steps }) = &task.evaluation else {
        bail!("the recipe names no held-out records: set `data.test` or `data.held_out`");
    };
    let program: Program = built.program.clone();
    let inputs = Inputs {
        seed: task.seed,
        datasets: vec![Arc::new(test.bytes.clone())],
        constants: blobs(&built.constants),
    };
    let job = lockstep_engine::Job {
        program: Arc::new(program),
        inputs,
    };
    let mut engine = device.engine(job)?;
    engine.load(&built.adopt(&task.built.slots, state)?)?;
    (0..*steps).for_each(|step| engine.step(step));
    let last = engine.state();
    let word = |name: &str| {
        let bytes = last.get(built.slot(name)?)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let seen = word(metric::SEEN).context("the evaluation counts no records")?;
    let loss = word(metric::LOSS_SUM).map_or(f64::NAN, |bits| f32::from_bits(bits) as f64);
    Ok(Score {
        seen,
        correct: word(metric::CORRECT),
        loss: loss / seen as f64,
    })
}

/// Elements of all trained parameters.
pub fn parameters(task: &Task) -> u64 {
    let slots = task
        .built
        .slots
        .iter()
        .filter(|slot| slot.kind == Kind::Parameter);
    slots
        .map(|slot| slot.shape.iter().product::<usize>() as u64)
        .sum()
}
