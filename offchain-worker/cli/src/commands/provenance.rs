//! Where a task's first state comes from.
//!
//! A task goes on where another ended when its first state is the other's final state, and both
//! hashes are on the chain. So a chain of tasks is a chain of hashes.

use crate::context::Context;
use crate::screen::{print_json, short, Table};
use anyhow::{Context as _, Result};
use lockstep_agent::chain::contracts::Contracts;
use lockstep_interface::escrow::{TaskRecord, TaskStatus};
use lockstep_interface::TaskId;
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::Hash;
use serde_json::json;

/// A task of the chain.
struct Link {
    task: TaskId,
    status: TaskStatus,
    spec: TaskSpec,
    /// Its final state, once it is settled.
    end: Option<Hash>,
}

/// `lockstep provenance`.
pub fn run(context: &Context, task: TaskId) -> Result<()> {
    let links = trace(&context.contracts()?, task)?;
    let first = links.last().map(|link| link.spec.genesis);
    if context.json {
        let rows: Vec<_> = links
            .iter()
            .map(|link| {
                json!({
                    "task": link.task,
                    "status": format!("{:?}", link.status),
                    "program": hex::encode(link.spec.program),
                    "steps": link.spec.steps,
                    "genesis": hex::encode(link.spec.genesis),
                    "state": link.end.map(hex::encode),
                })
            })
            .collect();
        return print_json(&rows);
    }
    let mut table = Table::new(&["task", "status", "program", "steps", "from", "to"]);
    for link in &links {
        table.row(&[
            link.task.to_string(),
            format!("{:?}", link.status),
            short(&link.spec.program),
            link.spec.steps.to_string(),
            short(&link.spec.genesis),
            link.end.map_or("-".into(), |hash| short(&hash)),
        ]);
    }
    print!("{table}");
    let steps: u64 = links.iter().map(|link| u64::from(link.spec.steps)).sum();
    if let Some(first) = first {
        println!(
            "{steps} steps in {} tasks, from state {}, which no settled task here ended with",
            links.len(),
            short(&first)
        );
    }
    Ok(())
}

/// The task and those before it, latest first. Of several tasks that ended with the same state it
/// follows the earliest; only earlier tasks are looked at, so there is no circle.
fn trace(contracts: &Contracts, task: TaskId) -> Result<Vec<Link>> {
    let mut earlier: Vec<(TaskId, TaskRecord)> = contracts
        .tasks()?
        .into_iter()
        .filter_map(|listed| Some((listed.id, listed.task?)))
        .collect();
    let at = earlier
        .iter()
        .position(|(id, _)| *id == task)
        .with_context(|| format!("there is no task {task}, or it was removed"))?;
    let (mut id, mut record) = earlier.swap_remove(at);
    earlier.retain(|(_, record)| record.status == TaskStatus::Settled);
    earlier.sort_by_key(|(id, _)| *id);
    let mut links = Vec::new();
    loop {
        let spec = contracts.submission(id, &record)?.task.spec;
        let genesis = spec.genesis;
        links.push(Link {
            task: id,
            status: record.status,
            end: (record.status == TaskStatus::Settled).then_some(record.result.state),
            spec,
        });
        earlier.retain(|(other, _)| *other < id);
        let before = earlier.iter().find(|(_, r)| r.result.state == genesis);
        let Some(before) = before.cloned() else {
            return Ok(links);
        };
        (id, record) = before;
    }
}
