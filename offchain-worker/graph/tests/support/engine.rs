//! Whole trainings on the CPU engine.

use lockstep_engine::{cpu, Engine, Job};
use lockstep_graph::{recipe::Dataset, Built};
use lockstep_protocol::eval::{Blob, Inputs};
use std::sync::Arc;

/// The engine of a program on records.
pub fn start(built: &Built, data: &Dataset, seed: u64) -> cpu::Cpu {
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    let constants = built.constants.iter();
    let job = Job {
        program: Arc::new(built.program.clone()),
        inputs: Inputs {
            seed,
            datasets: vec![blob(&data.bytes)],
            constants: constants
                .map(|(hash, bytes)| (*hash, blob(bytes)))
                .collect(),
        },
    };
    cpu::Cpu::new(job, cpu::Options::default()).unwrap()
}

/// The state after `steps` steps from `state`.
pub fn run(engine: &mut impl Engine, state: &[Vec<u8>], steps: u32) -> Vec<Vec<u8>> {
    engine.load(state).unwrap();
    for step in 0..steps {
        engine.step(step);
    }
    engine.state().iter().map(|bytes| bytes.to_vec()).collect()
}

/// An f32 of a state by its name.
pub fn float(built: &Built, state: &[Vec<u8>], name: &str) -> f64 {
    super::floats(&state[built.slot(name).unwrap()])[0]
}
