//! Trained models: fetched, verified, written, measured.

use crate::args::ResultCommand;
use crate::commands::task::latest_attempt;
use crate::context::Context;
use crate::exit::BadResult;
use crate::recipe;
use crate::screen::{bytes, print_json};
use anyhow::{bail, Context as _, Result};
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::run::workload::{load_state, Workload};
use lockstep_agent::store::tensors::{self, Named};
use lockstep_agent::store::Store;
use lockstep_interface::escrow::{AttemptStatus, TaskRecord, TaskStatus};
use lockstep_interface::{Attempt, TaskId};
use lockstep_protocol::program::Program;
use lockstep_protocol::task::Commitment;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A task's final state, every tensor checked against the hash on the chain.
pub struct Outcome {
    /// The program that the state belongs to.
    pub program: Arc<Program>,
    /// The tensors, in slot order.
    pub state: Vec<Vec<u8>>,
}

/// `lockstep result`.
pub fn run(context: &Context, command: ResultCommand) -> Result<()> {
    let contracts = context.contracts()?;
    match command {
        ResultCommand::Download {
            task,
            attempt,
            output,
        } => {
            let (record, latest) = latest_attempt(&contracts, task)?;
            let number = attempt.unwrap_or(latest);
            let claim = claim(&contracts, task, number, &record)?;
            let outcome = final_state(&contracts, &context.store()?, task, &record, &claim)?;
            let names = names(context, &contracts, task, &record, outcome.state.len())?;
            let file = safetensors(&outcome, &names, notes(task, &claim))?;
            write(&output, &file)?;
            if context.json {
                return print_json(&json!({
                    "file": output, "bytes": file.len(), "tensors": names,
                    "final": claim.stands,
                }));
            }
            println!(
                "wrote {} ({}, {} tensors)",
                output.display(),
                bytes(file.len() as u64),
                names.len()
            );
            if !claim.stands {
                println!("note: the result is still open to challenge");
            }
            Ok(())
        }
        ResultCommand::Evaluate {
            task,
            recipe,
            floor,
        } => {
            let trained = latest(context, &contracts, task)?;
            let made = recipe::make(&trained.recipe(context, &contracts, recipe)?)?;
            let state = &trained.outcome.state;
            let score = recipe::evaluate(&made.task, state, context.settings.device)?;
            if context.json {
                print_json(&json!({ "score": score, "accuracy": score.accuracy() }))?;
            } else {
                println!("records   {}", score.seen);
                println!("loss      {:.4}", score.loss);
                if let Some(accuracy) = score.accuracy() {
                    println!("accuracy  {:.2}%", accuracy * 100.0);
                }
            }
            match (floor, score.accuracy()) {
                (Some(floor), Some(accuracy)) if accuracy * 100.0 < floor => {
                    bail!(BadResult(format!("the accuracy is below {floor}%")))
                }
                _ => Ok(()),
            }
        }
    }
}

/// The final state of a task that is settled.
///
/// # Errors
/// When it is not, or a file is missing or wrong.
pub fn settled(context: &Context, task: TaskId) -> Result<Outcome> {
    let contracts = context.contracts()?;
    let trained = latest(context, &contracts, task)?;
    if !trained.claim.stands {
        bail!(
            "task {task} is {:?}: wait until it is settled, its result may still be wrong",
            trained.record.status
        );
    }
    Ok(trained.outcome)
}

/// The result of a task's latest attempt.
pub struct Trained {
    task: TaskId,
    record: TaskRecord,
    /// What the chain knows of it.
    pub claim: Claim,
    /// Its final state.
    pub outcome: Outcome,
}

/// Fetches the result of a task's latest attempt, settled or not.
///
/// # Errors
/// When there is none, or a file is missing or wrong.
pub fn latest(context: &Context, contracts: &Contracts, task: TaskId) -> Result<Trained> {
    let (record, number) = latest_attempt(contracts, task)?;
    let claim = claim(contracts, task, number, &record)?;
    let outcome = final_state(contracts, &context.store()?, task, &record, &claim)?;
    Ok(Trained {
        task,
        record,
        claim,
        outcome,
    })
}

impl Trained {
    /// The task's recipe: the `given` one, or else the one that `task new` read here.
    ///
    /// # Errors
    /// When neither is there.
    pub fn recipe(
        &self,
        context: &Context,
        contracts: &Contracts,
        given: Option<PathBuf>,
    ) -> Result<PathBuf> {
        if let Some(path) = given {
            return Ok(path);
        }
        let spec = contracts.submission(self.task, &self.record)?.task.spec;
        let manifest = context.manifest_of(&spec)?;
        let manifest = manifest.context("name the task's recipe with --recipe")?;
        Ok(manifest.recipe)
    }
}

/// A result as the chain knows it.
pub struct Claim {
    /// Which attempt.
    attempt: Attempt,
    /// What was committed.
    commitment: Commitment,
    /// A block no later than the commit.
    since: u32,
    /// Whether it is settled, and not open to challenge any more.
    stands: bool,
}

impl Claim {
    /// Whether it is settled, and not open to challenge any more.
    pub fn stands(&self) -> bool {
        self.stands
    }
}

/// The result of an attempt. A settled task keeps it when its solver has removed the attempt.
///
/// # Errors
/// When the attempt has no result, or is unknown.
pub fn claim(
    contracts: &Contracts,
    task: TaskId,
    number: Attempt,
    record: &TaskRecord,
) -> Result<Claim> {
    let settled = record.status == TaskStatus::Settled && number == record.attempts;
    let (commitment, since) = match contracts.attempt(task, number)? {
        Some(attempt) => match attempt.status {
            AttemptStatus::Committed | AttemptStatus::Final => (attempt.commitment, attempt.block),
            status => bail!("attempt {number} at task {task} has no result: it is {status:?}"),
        },
        None if settled => (record.result, record.block),
        None => bail!("attempt {number} at task {task} is not there or was removed"),
    };
    Ok(Claim {
        attempt: number,
        commitment,
        since,
        stands: settled,
    })
}

/// Fetches the final state of an attempt from wherever the solver published it.
///
/// # Errors
/// When a file is missing or wrong.
pub fn final_state(
    contracts: &Contracts,
    store: &Store,
    task: TaskId,
    record: &TaskRecord,
    claim: &Claim,
) -> Result<Outcome> {
    let submission = contracts.submission(task, record)?;
    let published = contracts.published(task, claim.attempt, claim.since)?;
    let store = store
        .with_source(&submission.artifacts)?
        .with_source(&published.artifacts)?;
    let workload = Workload::fetch(&store, &submission.task.spec)?;
    let state = load_state(&store, &workload.program, &claim.commitment.state)?;
    Ok(Outcome {
        program: workload.program,
        state,
    })
}

/// An outcome as a `safetensors` file.
///
/// # Errors
/// When two tensors have one name.
pub fn safetensors(
    outcome: &Outcome,
    names: &[String],
    notes: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let tensors: Vec<Named<'_>> = names
        .iter()
        .zip(&outcome.program.nodes)
        .zip(&outcome.state)
        .map(|((name, node), bytes)| Named { name, node, bytes })
        .collect();
    Ok(tensors::encode(&tensors, notes)?)
}

fn names(
    context: &Context,
    contracts: &Contracts,
    task: TaskId,
    record: &TaskRecord,
    slots: usize,
) -> Result<Vec<String>> {
    let spec = contracts.submission(task, record)?.task.spec;
    Ok(match context.manifest_of(&spec)? {
        Some(manifest) if manifest.slots.len() == slots => manifest.slots,
        _ => (0..slots).map(|slot| format!("slot.{slot}")).collect(),
    })
}

fn notes(task: TaskId, claim: &Claim) -> HashMap<String, String> {
    HashMap::from([
        ("task".into(), task.to_string()),
        ("attempt".into(), claim.attempt.to_string()),
        ("state".into(), hex::encode(claim.commitment.state)),
        ("trace".into(), hex::encode(claim.commitment.trace)),
    ])
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
