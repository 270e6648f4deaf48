//! One module for each command.

mod bench;
mod chain;
mod inspect;
mod keys;
mod provenance;
mod report;
pub mod result;
mod roles;
mod sample;
mod stake;
mod task;

use crate::args::{Args, Command, ConfigCommand, DeployArgs};
use crate::context::Context;
use crate::demo;
use crate::recovery;
use crate::screen::{print_json, short};
use crate::settings::{self, Settings};
use anyhow::Result;
use clap::CommandFactory;
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::STEPS;
use lockstep_agent::keys::address;
use lockstep_engine::attempt;

/// Carries out a command line.
///
/// # Errors
/// Whatever keeps it from being done.
pub fn run(args: Args) -> Result<()> {
    let settings = Settings::load(&args)?;
    let device = settings.device;
    let context = Context {
        settings,
        json: args.json,
    };
    attempt(|| carry_out(args.command, context))
        .unwrap_or_else(|failed| recovery::begin_again(device, failed))
}

fn carry_out(command: Command, context: Context) -> Result<()> {
    match command {
        Command::Demo(args) => {
            let node = args.node.then(|| context.chain()).transpose()?;
            demo::run(&args, context.json, context.settings.device, node)
        }
        Command::Keys(command) => keys::run(&context, command),
        Command::Deploy(args) => deploy(&context, &args),
        Command::Stake(command) => stake::run(&context, command),
        Command::Task(command) => task::run(&context, command),
        Command::Work(args) => roles::work(&context, &args),
        Command::Audit(args) => roles::audit(&context, &args),
        Command::Withdraw => roles::withdraw(&context),
        Command::Result(command) => result::run(&context, command),
        Command::Sample(args) => sample::run(&context, &args),
        Command::Provenance { task } => provenance::run(&context, task),
        Command::Report(args) => report::run(&context, &args),
        Command::Inspect(command) => inspect::run(&context, command),
        Command::Chain(command) => chain::run(&context, command),
        Command::Bench(command) => bench::run(&context, command),
        Command::Config(ConfigCommand::Init) => {
            let path = settings::init(&context.settings.home)?;
            println!("wrote {}", path.display());
            Ok(())
        }
        Command::Config(ConfigCommand::Show) => {
            print!("{}", context.settings.to_toml()?);
            Ok(())
        }
        Command::Completions { shell } => {
            let mut command = Args::command();
            clap_complete::generate(shell, &mut command, "lockstep", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn deploy(context: &Context, args: &DeployArgs) -> Result<()> {
    if args.verify {
        let contracts = context.contracts()?;
        if context.json {
            return print_json(contracts.addresses());
        }
        println!("the deployment is whole: code and wiring are those that this worker knows");
        return Ok(());
    }
    let bundles = Bundles::shipped()?;
    let (deployment, path) = context.deploy(&bundles, args, &mut |step| {
        if context.json {
            return;
        }
        let number = format!("{} of {STEPS}", step.step);
        match step.receipt {
            Some(receipt) => println!("{number}  {:<14}  block {}", step.what, receipt.at.block),
            None => println!("{number}  {:<14}  done before", step.what),
        }
    })?;
    if context.json {
        return print_json(&deployment);
    }
    let at = &deployment.contracts;
    for (name, account, bundle) in [
        ("stake", at.stake, &bundles.stake),
        ("escrow", at.escrow, &bundles.escrow),
        ("dispute", at.dispute, &bundles.dispute),
    ] {
        let code = short(&bundle.code_hash);
        println!("{name:<8} {}  code {code}", address(&account));
    }
    println!("remembered in {}", path.display());
    Ok(())
}
