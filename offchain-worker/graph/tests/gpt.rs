//! The GPT example learns to write the next character.

mod support;

use lockstep_graph::{
    recipe::{Recipe, Task},
    training::metric,
};
use std::{path::Path, time::Instant};
use support::{engine, safetensors, words};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/gpt"))
}

fn task(steps: u32) -> Task {
    let folder = folder();
    let text = std::fs::read_to_string(folder.join("gpt.toml")).unwrap();
    let text = text.replace("steps = 800", &format!("steps = {steps}"));
    Recipe::from_toml(&text).unwrap().build(folder).unwrap()
}

/// What is left to know of a character when only the frequencies of the training text are known,
/// in nats.
fn unigram_entropy(task: &Task) -> f64 {
    let mut counts = [0u64; 256];
    task.train
        .bytes
        .iter()
        .for_each(|&b| counts[b as usize] += 1);
    let total = task.train.bytes.len() as f64;
    let shares = counts.iter().filter(|&&n| n > 0).map(|&n| n as f64 / total);
    shares.map(|p| -p * p.ln()).sum()
}

/// Trains, and gives the running mean of the training loss and the mean loss over the held-out text,
/// in nats a character.
fn outcome(task: &Task) -> (f64, f64) {
    let began = Instant::now();
    let mut training = engine::start(&task.built, &task.train, task.seed);
    let trained = engine::run(&mut training, &task.built.genesis(), task.steps);
    let seconds = began.elapsed().as_secs_f64();
    let loss = engine::float(&task.built, &trained, metric::LOSS);
    let pass = task.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&task.built.slots, &trained).unwrap();
    let mut evaluation = engine::start(&pass.built, &pass.test, task.seed);
    let judged = engine::run(&mut evaluation, &state, pass.steps);
    let seen = words(&judged[pass.built.slot(metric::SEEN).unwrap()])[0] as f64;
    let held_out = engine::float(&pass.built, &judged, metric::LOSS_SUM) / seen;
    println!(
        "{} steps in {seconds:.0} s: loss {loss:.3}, held out {held_out:.3} over {seen} characters",
        task.steps
    );
    (loss, held_out)
}

#[test]
fn a_few_steps_bring_the_loss_below_the_entropy_of_single_characters() {
    let task = task(60);
    let (_, held_out) = outcome(&task);
    let entropy = unigram_entropy(&task);
    assert!(held_out < entropy - 0.3, "{held_out}, entropy {entropy}");
}

#[test]
fn a_fine_tuning_of_it_has_a_small_state() {
    let base = task(800);
    let copy = tempfile::tempdir().unwrap();
    let file = safetensors(&base.built, &base.built.genesis());
    std::fs::write(copy.path().join("gpt.safetensors"), file).unwrap();
    let text = "reference.txt";
    std::fs::copy(folder().join(text), copy.path().join(text)).unwrap();
    let recipe = std::fs::read_to_string(folder().join("lora.toml")).unwrap();
    let tuned = Recipe::from_toml(&recipe).unwrap();
    let tuned = tuned.build(copy.path()).unwrap();
    let bytes = |task: &Task| task.built.genesis().concat().len();
    assert!(bytes(&tuned) * 8 < bytes(&base), "{}", bytes(&tuned));
}

#[test]
#[ignore = "takes minutes: run it by name in a release build"]
fn the_whole_training_leaves_it_far_below() {
    let task = task(800);
    let (_, held_out) = outcome(&task);
    assert!(
        held_out < 1.9,
        "{held_out}, entropy {}",
        unigram_entropy(&task)
    );
}
