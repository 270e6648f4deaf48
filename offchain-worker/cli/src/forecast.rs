//! What training a task takes on this machine.

use crate::bench::{step, Patience};
use anyhow::Result;
use lockstep_agent::roles::solver::Effort;
use lockstep_agent::run::workload::Workload;
use lockstep_agent::run::Device;
use std::time::{Duration, Instant};

/// Scalar operations of a step that are certainly done in a few seconds.
const TRIED: u64 = 20_000_000_000;
/// The same on the protocol's evaluator.
const TRIED_BY_REFERENCE: u64 = 20_000_000;
/// How long a first step may take for more to be tried out.
const SHORT: Duration = Duration::from_millis(300);

/// How long a training takes here.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Device, code path and threads that steps were tried out on; absent when a step is so long
    /// that its time is reckoned from its operations.
    pub tried_on: Option<String>,
    /// Seconds of a step.
    pub step: f64,
    /// Seconds to hash a checkpoint on one thread.
    pub commit: f64,
    /// Seconds of all steps and checkpoints.
    pub total: f64,
}

impl Forecast {
    /// Tries out some steps, for about a second. Where one may take much longer than that it
    /// assumes that the machine does `speed` scalar operations a second.
    ///
    /// # Errors
    /// When the engine cannot be started.
    pub fn new(workload: &Workload, device: Device, speed: u64) -> Result<Forecast> {
        let patience = Patience {
            turns: 2,
            time: Duration::from_millis(200),
        };
        let spec = &workload.spec;
        let effort = Effort::of(&workload.program);
        let tried = match device {
            Device::Fast(..) => TRIED,
            Device::Reference => TRIED_BY_REFERENCE,
        };
        let (tried_on, step) = if effort.operations <= tried {
            let mut engine = device.engine(workload.job())?;
            engine.load(&workload.genesis)?;
            let began = Instant::now();
            engine.step(0);
            engine.wait();
            let first = began.elapsed();
            let step = match first > SHORT {
                true => first.as_secs_f64(),
                false => step::step(&mut *engine, spec.steps, patience),
            };
            (Some(engine.name()), step)
        } else {
            (None, effort.operations as f64 / speed.max(1) as f64)
        };
        let state: Vec<&[u8]> = workload.genesis.iter().map(Vec::as_slice).collect();
        let commit = step::commit(&state, patience);
        Ok(Forecast {
            tried_on,
            step,
            commit,
            total: step * spec.steps as f64 + commit * spec.segments() as f64,
        })
    }
}
