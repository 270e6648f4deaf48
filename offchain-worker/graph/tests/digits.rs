//! The digits examples learn to read.

mod support;

use lockstep_graph::{
    recipe::{Recipe, Task},
    training::metric,
};
use std::path::Path;
use support::{engine, words};

fn task(name: &str) -> Task {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits"
    ));
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    Recipe::from_toml(&text).unwrap().build(folder).unwrap()
}

/// The final training loss and how many of the test records are read right.
fn outcome(task: &Task) -> (f64, u32) {
    let mut training = engine::start(&task.built, &task.train, task.seed);
    let trained = engine::run(&mut training, &task.built.genesis(), task.steps);
    let loss = engine::float(&task.built, &trained, metric::LOSS);
    let pass = task.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&task.built.slots, &trained).unwrap();
    let mut evaluation = engine::start(&pass.built, &pass.test, task.seed);
    let judged = engine::run(&mut evaluation, &state, pass.steps);
    let word = |name| words(&judged[pass.built.slot(name).unwrap()])[0];
    assert_eq!(word(metric::SEEN), 360);
    let correct = word(metric::CORRECT);
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
