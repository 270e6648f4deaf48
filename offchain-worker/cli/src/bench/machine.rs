//! What a benchmark runs on.

use lockstep_engine::cpu::Simd;
use serde::Serialize;
use std::fmt;

/// A machine, as far as its figures depend on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name; absent where the system does not tell.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// The widest instruction set that the CPU engine uses.
    pub simd: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Machine {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("model name"));
        let name = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        Machine {
            processor: name,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            simd: Simd::best().to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processor = self.processor.as_deref().unwrap_or("unknown processor");
        let Machine { cores, simd, .. } = self;
        let s = if *cores == 1 { "" } else { "s" };
        writeln!(f, "{processor}, {cores} core{s}, {simd}")
    }
}
