//! A task on this machine: its verified files ([`workload`]), its training ([`training`]), the
//! files a dispute asks for ([`files`]), the metric its goal asks for ([`goal`]), the trial of
//! a device ([`trial`]), and deliberate errors for demonstrations ([`fault`]).

pub mod fault;
pub mod files;
pub mod goal;
pub mod training;
pub mod trial;
pub mod workload;

use crate::store;
use lockstep_engine::cpu::Options;
use lockstep_engine::device::Choice;
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
    /// A fast engine on the device that the choice comes to. The options are those of the CPU
    /// engine, and change nothing elsewhere.
    Fast(Choice, Options),
    /// The protocol's evaluator: slow, the oracle.
    Reference,
}

impl Default for Device {
    fn default() -> Device {
        Device::Fast(Choice::default(), Options::default())
    }
}

impl Device {
    /// The same, with an automatic choice settled for this machine, and why in words for the log.
    pub fn settled(self) -> (Device, String) {
        match self {
            Device::Fast(choice, options) => {
                let picked = choice.pick();
                let why = format!("programs run on {}: {}", picked.device, picked.why);
                (Device::Fast(picked.device, options), why)
            }
            Device::Reference => (self, "programs run on the reference evaluator".into()),
        }
    }

    /// An engine of this kind for a job.
    ///
    /// # Errors
    /// When the program is not valid, an input is missing, or the device cannot be used.
    pub fn engine(self, job: Job) -> Result<Box<dyn Engine>, Error> {
        Ok(match self {
            Device::Fast(choice, options) => choice.engine(job, options)?,
            Device::Reference => Box::new(Reference::new(job)?),
        })
    }
}
