//! What a program, a dispute or a demand looks like inside.

use crate::args::InspectCommand;
use crate::context::Context;
use crate::recipe;
use crate::screen::{bytes, count, print_json, Table};
use anyhow::{Context as _, Result};
use lockstep_agent::keys::address;
use lockstep_agent::roles::solver::{memory, node_operations, operations};
use lockstep_agent::run::workload::Workload;
use lockstep_protocol::program::{Dim, Dtype, Fold, Node, Program, Source};
use serde_json::json;
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
    let slots = program.slots as usize;
    let mut table = Table::new(&[
        "node",
        "kind",
        "shape",
        "over",
        "type",
        "reads",
        "operations",
        "bytes",
    ]);
    let mut rows = Vec::new();
    for (n, node) in program.nodes.iter().enumerate() {
        let reads: Vec<String> = node.accesses().map(|a| a.node.to_string()).collect();
        let over = match node {
            Node::Fold(Fold { red, .. }) => shape(red),
            _ => String::new(),
        };
        let first_next = program.nodes.len() - slots;
        let slot = if n < slots {
            Some(n)
        } else {
            n.checked_sub(first_next)
        };
        let mut kind = kind(node).to_owned();
        if let Some(name) = slot.and_then(|slot| names.get(slot)) {
            let arrow = if n < slots { "from" } else { "to" };
            kind = format!("{kind} {arrow} {name}");
        }
        if context.json {
            rows.push(json!({
                "node": n, "kind": kind, "shape": shape(&node.shape()), "over": over,
                "type": dtype(node.dtype()), "reads": reads,
                "operations": node_operations(node), "bytes": node.bytes(),
            }));
        } else {
            table.row(&[
                n.to_string(),
                kind,
                shape(&node.shape()),
                over,
                dtype(node.dtype()).into(),
                reads.join(","),
                count(node_operations(node)),
                bytes(node.bytes()),
            ]);
        }
    }
    if context.json {
        return print_json(&json!({
            "program": hex::encode(program.root()),
            "slots": program.slots,
            "operations": operations(program),
            "memory": memory(program),
            "nodes": rows,
        }));
    }
    println!("program {}", hex::encode(program.root()));
    print!("{table}");
    println!(
        "{} nodes, {} slots, {} scalar operations a step, {} for all values",
        program.nodes.len(),
        program.slots,
        count(operations(program)),
        bytes(memory(program))
    );
    Ok(())
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Source(Source::State { .. }) => "state",
        Node::Source(Source::Batch { .. }) => "batch",
        Node::Source(Source::Constant { .. }) => "constant",
        Node::Source(Source::Step) => "step",
        Node::Source(Source::Seed) => "seed",
        Node::Map(_) => "map",
        Node::Fold(_) => "fold",
    }
}

fn dtype(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::I32 => "i32",
        Dtype::U32 => "u32",
        Dtype::U8 => "u8",
        Dtype::I8 => "i8",
        Dtype::U16 => "u16",
    }
}

fn shape(dims: &[Dim]) -> String {
    dims.iter()
        .map(|d| d.0.to_string())
        .collect::<Vec<_>>()
        .join("x")
}
