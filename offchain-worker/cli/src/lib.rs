//! The command `lockstep`.
#![warn(missing_docs)]

mod args;
pub mod bench;
mod commands;
mod context;
mod demo;
mod deployment;
mod exit;
mod forecast;
mod goal;
mod import;
mod money;
mod recipe;
mod recovery;
mod report;
mod sampling;
mod screen;
mod service;
mod settings;
mod stop;
mod time;
mod wording;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    end_with_the_pipe();
    let args = args::Args::parse();
    screen::init_logging(args.verbose, args.json);
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

/// Lets `lockstep ... | head` end quietly, as other commands do, instead of failing to print.
#[cfg(unix)]
fn end_with_the_pipe() {
    // SAFETY: no other thread runs yet, and the default action is no function of this process.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

#[cfg(not(unix))]
fn end_with_the_pipe() {}
