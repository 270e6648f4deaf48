//! Engines: run a program step by step, bit for bit as `lockstep_protocol` defines it.
#![warn(missing_docs)]

use lockstep_protocol::{eval::Inputs, program::Program, tree, Hash};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Arc;

mod batches;
pub mod cpu;
pub mod cuda;
pub mod device;
pub mod reference;

/// Why an engine cannot run a program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not valid.
    #[error("the program is not valid: {0}")]
    Invalid(String),
    /// A dataset or constant is absent or has another length.
    #[error("{0}")]
    Missing(#[from] lockstep_protocol::eval::Missing),
    /// The state has another number of tensors than the program has slots.
    #[error("the program has {want} state slots and was given {got} tensors")]
    Slots {
        /// Slots of the program.
        want: usize,
        /// Tensors that were given.
        got: usize,
    },
    /// A state tensor has another length than its slot.
    #[error("state slot {slot} needs {want} bytes and was given {got}")]
    State {
        /// The slot.
        slot: usize,
        /// Bytes the program declares.
        want: u64,
        /// Bytes that were given.
        got: u64,
    },
    /// The device cannot be used as asked.
    #[error("{0}")]
    Device(String),
}

/// A device failed while it ran.
///
/// Methods of [`Engine`] unwind with it, quietly: nothing that the engine holds can be believed any
/// more, and what ran on it ends at whoever can begin again elsewhere. [`attempt`] makes it an error.
#[derive(Debug, thiserror::Error)]
#[error("the device failed while it ran: {0}")]
pub struct Failed(pub String);

/// Does what runs engines.
///
/// # Errors
/// When a device failed while it ran.
///
/// # Panics
/// When `work` does.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, Failed> {
    // What `work` had in hand is dropped, and not seen again.
    let done = catch_unwind(AssertUnwindSafe(work));
    done.map_err(|panic| match panic.downcast() {
        Ok(failed) => *failed,
        Err(other) => resume_unwind(other),
    })
}

/// Runs one program on one device. The engine holds the state between steps; it is all zeros
/// until [`Engine::load`].
pub trait Engine: Send {
    /// Short name of the device and code path, for logs: `reference`, `cpu/avx512 x2`.
    fn name(&self) -> String;

    /// Replaces the state: the bytes of every slot, in slot order.
    ///
    /// # Errors
    /// When the number of slots or a length differs from the program's.
    fn load(&mut self, state: &[Vec<u8>]) -> Result<(), Error>;

    /// The state's bytes in slot order.
    fn state(&self) -> Vec<&[u8]>;

    /// The BLAKE3 hash of every slot, in slot order: the entries of the state file.
    fn hashes(&self) -> Vec<Hash> {
        self.state().into_iter().map(tree::hash).collect()
    }

    /// Runs step number `step` (counted over the whole task) and advances the state. The work may
    /// go on after the call, see [`Engine::wait`].
    fn step(&mut self, step: u32);

    /// Waits until every step is done. Whatever gives bytes or hashes waits by itself.
    fn wait(&self) {}

    /// Runs step number `step` and gives each node's bytes to `sink` in node order as soon as they
    /// exist, keeping only what later nodes read. The state stays as it was before the step.
    fn trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8]));

    /// The bytes of one node in step number `step`. The state stays.
    fn tensor(&mut self, step: u32, node: u32) -> Vec<u8>;

    /// The fold trace of one element of a fold node in step number `step`: the stored accumulator
    /// after each r. The state stays.
    fn fold(&mut self, step: u32, node: u32, element: u64) -> Vec<u8>;
}

/// What an engine runs.
#[derive(Clone)]
pub struct Job {
    /// A valid program.
    pub program: Arc<Program>,
    /// Its datasets, constants and seed.
    pub inputs: Inputs,
}

/// Refuses a job that an engine could not run to the end.
fn checked(job: &Job) -> Result<(), Error> {
    lockstep_protocol::validate::program(&job.program)
        .map_err(|refusal| Error::Invalid(refusal.to_string()))?;
    Ok(job.inputs.check(&job.program)?)
}

fn check_state(program: &Program, state: &[Vec<u8>]) -> Result<(), Error> {
    let want = program.slots as usize;
    if state.len() != want {
        return Err(Error::Slots {
            want,
            got: state.len(),
        });
    }
    for (slot, (node, bytes)) in program.nodes.iter().zip(state).enumerate() {
        let (want, got) = (node.bytes(), bytes.len() as u64);
        if want != got {
            return Err(Error::State { slot, want, got });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_failed_is_an_error_and_any_other_panic_goes_on() {
        assert_eq!(attempt(|| 7).expect("nothing failed"), 7);
        let failed = attempt(|| resume_unwind(Box::new(Failed("no current".into()))));
        let error = failed.map(|never: u8| never).expect_err("it failed");
        assert_eq!(
            error.to_string(),
            "the device failed while it ran: no current"
        );
        let other = catch_unwind(|| attempt(|| resume_unwind(Box::new("a bug"))).map(|(): ()| ()));
        let panic = other.map(|_| ()).expect_err("it went on");
        assert_eq!(panic.downcast_ref(), Some(&"a bug"));
    }
}
