//! Trained models: fetched, verified, written, measured.

use crate::args::ResultCommand;
use crate::commands::task::latest_attempt;
use crate::context::Context;
use crate::exit::BadResult;
use crate::recipe;
use crate::screen::{bytes, print_json};
use anyhow::{bail, Context as _, Result};
use lockstep_agent::roles::Worker;
use lockstep_agent::run::workload::{load_state, Workload};
use lockstep_agent::store::tensors::{self, Named};
use lockstep_interface::escrow::{AttemptRecord, AttemptStatus, TaskRecord};
use lockstep_interface::TaskId;
use lockstep_protocol::program::Program;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
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
    let worker = context.worker()?;
    match command {
        ResultCommand::Download {
            task,
            attempt,
            output,
        } => {
            let (record, latest) = latest_attempt(&worker.contracts, task)?;
            let number = attempt.unwrap_or(latest);
            let attempt = attempt_record(&worker, task, number)?;
            let outcome = final_state(&worker, task, number, &record, &attempt)?;
            let names = names(context, &worker, task, &record, outcome.state.len())?;
            let notes = notes(task, number, &attempt);
            let file = safetensors(&outcome, &names, notes)?;
            write(&output, &file)?;
            if context.json {
                return print_json(&json!({
                    "file": output, "bytes": file.len(), "tensors": names,
                    "final": attempt.status == AttemptStatus::Final,
                }));
            }
            println!(
                "wrote {} ({}, {} tensors)",
                output.display(),
                bytes(file.len() as u64),
                names.len()
            );
            if attempt.status == AttemptStatus::Committed {
                println!("note: the result is still open to challenge");
            }
            Ok(())
        }
        ResultCommand::Evaluate {
            task,
            recipe,
            floor,
        } => {
            let (record, number) = latest_attempt(&worker.contracts, task)?;
            let attempt = attempt_record(&worker, task, number)?;
            let outcome = final_state(&worker, task, number, &record, &attempt)?;
            let path = match recipe {
                Some(path) => path,
                None => {
                    let spec = worker.contracts.submission(task, &record)?.task.spec;
                    let manifest = context.manifest_of(&spec)?;
                    manifest
                        .context("name the task's recipe with --recipe")?
                        .recipe
                }
            };
            let made = recipe::make(&path)?;
            let score = recipe::evaluate(&made.task, &outcome.state, context.settings.device)?;
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

fn attempt_record(worker: &Worker, task: TaskId, number: u32) -> Result<AttemptRecord> {
    let attempt = worker.contracts.attempt(task, number)?;
    attempt.with_context(|| format!("attempt {number} at task {task} is not there or was removed"))
}

/// Fetches the final state of an attempt from wherever the solver published it.
///
/// # Errors
/// When the attempt has no result, or a file is missing or wrong.
pub fn final_state(
    worker: &Worker,
    task: TaskId,
    number: u32,
    record: &TaskRecord,
    attempt: &AttemptRecord,
) -> Result<Outcome> {
    match attempt.status {
        AttemptStatus::Committed | AttemptStatus::Final => {}
        status => bail!("attempt {number} at task {task} has no result: it is {status:?}"),
    }
    let submission = worker.contracts.submission(task, record)?;
    let published = worker.contracts.published(task, number, attempt)?;
    let store = worker
        .store
        .with_source(&submission.artifacts)?
        .with_source(&published.artifacts)?;
    let workload = Workload::fetch(&store, &submission.task.spec)?;
    let state = load_state(&store, &workload.program, &attempt.commitment.state)?;
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
    worker: &Worker,
    task: TaskId,
    record: &TaskRecord,
    slots: usize,
) -> Result<Vec<String>> {
    let spec = worker.contracts.submission(task, record)?.task.spec;
    Ok(match context.manifest_of(&spec)? {
        Some(manifest) if manifest.slots.len() == slots => manifest.slots,
        _ => (0..slots).map(|slot| format!("slot.{slot}")).collect(),
    })
}

fn notes(task: TaskId, number: u32, attempt: &AttemptRecord) -> HashMap<String, String> {
    HashMap::from([
        ("task".into(), task.to_string()),
        ("attempt".into(), number.to_string()),
        ("state".into(), hex::encode(attempt.commitment.state)),
        ("trace".into(), hex::encode(attempt.commitment.trace)),
    ])
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
