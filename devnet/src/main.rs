//! A Substrate chain of one node with `pallet-contracts`, for tests and demonstrations.
//!
//! The runtime is `contracts-node-runtime`, that of the standard ink! test chain. Around it this
//! node has what such a chain needs and nothing else: [`author`] makes the blocks and moves
//! finality, [`clock`] gives them their time, [`rpc`] serves them, and there is no network.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{signal, SignalKind};

use crate::args::Args;

mod args;
mod author;
mod clock;
mod config;
mod genesis;
mod node;
mod reorg;
mod rpc;

/// What is logged when nothing else is asked for.
const LOG: &str = "warn,lockstep_devnet=info,sc_rpc_server=info";

/// How long a task may take to notice that the node stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstep-devnet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the node until it is told to stop, or until a part of it fails that it cannot do without.
fn run(args: Args) -> Result<()> {
    let mut filter = String::from(LOG);
    for more in &args.log {
        filter.push(',');
        filter.push_str(more);
    }
    sc_tracing::logging::LoggerBuilder::new(filter.as_str())
        .init()
        .with_context(|| format!("the log filter {filter} is not understood"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;

    let stopped = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tasks = node::start(&args)?;
        tokio::select! {
            _ = interrupt.recv() => log::info!("interrupted: stopping"),
            _ = terminate.recv() => log::info!("terminated: stopping"),
            failed = tasks.future() => failed.context("the node stops because a part of it failed")?,
        }
        anyhow::Ok(())
    });
    // The database is closed by the last task that holds it.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    stopped
}
