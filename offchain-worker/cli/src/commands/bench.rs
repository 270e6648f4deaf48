use crate::args::BenchCommand;
use crate::bench;
use crate::context::Context;
use crate::screen::print_json;
use anyhow::Result;
use serde::Serialize;
use std::fmt::Display;

/// `lockstep bench`.
pub fn run(context: &Context, command: BenchCommand) -> Result<()> {
    let patience = bench::Patience::default();
    match command {
        BenchCommand::Gemm { sizes, threads } => {
            print(context, &bench::gemm::run(&sizes, &threads, patience)?)
        }
        BenchCommand::Dispute { recipe, seed } => print(
            context,
            &bench::dispute::run(&recipe, seed, context.settings.device)?,
        ),
        BenchCommand::Hash { mebibytes } => {
            let sizes: Vec<usize> = mebibytes.iter().map(|m| m << 20).collect();
            print(context, &bench::hash::run(&sizes, patience)?)
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
    }
}

fn print<T: Serialize + Display>(context: &Context, report: &T) -> Result<()> {
    if context.json {
        return print_json(report);
    }
    print!("{report}");
    Ok(())
}
