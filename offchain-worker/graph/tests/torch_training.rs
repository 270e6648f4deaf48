//! Losses and optimizers do what PyTorch's do; `fixtures/torch_training.py` recorded it.

mod support;

use lockstep_graph::{
    training::metric, CrossEntropy, Group, Initial, Model, Objective, Optimizer, Pattern, Training,
};
use lockstep_protocol::{
    eval::{self, Inputs},
    program::Dtype,
};
use std::{collections::BTreeMap, sync::Arc};
use support::{assert_close, floats, Tensor};

const RECORDED: &str = include_str!("fixtures/torch_training.txt");
const ROWS: usize = 6;
const INPUTS: usize = 4;
const CLASSES: usize = 3;

fn recorded() -> BTreeMap<&'static str, Vec<f64>> {
    let line = |line: &'static str| {
        let (name, numbers) = line.split_once(' ').unwrap();
        let numbers = numbers.split(' ').map(|n| n.parse().unwrap());
        (name, numbers.collect())
    };
    RECORDED.lines().map(line).collect()
}

/// Trains the recorded layer and compares every step's loss and what is left at the end.
fn check(name: &str, loss: &str, optimizer: Optimizer, rate: f32, clip: Option<f32>) {
    let recorded = recorded();
    let given = |name: &str| {
        recorded[name]
            .iter()
            .map(|&x| x as f32)
            .collect::<Vec<f32>>()
    };
    let mut model = Model::training(1);
    let x = model.graph.constant_f32(&[ROWS, INPUTS], &given("x"));
    let weight = Initial::Given(given("weight"));
    let weight = model.parameter("weight", &[INPUTS, CLASSES], &weight);
    let bias = model.parameter("bias", &[CLASSES], &Initial::Given(given("bias")));
    let g = &mut model.graph;
    let y = g.linear(x, weight, Some(bias));
    let target = g.constant_f32(&[ROWS, CLASSES], &given("target"));
    let labels = recorded["labels"].iter().map(|&label| label as i32);
    let labels = labels.flat_map(|label| label.to_le_bytes()).collect();
    let labels = g.constant(&[ROWS], Dtype::I32, labels);
    let labelled = |smoothing| CrossEntropy {
        ignore: Some(-100),
        smoothing,
    };
    let losses = match loss {
        "cross_entropy" => g.cross_entropy_with(y, labels, labelled(0.0)),
        "smoothed" => g.cross_entropy_with(y, labels, labelled(0.2)),
        "squared" => g.squared_error(y, target),
        "absolute" => g.absolute_error(y, target),
        "binary" => g.binary_cross_entropy(y, target),
        _ => unreachable!(),
    };
    let counted = matches!(loss, "cross_entropy" | "smoothed");
    let objective = Objective {
        counts: counted.then(|| g.counts(labels, -100)),
        ..Objective::new(losses)
    };
    let steps = recorded[&format!("{name}.loss")[..]].len();
    let training = Training {
        clip,
        // PyTorch decays biases as well.
        groups: vec![Group {
            names: vec![Pattern::new("*")],
            decay: optimizer.decay(),
        }],
        ..Training::new(optimizer, vec![rate; steps])
    };
    let built = model.train(objective, &training).unwrap();

    let mut inputs = Inputs::default();
    for (hash, bytes) in &built.constants {
        inputs.constants.insert(*hash, Arc::new(bytes.clone()));
    }
    let mut state = built.genesis();
    let slot = |name: &str| built.slot(name).unwrap();
    // The metric is the mean of the losses so far.
    let (mut losses, mut sum) = (vec![], 0.0);
    for step in 0..steps as u32 {
        let values = eval::run(&built.program, step, &inputs, &state);
        state = values[built.program.next_state()].to_vec();
        let total = floats(&state[slot(metric::LOSS)])[0] * (step + 1) as f64;
        losses.push(total - sum);
        sum = total;
    }
    for (what, got) in [
        ("loss", losses),
        ("weight", floats(&state[slot("weight")])),
        ("bias", floats(&state[slot("bias")])),
    ] {
        let want = &recorded[&format!("{name}.{what}")[..]];
        let tensor = |data: &[f64]| Tensor::new(&[want.len()], data.to_vec());
        assert_close(
            &format!("{name}.{what}"),
            &tensor(&got),
            &tensor(want),
            5e-6,
        );
    }
}

#[test]
fn losses_are_those_of_torch() {
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    for loss in ["cross_entropy", "smoothed", "squared", "absolute", "binary"] {
        check(loss, loss, plain, 0.2, None);
    }
}

#[test]
fn optimizers_are_those_of_torch() {
    let sgd = Optimizer::Sgd {
        momentum: 0.9,
        decay: 0.05,
    };
    check("sgd", "cross_entropy", sgd, 0.1, None);
    check("clipped", "cross_entropy", sgd, 0.1, Some(0.3));
    let (beta1, beta2, epsilon, decay) = (0.8, 0.95, 1e-6, 0.1);
    let adam = Optimizer::Adam {
        beta1,
        beta2,
        epsilon,
        decay,
    };
    check("adam", "cross_entropy", adam, 0.05, None);
    let adamw = Optimizer::AdamW {
        beta1,
        beta2,
        epsilon,
        decay,
    };
    check("adamw", "cross_entropy", adamw, 0.05, None);
}
