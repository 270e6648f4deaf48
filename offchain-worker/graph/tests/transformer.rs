//! A small language model: everything that a transformer needs, in one graph.

mod support;

use lockstep_graph::{
    lower::lower, training::metric, Built, Conv2d, Field, Graph, Initial, Kind, Model, Objective,
    Optimizer, Training, Value,
};
use lockstep_protocol::{
    eval::{self, Blob, Inputs},
    program::Dtype,
};
use std::sync::Arc;
use support::{floats, Tensor};

const WORDS: usize = 11;
const LENGTH: usize = 5;
const WIDTH: usize = 6;
const HEADS: usize = 2;
const BATCH: usize = 2;

/// Causal attention with several heads.
fn attention(model: &mut Model, name: &str, x: Value) -> Value {
    let initial = Initial::xavier(WIDTH, WIDTH);
    let head = WIDTH / HEADS;
    let [q, k, v] = ["query", "key", "value"].map(|part| {
        let y = model.linear(&format!("{name}.{part}"), x, WIDTH, &initial);
        let y = model.graph.reshape(y, &[BATCH, LENGTH, HEADS, head]);
        model.graph.permute(y, &[0, 2, 1, 3])
    });
    let g = &mut model.graph;
    let keys = g.transpose(k);
    let scores = g.matmul(q, keys);
    let scores = g.scale(scores, 1.0 / (head as f32).sqrt());
    let position = g.positions(&[LENGTH]);
    let position = g.to_f32(position);
    let row = g.reshape(position, &[LENGTH, 1]);
    let (future, never) = (g.less(row, position), g.scalar(f32::NEG_INFINITY));
    let scores = g.select(future, never, scores);
    let weights = g.softmax(scores, 3);
    let mixed = g.matmul(weights, v);
    let mixed = g.permute(mixed, &[0, 2, 1, 3]);
    let mixed = g.reshape(mixed, &[BATCH, LENGTH, WIDTH]);
    model.linear(&format!("{name}.output"), mixed, WIDTH, &initial)
}

fn language_model() -> (Built, Vec<u8>) {
    let mut model = Model::training(3);
    // A record is a text and, for every word of it, the next one.
    let field = |offset: usize| Field {
        dataset: 0,
        batch: BATCH as u32,
        record_size: 2 * LENGTH as u32,
        offset: offset as u32,
        count: LENGTH as u32,
        dtype: Dtype::U8,
    };
    let (text, next) = (
        model.graph.field(field(0)),
        model.graph.field(field(LENGTH)),
    );
    let mut x = model.embedding("words", text, WORDS, WIDTH);
    let places = model.parameter("places", &[LENGTH, WIDTH], &Initial::xavier(LENGTH, WIDTH));
    x = model.graph.add(x, places);
    for block in 0..2 {
        let y = model.layer_norm(&format!("{block}.first"), x);
        let y = attention(&mut model, &format!("{block}.attention"), y);
        x = model.graph.add(x, y);
        let y = model.layer_norm(&format!("{block}.second"), x);
        let y = model.linear(
            &format!("{block}.up"),
            y,
            4 * WIDTH,
            &Initial::kaiming(WIDTH),
        );
        let y = model.graph.gelu(y);
        let y = model.linear(
            &format!("{block}.down"),
            y,
            WIDTH,
            &Initial::kaiming(4 * WIDTH),
        );
        let y = model.dropout(y, 0.1);
        x = model.graph.add(x, y);
    }
    let x = model.layer_norm("last", x);
    let x = model.graph.reshape(x, &[BATCH * LENGTH, WIDTH]);
    let logits = model.linear("head", x, WORDS, &Initial::xavier(WIDTH, WORDS));
    let next = model.graph.reshape(next, &[BATCH * LENGTH]);
    let losses = model.graph.cross_entropy(logits, next);
    let objective = Objective {
        hits: Some(model.graph.hits(logits, next)),
        ..Objective::new(losses)
    };
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    let training = Training::new(optimizer, vec![1.0]);
    let built = model.train(objective, &training).unwrap();
    let texts = Tensor::random(&[7 * 2 * LENGTH], 0.0, WORDS as f64, 1);
    (built, texts.data.iter().map(|&x| x as u8).collect())
}

fn step(built: &Built, data: &[u8], state: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let blob = |bytes: &[u8]| Arc::new(bytes.to_vec()) as Blob;
    let constants = built.constants.iter();
    let inputs = Inputs {
        seed: 3,
        datasets: vec![blob(data)],
        constants: constants
            .map(|(hash, bytes)| (*hash, blob(bytes)))
            .collect(),
    };
    inputs.check(&built.program).unwrap();
    let values = eval::run(&built.program, 0, &inputs, state);
    values[built.program.next_state()].to_vec()
}

#[test]
fn the_gradient_of_a_language_model_is_the_slope_of_its_loss() {
    let (built, data) = language_model();
    let before = built.genesis();
    let after = step(&built, &data, &before);
    let loss = |length: f64| {
        let mut state = before.clone();
        for (k, slot) in built.slots.iter().enumerate() {
            if slot.kind == Kind::Parameter {
                let direction = Tensor::random(&slot.shape, -1.0, 1.0, k as u32);
                let moved = floats(&before[k]).into_iter().zip(&direction.data);
                let moved = moved.flat_map(|(x, d)| ((x + length * d) as f32).to_le_bytes());
                state[k] = moved.collect();
            }
        }
        floats(&step(&built, &data, &state)[built.slot(metric::LOSS).unwrap()])[0]
    };
    let mut along = 0.0;
    for (k, slot) in built.slots.iter().enumerate() {
        if slot.kind == Kind::Parameter {
            let direction = Tensor::random(&slot.shape, -1.0, 1.0, k as u32);
            let gradient = floats(&before[k])
                .into_iter()
                .zip(floats(&after[k]))
                .map(|(x, y)| x - y);
            assert!(
                gradient.clone().any(|g| g != 0.0),
                "{} does not learn",
                slot.name
            );
            along += gradient
                .zip(&direction.data)
                .map(|(g, d)| g * d)
                .sum::<f64>();
        }
    }
    let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
    assert!(
        (slope - along).abs() < 5e-3 * slope.abs().max(1.0),
        "slope {slope}, gradient {along}"
    );
}

/// Lowers the gradient of a loss towards two parameters.
fn gradient_fits(make: impl Fn(&mut Graph, Value, Value) -> Value, shapes: [&[usize]; 2]) {
    let mut graph = Graph::new();
    let (first, a) = graph.state(shapes[0], Dtype::F32);
    let (second, b) = graph.state(shapes[1], Dtype::F32);
    let y = make(&mut graph, a, b);
    let axes: Vec<usize> = (0..graph.shape(y).len()).collect();
    let loss = graph.mean(y, &axes);
    let gradients = graph.gradients(loss, &[a, b]);
    lower(&graph, &[(first, gradients[0]), (second, gradients[1])]).unwrap();
}

#[test]
fn layers_of_large_models_fit_the_limits_of_programs() {
    // A projection to a vocabulary, for 16 texts of 1024 words.
    gradient_fits(
        |g, x, w| {
            let y = g.linear(x, w, None);
            g.log_softmax(y, 1)
        },
        [&[16_384, 4096], &[4096, 50_257]],
    );
    // The first layers of a residual network at 224 pixels, 64 images.
    let conv = Conv2d {
        stride: [2, 2],
        padding: [3, 3],
        ..Conv2d::default()
    };
    gradient_fits(
        |g, x, w| g.conv2d(x, w, conv),
        [&[64, 224, 224, 3], &[7, 7, 3, 64]],
    );
    // Attention over 4096 words with 32 heads.
    gradient_fits(
        |g, q, k| {
            let k = g.transpose(k);
            let scores = g.matmul(q, k);
            g.softmax(scores, 3)
        },
        [&[4, 32, 4096, 128], &[4, 32, 4096, 128]],
    );
}
