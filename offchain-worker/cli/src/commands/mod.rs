//! One module for each command.

mod bench;
mod chain;
mod inspect;
mod keys;
pub mod result;
mod roles;
mod stake;
mod task;

use crate::args::{Args, Command, ConfigCommand, DeployArgs};
use crate::context::Context;
use crate::demo;
use crate::screen::{print_json, short};
use crate::settings::{self, Settings};
use anyhow::Result;
use clap::CommandFactory;
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::keys::address;
use lockstep_interface::Bounds;

/// Carries out a command line.
///
/// # Errors
/// Whatever keeps it from being done.
pub fn run(args: Args) -> Result<()> {
    let settings = Settings::load(&args)?;
    let context = Context {
        settings,
        json: args.json,
    };
    match args.command {
        Command::Demo(args) => demo::run(&args, context.json, context.settings.device),
        Command::Keys(command) => keys::run(&context, command),
        Command::Deploy(args) => deploy(&context, &args),
        Command::Stake(command) => stake::run(&context, command),
        Command::Task(command) => task::run(&context, command),
        Command::Work(args) => roles::work(&context, &args),
        Command::Audit(args) => roles::audit(&context, &args),
        Command::Withdraw => roles::withdraw(&context),
        Command::Result(command) => result::run(&context, command),
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
    let bundles = Bundles::shipped()?;
    let contracts = Contracts::deploy(
        context.embedded()?,
        &context.signer()?,
        &bundles,
        args.unbonding_hours * 3_600_000,
        &Bounds::default(),
        args.salt.as_bytes(),
        &mut |step| tracing::info!(step = step.what, block = step.receipt.at.block, "deployed"),
    )?;
    let path = context.remember_deployment(contracts.addresses())?;
    if context.json {
        return print_json(contracts.addresses());
    }
    let at = contracts.addresses();
    println!(
        "stake    {}  code {}",
        address(&at.stake),
        short(&bundles.stake.code_hash)
    );
    println!(
        "escrow   {}  code {}",
        address(&at.escrow),
        short(&bundles.escrow.code_hash)
    );
    println!(
        "dispute  {}  code {}",
        address(&at.dispute),
        short(&bundles.dispute.code_hash)
    );
    println!("remembered in {}", path.display());
    Ok(())
}
