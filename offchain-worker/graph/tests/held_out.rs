//! A task that ends with an evaluation trains as one without, and proves what a pass of its own
//! finds.

mod support;

use lockstep_graph::{
    recipe::{Recipe, Task},
    training::metric,
    Kind,
};
use std::path::Path;
use support::{engine, words};

const PERCEPTRON: &str = include_str!("../../../examples/digits/mlp.toml");

/// The digits' perceptron with some lines replaced, and `proven` as said.
fn task(changes: &[(&str, &str)], proven: bool) -> Task {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits"
    ));
    let mut text = PERCEPTRON.replace("steps = 400", "steps = 40");
    text = text.replace("warmup = 20", "warmup = 2");
    text = text.replace("segment = 50", "segment = 15");
    for (from, to) in changes {
        assert!(text.contains(from), "the recipe says {from:?}");
        text = text.replacen(from, to, 1);
    }
    text.push_str(&format!("\n[evaluation]\nproven = {proven}\n"));
    Recipe::from_toml(&text).unwrap().build(folder).unwrap()
}

fn trained(task: &Task) -> Vec<Vec<u8>> {
    let mut engine = engine::start(&task.built, &task.train, task.seed);
    engine::run(&mut engine, &task.built.genesis(), task.steps)
}

fn metric(task: &Task, state: &[Vec<u8>], name: &str) -> u32 {
    words(&state[task.built.slot(name).unwrap()])[0]
}

/// Trains with and without an evaluation at the end and compares: the steps that it takes.
fn compare(changes: &[(&str, &str)]) -> u32 {
    let (plain, proven) = (task(changes, false), task(changes, true));
    let (short, long) = (trained(&plain), trained(&proven));
    for (slot, bytes) in plain.built.slots.iter().zip(&short) {
        let same = proven.built.slot(&slot.name).unwrap();
        assert_eq!(&long[same], bytes, "{} stays as it was trained", slot.name);
    }

    let pass = plain.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&plain.built.slots, &short).unwrap();
    let mut evaluation = engine::start(&pass.built, &pass.test, plain.seed);
    let judged = engine::run(&mut evaluation, &state, pass.steps);
    let passed = |name| words(&judged[pass.built.slot(name).unwrap()])[0];
    let (seen, correct) = (passed(metric::SEEN), passed(metric::CORRECT));
    assert_eq!(metric(&proven, &long, metric::SEEN), seen);
    assert_eq!(metric(&proven, &long, metric::CORRECT), correct);
    let accuracy = correct as f32 / seen as f32;
    let word = metric(&proven, &long, metric::TEST_ACCURACY);
    assert_eq!(word, accuracy.to_bits(), "one correctly rounded division");
    let loss = f32::from_bits(passed(metric::LOSS_SUM)) / seen as f32;
    let word = metric(&proven, &long, metric::TEST_LOSS);
    let off = (f32::from_bits(word) - loss).abs() / loss;
    assert!(off < 1e-5, "sums in another order: {off}");
    proven.steps - plain.steps
}

#[test]
fn the_final_state_holds_the_metrics_of_every_test_record_once() {
    // 360 records, 64 a step, so that the last step has 40.
    assert_eq!(compare(&[]), 6);
    assert_eq!(compare(&[("batch = 64", "batch = 90")]), 4);
    assert_eq!(compare(&[("batch = 64", "batch = 400")]), 1);
}

#[test]
fn dropout_drops_nothing_in_the_evaluation() {
    let dropout = "[[layer]]\nkind = \"relu\"\n\n[[layer]]\nkind = \"dropout\"\nrate = 0.4";
    compare(&[("[[layer]]\nkind = \"relu\"", dropout)]);
}

#[test]
fn an_evaluation_forgets_that_of_an_earlier_task() {
    let task = task(&[], true);
    let once = trained(&task);
    let mut engine = engine::start(&task.built, &task.train, task.seed);
    let mut stained = task.built.genesis();
    for (slot, bytes) in task.built.slots.iter().zip(&mut stained) {
        if slot.kind == Kind::Metric {
            bytes.fill(0x41);
        }
    }
    let again = engine::run(&mut engine, &stained, task.steps);
    for name in [
        metric::TEST_LOSS,
        metric::TEST_ACCURACY,
        metric::SEEN,
        metric::CORRECT,
    ] {
        assert_eq!(
            metric(&task, &again, name),
            metric(&task, &once, name),
            "{name}"
        );
    }
}

#[test]
fn an_evaluation_without_test_records_is_refused() {
    let text = PERCEPTRON.replace("test = \"test.bin\"", "");
    let text = format!("{text}\n[evaluation]\nproven = true\n");
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits"
    ));
    let refusal = Recipe::from_toml(&text).unwrap().build(folder).unwrap_err();
    let refusal = refusal.to_string();
    assert!(
        refusal.contains("evaluation.proven") && refusal.contains("data.held_out"),
        "{refusal}"
    );
}
