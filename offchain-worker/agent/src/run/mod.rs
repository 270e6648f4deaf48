//! A task on this machine: its verified files ([`workload`]), its training ([`training`]), the
//! files a dispute asks for ([`files`]), the metric its goal asks for ([`goal`]), and deliberate errors
//! for demonstrations ([`fault`]).

pub mod fault;
pub mod files;
pub mod goal;
pub mod training;
pub mod workload;

use crate::store;
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::reference::Reference;
use lockstep_engine::{Engine, Job};

/// Why a task cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program or the specification is refused.
    #[error("[R01] the task is refused: {0}")]
    Invalid(String),
    /// A file is absent, damaged or of another length.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The engine cannot run it.
    #[error("[R02] {0}")]
    Engine(#[from] lockstep_engine::Error),
    /// A dispute asks for a file that this run does not have.
    #[error("[R03] no such file in this run: {0}")]
    NoFile(String),
    /// The local database failed.
    #[error(transparent)]
    Local(#[from] crate::local::Error),
    /// Asked to stop; everything done so far is kept.
    #[error("[R04] interrupted")]
    Interrupted,
    /// A planted error cannot be planted there.
    #[error("[R05] {0}")]
    Fault(String),
}

impl Error {
    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Store(error) => error.is_transient(),
            Error::Interrupted => true,
            _ => false,
        }
    }
}

/// Which engine runs programs.
#[derive(Clone, Copy, Debug)]
pub enum Device {
    /// Threads and SIMD.
    Cpu(Options),
    /// The protocol's evaluator: slow, the oracle.
    Reference,
}

impl Default for Device {
    fn default() -> Device {
        Device::Cpu(Options::default())
    }
}

impl Device {
    /// An engine of this kind for a job.
    ///
    /// # Errors
    /// When the program is not valid or an input is missing.
    pub fn engine(self, job: Job) -> Result<Box<dyn Engine>, Error> {
        Ok(match self {
            Device::Cpu(options) => Box::new(Cpu::new(job, options)?),
            Device::Reference => Box::new(Reference::new(job)?),
        })
    }
}
