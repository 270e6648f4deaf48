//! State that is no weight.

mod support;

use lockstep_graph::{
    Field, Initial, Kind, Model, Objective, Optimizer, Schedule, Training, Value,
};
use lockstep_protocol::{
    eval::{self, Blob, Inputs},
    program::Dtype,
};
use std::sync::Arc;
use support::floats;

/// A model with one weight, and a buffer that adds up the batch's mean.
fn model(mut model: Model) -> (Model, Objective) {
    let x = model.graph.field(Field {
        dataset: 0,
        batch: 2,
        record_size: 4,
        offset: 0,
        count: 1,
        dtype: Dtype::F32,
    });
    let weight = model.parameter("weight", &[1], &Initial::Ones);
    let seen = model.buffer("seen", &[1], vec![10.0]);
    let mean: Value = model.graph.mean(x, &[0]);
    let next = model.graph.add(seen, mean);
    model.update(seen, next);
    let y = model.graph.mul(x, weight);
    let losses = model.graph.reshape(y, &[2]);
    (model, Objective::new(losses))
}

#[test]
fn training_updates_a_buffer_and_an_evaluation_takes_it_over_as_it_is() {
    let (trained, objective) = model(Model::training(3));
    let training = Training::new(
        Optimizer::Sgd {
            momentum: 0.0,
            decay: 0.0,
        },
        Schedule::Constant.rates(0.1, 0, 2),
    );
    let built = trained.train(objective, &training).unwrap();
    let slot = built.slot("seen").unwrap();
    assert_eq!(built.slots[slot].kind, Kind::Buffer);
    let data: Vec<u8> = [1f32, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let inputs = Inputs {
        seed: 3,
        datasets: vec![Arc::new(data) as Blob],
        ..Inputs::default()
    };
    let mut state = built.genesis();
    for step in 0..2 {
        let values = eval::run(&built.program, step, &inputs, &state);
        state = values[built.program.next_state()].to_vec();
    }
    assert_eq!(floats(&state[slot]), [14.0]);

    let (evaluated, objective) = model(Model::evaluation(3));
    let pass = evaluated.evaluate(objective).unwrap();
    let adopted = pass.adopt(&built.slots, &state).unwrap();
    let values = eval::run(&pass.program, 0, &inputs, &adopted);
    let after = &values[pass.program.next_state()][pass.slot("seen").unwrap()];
    assert_eq!(floats(after), [14.0]);
}

#[test]
#[should_panic(expected = "two tensors are called")]
fn a_buffer_and_a_parameter_have_different_names() {
    let mut model = Model::training(1);
    model.parameter("x", &[1], &Initial::Zeros);
    model.buffer("x", &[1], vec![0.0]);
}
