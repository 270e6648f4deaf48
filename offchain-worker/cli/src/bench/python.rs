//! A Python that may have PyTorch.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to get PyTorch.
pub const ADVICE: &str = "let a Python have it, python3 -m pip install torch, and name that \
                          Python with --python or LOCKSTEP_PYTHON unless it is python3";

/// A Python that runs on this machine.
#[derive(Clone, Debug)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// Where it keeps what it has installed.
    pub prefix: PathBuf,
    /// Its version of PyTorch, when it has one.
    pub torch: Option<String>,
}

/// Prints what [`Python`] says of itself. The version comes from the package's metadata, since
/// importing PyTorch takes seconds.
const ASK: &str = "
import json, sys
from importlib import metadata
try:
    torch = metadata.version('torch')
except metadata.PackageNotFoundError:
    torch = None
print(json.dumps({'prefix': sys.prefix, 'torch': torch}))
";

#[derive(Deserialize)]
struct Answer {
    prefix: PathBuf,
    torch: Option<String>,
}

impl Python {
    /// The Python that was named, or python3; `None` when it does not run.
    pub fn find(named: Option<&Path>) -> Option<Python> {
        let program = named.unwrap_or(Path::new("python3"));
        let output = Command::new(program).args(["-c", ASK]).output().ok()?;
        let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
        Some(Python {
            program: program.to_owned(),
            prefix: answer.prefix,
            torch: answer.torch,
        })
    }
}
