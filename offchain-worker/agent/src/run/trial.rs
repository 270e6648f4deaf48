//! Trying a device on a task before its results are believed: stake depends on every bit.

use super::workload::Workload;
use super::{fast, Device, Error};
use lockstep_engine::device::Choice;
use lockstep_engine::Engine;

/// An engine for a task on a device. A GPU first runs the task's first step beside the processor;
/// when the two differ in any bit, which is an error of Lockstep, of the driver or of the chip, the log
/// says so and the processor is used.
///
/// # Errors
/// When the job cannot be run, or the device that was asked for cannot be used.
pub fn engine(device: Device, workload: &Workload) -> Result<Box<dyn Engine>, Error> {
    let Device::Fast(choice, options) = device else {
        return device.engine(workload.job());
    };
    let (mut engine, on_gpu) = fast(choice, options, workload.job())?;
    if !on_gpu {
        return Ok(engine);
    }
    let mut processor = Choice::Cpu.engine(workload.job(), options)?;
    if let Some(slot) = difference(&mut *engine, &mut *processor, &workload.genesis)? {
        tracing::error!(
            device = engine.name(),
            slot,
            "the device computes other bits than the processor, in the state after the first step: \
             it is not used; please report this, with `scripts/gpu-check`"
        );
        return Ok(processor);
    }
    Ok(engine)
}

/// The first slot of the state after step 0 from `genesis` in which two engines of a job differ.
///
/// # Errors
/// When an engine refuses the state.
pub fn difference(
    a: &mut dyn Engine,
    b: &mut dyn Engine,
    genesis: &[Vec<u8>],
) -> Result<Option<usize>, Error> {
    let after = |engine: &mut dyn Engine| {
        engine.load(genesis)?;
        engine.step(0);
        Ok::<_, Error>(engine.hashes())
    };
    let (a, b) = (after(a)?, after(b)?);
    Ok(a.iter().zip(&b).position(|(a, b)| a != b))
}
