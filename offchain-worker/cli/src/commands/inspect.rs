//! What a program, a dispute or a demand looks like inside.

use crate::args::InspectCommand;
use crate::context::Context;
use crate::recipe;
use crate::screen::{bytes, count, print_json, Table};
use crate::wording::shape;
use anyhow::{Context as _, Result};
use lockstep_agent::keys::address;
use lockstep_agent::run::workload::Workload;
use lockstep_engine::cpu::describe;
use lockstep_protocol::program::{Fold, Node, Program};
use serde_json::{json, Value};
use std::path::Path;

/// `lockstep inspect`.
pub fn run(context: &Context, command: InspectCommand) -> Result<()> {
    match command {
        InspectCommand::Program { what } => program(context, &what),
        InspectCommand::Dispute { dispute } => {
            let record = context.contracts()?.dispute_record(dispute)?;
            let record = record.context("there is no such dispute, or it was removed")?;
            let game = &record.game;
            if context.json {
                return print_json(&json!({
                    "dispute": dispute,
                    "task": record.task,
                    "attempt": record.attempt,
                    "solver": address(&record.solver),
                    "challenger": address(&record.challenger),
                    "position": game.position,
                    "phase": format!("{:?}", game.phase),
                    "turn": game.turn().map(|side| format!("{side:?}")),
                    "file": format!("{:?}", game.search.file),
                    "step": game.step,
                    "node": game.node,
                    "element": game.element,
                    "r": game.r,
                }));
            }
            println!(
                "dispute {dispute} of task {}, attempt {}",
                record.task, record.attempt
            );
            println!("  solver      {}", address(&record.solver));
            println!("  challenger  {}", address(&record.challenger));
            println!("  position    {}, {:?}", game.position, game.phase);
            match game.turn() {
                Some(side) => println!(
                    "  to move     {side:?}, {} s left",
                    record.clocks.left(side) / 1000
                ),
                None => println!("  over"),
            }
            println!(
                "  searched    {:?}, segment {}, step {}, node {}, element {}, r {}",
                game.search.file, game.segment, game.step, game.node, game.element, game.r
            );
            Ok(())
        }
        InspectCommand::Demand { demand } => {
            let record = context.contracts()?.demand_record(demand)?;
            let record = record.context("there is no such demand, or it was removed")?;
            if context.json {
                return print_json(&json!({
                    "demand": demand,
                    "task": record.task,
                    "attempt": record.attempt,
                    "status": format!("{:?}", record.status),
                    "segment": record.place.segment,
                    "slot": record.place.slot,
                    "chunk": record.place.chunk,
                }));
            }
            println!(
                "demand {demand} of task {}, attempt {}: {:?}; checkpoint {}, slot {}, chunk {}",
                record.task,
                record.attempt,
                record.status,
                record.place.segment,
                record.place.slot,
                record.place.chunk
            );
            Ok(())
        }
    }
}

fn program(context: &Context, what: &str) -> Result<()> {
    let path = Path::new(what);
    let (program, names) = if path.is_file() {
        let made = recipe::make(path)?;
        let names = made
            .task
            .built
            .slots
            .iter()
            .map(|slot| slot.name.clone())
            .collect();
        (made.workload.program, names)
    } else {
        let manifest = context.manifest(what)?;
        let workload = Workload::fetch(&context.store()?, &manifest.spec()?)?;
        (workload.program, manifest.slots)
    };
    print_program(context, &program, &names)
}

fn print_program(context: &Context, program: &Program, names: &[String]) -> Result<()> {
    let described = describe(program);
    let slots = program.slots as usize;
    let name = |n: usize| {
        let first_next = program.nodes.len() - slots;
        if n < slots {
            names.get(n).map(|name| format!("from {name}"))
        } else {
            let slot = n.checked_sub(first_next)?;
            names.get(slot).map(|name| format!("to {name}"))
        }
    };
    if context.json {
        let nodes: Vec<Value> = described
            .nodes
            .iter()
            .zip(&program.nodes)
            .enumerate()
            .map(|(n, (cost, node))| {
                json!({
                    "cost": cost,
                    "state": name(n),
                    "reads": node.accesses().map(|access| access.node).collect::<Vec<_>>(),
                })
            })
            .collect();
        return print_json(&json!({
            "program": hex::encode(program.root()),
            "slots": program.slots,
            "flops": described.flops,
            "traffic": described.traffic,
            "memory": described.memory,
            "nodes": nodes,
        }));
    }
    println!("program {}", hex::encode(program.root()));
    let mut table = Table::new(&[
        "node", "kernel", "shape", "over", "type", "reads", "flops", "bytes", "traffic", "state",
    ]);
    for (n, (cost, node)) in described.nodes.iter().zip(&program.nodes).enumerate() {
        let reads: Vec<String> = node.accesses().map(|a| a.node.to_string()).collect();
        let over = match node {
            Node::Fold(Fold { red, .. }) => shape(red),
            _ => String::new(),
        };
        table.row(&[
            n.to_string(),
            cost.kernel.into(),
            shape(&node.shape()),
            over,
            cost.dtype.into(),
            reads.join(","),
            count(cost.flops),
            bytes(cost.bytes),
            bytes(cost.traffic),
            name(n).unwrap_or_default(),
        ]);
    }
    print!("{table}");
    println!(
        "{} nodes, {} slots; a step: {} flops and {} of traffic; held while training: {}",
        program.nodes.len(),
        program.slots,
        count(described.flops),
        bytes(described.traffic),
        bytes(described.memory.state + described.memory.constants + described.memory.buffers)
    );
    Ok(())
}
