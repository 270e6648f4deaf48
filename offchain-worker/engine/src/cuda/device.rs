//! What the engine asks of a machine. A GPU gives it through the driver; in the tests the processor
//! gives it, which runs the very same source.

use super::codegen::{Launch, Machine, Source};
use crate::Error;

/// Memory of a machine, freed when it is dropped.
pub trait Memory: Send {
    /// The address of its first byte, a multiple of 256.
    fn address(&self) -> u64;
}

/// A machine that runs kernels, one after another in the order of the calls.
pub trait Device: Send {
    /// Memory of this machine.
    type Memory: Memory;
    /// Compiled kernels, kept as long as they are to be launched.
    type Module: Send;
    /// A sequence of launches that is started as one.
    type Graph: Send;

    /// Short name for logs: `cuda:0 NVIDIA H100`.
    fn name(&self) -> String;

    /// What decides how work is divided.
    fn machine(&self) -> Machine;

    /// Memory of at least `bytes` bytes, all zeros.
    ///
    /// # Errors
    /// When there is not enough of it.
    fn allocate(&self, bytes: u64) -> Result<Self::Memory, Error>;

    /// Compiles a source and makes it ready.
    ///
    /// # Errors
    /// When the compiler is not there, or refuses the source.
    fn compile(&self, source: &Source) -> Result<Self::Module, Error>;

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// When any of it failed.
    fn synchronize(&self) -> Result<(), Error>;

    /// Writes bytes at an address, after what was asked before.
    ///
    /// # Errors
    /// When the machine fails.
    ///
    /// # Safety
    /// The bytes at the address lie inside one [`Device::Memory`] that is alive.
    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Reads bytes at an address, once all that was asked before is done.
    ///
    /// # Errors
    /// When the machine fails, or has failed at what was asked before.
    ///
    /// # Safety
    /// As for [`Device::upload`].
    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error>;

    /// Copies bytes from one address to another.
    ///
    /// # Errors
    /// When the machine fails.
    ///
    /// # Safety
    /// As for [`Device::upload`], at both addresses; the two ranges do not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), Error>;

    /// Starts a kernel of `module` with these pointers as its arguments.
    ///
    /// # Errors
    /// When the machine fails.
    ///
    /// # Safety
    /// `launch` belongs to the source of `module`, and each pointer to the value that it names.
    unsafe fn launch(
        &self,
        module: &Self::Module,
        launch: &Launch,
        pointers: &[u64],
    ) -> Result<(), Error>;

    /// Records the copies and launches that `run` asks for, instead of doing them; `None` where the
    /// machine has no such thing, and then `run` was not called.
    ///
    /// # Errors
    /// When `run` fails or the machine does.
    fn record(
        &self,
        run: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Self::Graph>, Error>;

    /// Does what was recorded.
    ///
    /// # Errors
    /// When the machine fails.
    ///
    /// # Safety
    /// The memory and module that the recorded calls named are alive.
    unsafe fn replay(&self, graph: &Self::Graph) -> Result<(), Error>;
}
