use crate::args::{BenchArgs, BenchCommand};
use crate::bench::machine::Machine;
use crate::bench::python::Python;
use crate::bench::train::models::ModelName;
use crate::bench::{self, gemm, hash, train, Patience, Watch};
use crate::context::Context;
use crate::exit::BadResult;
use crate::screen::{print_json, Progress};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::time::Duration;

/// `lockstep bench`.
pub fn run(context: &Context, args: BenchArgs) -> Result<()> {
    let patience = Patience::default();
    let python = || Python::find(args.python.as_deref());
    let Some(command) = args.command else {
        return everything(context, &args.threads, python().as_ref());
    };
    match command {
        BenchCommand::Gemm { shapes, threads } => {
            let report = measured(context, |watch| {
                gemm::run(&shapes, &threads, python().as_ref(), patience, watch)
            })?;
            print(context, &report)?;
            right(&report)
        }
        BenchCommand::Dispute { recipe, seed } => print(
            context,
            &bench::dispute::run(&recipe, seed, context.settings.device)?,
        ),
        BenchCommand::Hash { mebibytes } => {
            let sizes: Vec<usize> = mebibytes.iter().map(|m| m << 20).collect();
            let hash = |watch: Watch| Ok(hash::run(&sizes, patience, watch)?);
            print(context, &measured(context, hash)?)
        }
        BenchCommand::Int8 => {
            let int8 = |watch: Watch| bench::int8::run(patience, watch);
            print(context, &measured(context, int8)?)
        }
        BenchCommand::Load { recipe, loads } => {
            let (chain, device) = (context.chain()?, context.settings.device);
            let report = bench::load::run(&chain, &recipe, &loads, device, &mut |row| {
                tracing::info!(tasks = row.tasks, seconds = row.settled_seconds, "settled");
            })?;
            print(context, &report)
        }
        BenchCommand::Step { recipe, threads } => {
            print(context, &bench::step::run(&recipe, &threads, patience)?)
        }
        BenchCommand::Train(plan) => {
            let train = |watch: Watch| train::run(&plan.into(), python().as_ref(), watch);
            print(context, &measured(context, train)?)
        }
        BenchCommand::Nodes {
            model,
            threads,
            seconds,
        } => print(context, &bench::nodes::run(model, threads, seconds)?),
        BenchCommand::Alone {
            model,
            threads,
            seconds,
        } => print_json(&train::alone::run(model, threads, seconds)?),
    }
}

/// The machine's whole table, of which each part is printed as soon as it is there.
#[derive(Serialize)]
struct Everything {
    machine: Machine,
    gemm: gemm::Report,
    hash: hash::Report,
    train: train::Report,
}

fn everything(context: &Context, threads: &[usize], python: Option<&Python>) -> Result<()> {
    let patience = Patience {
        turns: 3,
        time: Duration::from_millis(300),
    };
    let plan = train::Plan {
        models: ModelName::value_variants().to_vec(),
        threads: threads.to_vec(),
        seconds: 2.0,
        rounds: 1,
    };
    let machine = Machine::this();
    say(context, &machine);
    let gemm = part(context, |watch| {
        gemm::run(&gemm::shapes(), threads, python, patience, watch)
    })?;
    let hash = part(context, |watch| {
        Ok(hash::run(&[1 << 20, 64 << 20], patience, watch)?)
    })?;
    let train = part(context, |watch| train::run(&plan, python, watch))?;
    let report = Everything {
        machine,
        gemm,
        hash,
        train,
    };
    if context.json {
        print_json(&report)?;
    }
    right(&report.gemm)
}

/// Measures a part of the whole table, and prints it for a person.
fn part<T: Display>(context: &Context, measure: impl FnOnce(Watch) -> Result<T>) -> Result<T> {
    let report = measured(context, measure)?;
    say(context, &report);
    Ok(report)
}

/// Measures, and shows meanwhile how far it is.
fn measured<T>(context: &Context, measure: impl FnOnce(Watch) -> Result<T>) -> Result<T> {
    let mut progress = Progress::over("rows", "", context.json);
    measure(&mut |done, total, what| progress.show(done, total, what))
}

fn say(context: &Context, part: &impl Display) {
    if !context.json {
        println!("{part}");
    }
}

/// Refuses products with wrong bits, after they were shown.
fn right(report: &gemm::Report) -> Result<()> {
    match report.exact() {
        true => Ok(()),
        false => Err(BadResult("a product has other bits than the sequential chain".into()).into()),
    }
}

fn print<T: Serialize + Display>(context: &Context, report: &T) -> Result<()> {
    if context.json {
        return print_json(report);
    }
    print!("{report}");
    Ok(())
}
