//! The digits examples learn to read.

use lockstep_engine::{cpu, Engine, Job};
use lockstep_graph::{
    recipe::{Dataset, Recipe, Task},
    training::metric,
    Built,
};
use lockstep_protocol::eval::{Blob, Inputs};
use std::{path::Path, sync::Arc};

fn task(name: &str) -> Task {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits"
    ));
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    Recipe::from_toml(&text).unwrap().build(folder).unwrap()
}

fn engine(built: &Built, data: &Dataset, seed: u64) -> cpu::Cpu {
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    let constants = built
        .constants
        .iter()
        .map(|(hash, bytes)| (*hash, blob(bytes)));
    let job = Job {
        program: Arc::new(built.program.clone()),
        inputs: Inputs {
            seed,
            datasets: vec![blob(&data.bytes)],
            constants: constants.collect(),
        },
    };
    cpu::Cpu::new(job, cpu::Options::default()).unwrap()
}

fn run(engine: &mut impl Engine, state: &[Vec<u8>], steps: u32) -> Vec<Vec<u8>> {
    engine.load(state).unwrap();
    for step in 0..steps {
        engine.step(step);
    }
    engine.state().iter().map(|bytes| bytes.to_vec()).collect()
}

fn word(built: &Built, state: &[Vec<u8>], name: &str) -> u32 {
    let slot = built.slot(name).unwrap();
    u32::from_le_bytes(state[slot][..].try_into().unwrap())
}

/// The final training loss and how many of the test records are read right.
fn outcome(task: &Task) -> (f32, u32) {
    let mut training = engine(&task.built, &task.train, task.seed);
    let trained = run(&mut training, &task.built.genesis(), task.steps);
    let loss = f32::from_bits(word(&task.built, &trained, metric::LOSS));
    let pass = task.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&task.built.slots, &trained).unwrap();
    let judged = run(
        &mut engine(&pass.built, &pass.test, task.seed),
        &state,
        pass.steps,
    );
    assert_eq!(word(&pass.built, &judged, metric::SEEN), 360);
    let correct = word(&pass.built, &judged, metric::CORRECT);
    (loss, correct)
}

#[test]
fn the_perceptron_reads_at_least_95_of_100_digits_that_it_has_never_seen() {
    let (loss, correct) = outcome(&task("mlp.toml"));
    assert!(
        loss < 0.05 && correct >= 342,
        "loss {loss}, {correct} of 360"
    );
}

#[test]
fn the_convolutional_network_reads_at_least_97_of_100_digits_that_it_has_never_seen() {
    let (loss, correct) = outcome(&task("cnn.toml"));
    assert!(
        loss < 0.05 && correct >= 350,
        "loss {loss}, {correct} of 360"
    );
}
