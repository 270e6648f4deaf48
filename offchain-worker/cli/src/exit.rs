//! Exit codes, which scripts may rely on.

use lockstep_agent::{chain, keys, local, roles, run, store};
use std::process::ExitCode;

/// Anything that has no code of its own.
const FAILURE: u8 = 1;
/// A contract refused a message.
const REFUSED: u8 = 3;
/// An artifact is missing, damaged, or the store failed.
const ARTIFACT: u8 = 4;
/// The chain cannot be reached, is another, or its files cannot be used.
const CHAIN: u8 = 5;
/// A key is missing or unusable.
const KEY: u8 = 6;
/// A check had a bad result: an accuracy below its floor, a commitment found wrong.
const CHECK: u8 = 7;

/// What the codes mean, for the help text.
pub const HELP: &str = "Exit codes:
  0  done
  1  any other failure
  2  the command line is wrong
  3  a contract refused a message
  4  an artifact is missing or damaged, or the store failed
  5  the chain cannot be reached or is the wrong one
  6  a key is missing or unusable
  7  a check had a bad result";

/// A chain that is not the one the contracts are on.
#[derive(Debug)]
pub struct WrongChain(pub String);

impl std::fmt::Display for WrongChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongChain {}

/// A check that had a bad result.
#[derive(Debug)]
pub struct BadResult(pub String);

impl std::fmt::Display for BadResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadResult {}

/// Prints an error with its causes and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(one).unwrap_or(FAILURE)
}

fn one(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if error.is::<BadResult>() {
        return Some(CHECK);
    }
    if error.is::<WrongChain>() {
        return Some(CHAIN);
    }
    if error.is::<keys::Error>() {
        return Some(KEY);
    }
    if error.is::<store::Error>() || error.is::<local::Error>() {
        return Some(ARTIFACT);
    }
    if error.is::<chain::Error>() {
        return Some(CHAIN);
    }
    if let Some(error) = error.downcast_ref::<chain::contracts::Error>() {
        return Some(contracts(error));
    }
    if let Some(error) = error.downcast_ref::<roles::Error>() {
        return match error {
            roles::Error::Contracts(error) => Some(contracts(error)),
            roles::Error::Store(_) | roles::Error::Local(_) => Some(ARTIFACT),
            roles::Error::Run(error) => Some(run(error)),
        };
    }
    error.downcast_ref::<run::Error>().map(run)
}

fn run(error: &run::Error) -> u8 {
    match error {
        run::Error::Store(_) | run::Error::Local(_) => ARTIFACT,
        _ => FAILURE,
    }
}

fn contracts(error: &chain::contracts::Error) -> u8 {
    match error {
        chain::contracts::Error::Refused { .. } => REFUSED,
        _ => CHAIN,
    }
}
