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
    /// What programs run on here and why, in words for a person.
    pub fn why(self) -> String {
        match self {
            Device::Fast(choice, _) => {
                let picked = choice.pick();
                format!("programs run on {}: {}", picked.device, picked.why)
            }
            Device::Reference => "programs run on the reference evaluator".into(),
        }
    }

    /// An engine of this kind for a job.
    ///
    /// # Errors
    /// When the program is not valid, an input is missing, or the device cannot be used.
    pub fn engine(self, job: Job) -> Result<Box<dyn Engine>, Error> {
        Ok(match self {
            Device::Fast(choice, options) => fast(choice, options, job)?.0,
            Device::Reference => Box::new(Reference::new(job)?),
        })
    }
}

/// A fast engine for a job, and whether it runs on a GPU. A GPU that was not asked for by name and
/// cannot run this job, for want of memory perhaps, leaves it to the processor.
fn fast(
    choice: Choice,
    options: Options,
    job: Job,
) -> Result<(Box<dyn Engine>, bool), lockstep_engine::Error> {
    let picked = choice.pick().device;
    let on_gpu = matches!(picked, Choice::Cuda(_));
    match picked.engine(job.clone(), options) {
        Err(error) if on_gpu && choice == Choice::Automatic => {
            tracing::warn!(%error, "the GPU cannot run this program: the processor does");
            Ok((Choice::Cpu.engine(job, options)?, false))
        }
        engine => Ok((engine?, on_gpu)),
    }
}
