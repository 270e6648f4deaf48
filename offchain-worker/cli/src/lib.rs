//! The command `lockstep`.
#![warn(missing_docs)]

mod args;
pub mod bench;
mod commands;
mod context;
mod demo;
mod exit;
mod money;
mod recipe;
mod screen;
mod settings;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    screen::init_logging(args.verbose, args.json);
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
