//! Whole training steps against the same steps in f64.

mod support;

use lockstep_graph::{
    training::{metric, WINDOW},
    Built, Conv2d, Field, Group, Initial, Kind, Model, Objective, Optimizer, Pattern, Pool2d,
    Training, Value,
};
use lockstep_protocol::{
    eval::{self, Blob, Inputs},
    permutation,
    program::Dtype,
};
use std::sync::Arc;
use support::{assert_close, floats, positions, products, taps, Tensor};

const SEED: u64 = 41;
const RECORDS: usize = 20;
const BATCH: usize = 6;
const PIXELS: usize = 16;
const CLASSES: usize = 3;
const RECORD: usize = PIXELS * 4 + 4;

/// Records of 16 f32 and a u32 label.
struct Records {
    images: Tensor,
    labels: Vec<usize>,
}

impl Records {
    fn new() -> Records {
        Records {
            images: Tensor::random(&[RECORDS, PIXELS], -1.0, 1.0, 100),
            labels: (0..RECORDS).map(|k| k * k % CLASSES).collect(),
        }
    }

    fn file(&self) -> Vec<u8> {
        let record = |k: usize| {
            let image = self.images.data[k * PIXELS..][..PIXELS].iter();
            let image = image.flat_map(|&x| (x as f32).to_le_bytes());
            image
                .chain((self.labels[k] as u32).to_le_bytes())
                .collect::<Vec<u8>>()
        };
        (0..RECORDS).flat_map(record).collect()
    }

    /// The images, in the shape given, and the labels of a step's batch.
    fn batch(&self, step: u32, shape: &[usize]) -> (Tensor, Vec<usize>) {
        let record =
            |row| permutation::record(SEED, step, BATCH as u32, row, RECORDS as u64) as usize;
        let rows: Vec<usize> = (0..BATCH as u32).map(record).collect();
        let pixels = rows
            .iter()
            .flat_map(|&k| &self.images.data[k * PIXELS..][..PIXELS]);
        let shape = [&[BATCH], shape].concat();
        let labels = rows.iter().map(|&k| self.labels[k]).collect();
        (Tensor::new(&shape, pixels.copied().collect()), labels)
    }
}

fn batch(model: &mut Model, shape: &[usize]) -> (Value, Value) {
    let field = |offset: usize, count: usize, dtype| Field {
        dataset: 0,
        batch: BATCH as u32,
        record_size: RECORD as u32,
        offset: offset as u32,
        count: count as u32,
        dtype,
    };
    let graph = &mut model.graph;
    let image = graph.field(field(0, PIXELS, Dtype::F32));
    let image = graph.reshape(image, &[&[BATCH], shape].concat());
    let label = graph.field(field(PIXELS * 4, 1, Dtype::U32));
    (image, graph.reshape(label, &[BATCH]))
}

fn objective(model: &mut Model, logits: Value, labels: Value) -> Objective {
    let losses = model.graph.cross_entropy(logits, labels);
    Objective {
        hits: Some(model.graph.hits(logits, labels)),
        ..Objective::new(losses)
    }
}

/// The state after some steps of the program.
fn run(built: &Built, state: Vec<Vec<u8>>, steps: u32) -> Vec<Vec<u8>> {
    let blob = |bytes: Vec<u8>| Arc::new(bytes) as Blob;
    let constants = built.constants.clone().into_iter();
    let inputs = Inputs {
        seed: SEED,
        datasets: vec![blob(Records::new().file())],
        constants: constants.map(|(hash, bytes)| (hash, blob(bytes))).collect(),
    };
    inputs.check(&built.program).unwrap();
    (0..steps).fold(state, |state, step| {
        let values = eval::run(&built.program, step, &inputs, &state);
        values[built.program.next_state()].to_vec()
    })
}

type Gradients = dyn Fn(&[Tensor], u32) -> (Vec<Tensor>, f64, f64);

/// A model of the independent implementation: its parameters, and their gradients, the loss and
/// the share of right answers for a batch.
struct Reference {
    parameters: Vec<Tensor>,
    gradients: Box<Gradients>,
}

/// Mean cross-entropy, share of right answers, and gradient towards the logits.
fn cross_entropy(logits: &Tensor, labels: &[usize]) -> (f64, f64, Tensor) {
    let n = labels.len() as f64;
    let (mut loss, mut right, mut gradient) = (0.0, 0.0, Tensor::zeros(&logits.shape));
    for (row, &label) in labels.iter().enumerate() {
        let x: Vec<f64> = (0..CLASSES).map(|k| logits.at(&[row, k])).collect();
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        loss += (sum.ln() - x[label]) / n;
        right += x.iter().all(|&other| other <= x[label]) as u8 as f64 / n;
        for (k, x) in x.iter().enumerate() {
            let truth = (k == label) as u8 as f64;
            gradient.add(&[row, k], (x.exp() / sum - truth) / n);
        }
    }
    (loss, right, gradient)
}

/// `x w + b`.
fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Tensor {
    Tensor::from_fn(&[x.shape[0], w.shape[1]], |at| {
        let terms = (0..w.shape[0]).map(|k| x.at(&[at[0], k]) * w.at(&[k, at[1]]));
        terms.sum::<f64>() + b.at(&[at[1]])
    })
}

/// Gradients towards x, w and b.
fn linear_backward(x: &Tensor, w: &Tensor, up: &Tensor) -> [Tensor; 3] {
    let (rows, outputs) = (x.shape[0], w.shape[1]);
    [
        Tensor::from_fn(&x.shape, |at| {
            (0..outputs)
                .map(|n| up.at(&[at[0], n]) * w.at(&[at[1], n]))
                .sum()
        }),
        Tensor::from_fn(&w.shape, |at| {
            (0..rows)
                .map(|m| up.at(&[m, at[1]]) * x.at(&[m, at[0]]))
                .sum()
        }),
        Tensor::from_fn(&[outputs], |at| (0..rows).map(|m| up.at(&[m, at[0]])).sum()),
    ]
}

fn masked(up: &Tensor, active: &Tensor) -> Tensor {
    let pass = |at: &[usize]| if active.at(at) > 0.0 { up.at(at) } else { 0.0 };
    Tensor::from_fn(&up.shape, pass)
}

fn perceptron(training: &Training) -> (Built, Reference) {
    let mut model = Model::training(SEED);
    let (image, labels) = batch(&mut model, &[PIXELS]);
    let hidden = model.linear("first", image, 5, &Initial::kaiming(PIXELS));
    let hidden = model.graph.relu(hidden);
    let logits = model.linear("second", hidden, CLASSES, &Initial::xavier(5, CLASSES));
    let objective = objective(&mut model, logits, labels);
    let parameters = initial(&model);
    let built = model.train(objective, training).unwrap();
    let gradients = |p: &[Tensor], step| {
        let (x, labels) = Records::new().batch(step, &[PIXELS]);
        let hidden = linear(&x, &p[0], &p[1]).map(|x| x.max(0.0));
        let (loss, right, up) = cross_entropy(&linear(&hidden, &p[2], &p[3]), &labels);
        let [up, w2, b2] = linear_backward(&hidden, &p[2], &up);
        let [_, w1, b1] = linear_backward(&x, &p[0], &masked(&up, &hidden));
        (vec![w1, b1, w2, b2], loss, right)
    };
    let gradients = Box::new(gradients);
    (
        built,
        Reference {
            parameters,
            gradients,
        },
    )
}

fn convolutional(training: &Training) -> (Built, Reference) {
    let conv = Conv2d {
        padding: [1, 1],
        ..Conv2d::default()
    };
    let pool = Pool2d::tiles([2, 2]);
    let mut model = Model::training(SEED);
    let (image, labels) = batch(&mut model, &[4, 4, 1]);
    let weight = model.parameter("conv.weight", &[3, 3, 1, 2], &Initial::kaiming(9));
    let bias = model.parameter("conv.bias", &[2], &Initial::Zeros);
    let y = model.graph.conv2d(image, weight, conv);
    let y = model.graph.add(y, bias);
    let y = model.graph.relu(y);
    let y = model.graph.max_pool2d(y, pool);
    let y = model.graph.flatten(y, 1);
    let logits = model.linear("last", y, CLASSES, &Initial::xavier(8, CLASSES));
    let objective = objective(&mut model, logits, labels);
    let parameters = initial(&model);
    let built = model.train(objective, training).unwrap();
    let gradients = move |p: &[Tensor], step| {
        let (x, labels) = Records::new().batch(step, &[4, 4, 1]);
        let full = [BATCH, 4, 4, 2];
        let mut y = Tensor::from_fn(&full, |at| p[1].at(&at[3..]));
        products(conv, &x.shape, &[3, 3, 1, 2], |i, w, o| {
            y.add(o, x.at(i) * p[0].at(w))
        });
        let y = y.map(|y| y.max(0.0));
        let mut first: Vec<(Vec<usize>, Vec<usize>)> = vec![];
        taps(pool, &full, |window, pixel| match first.last_mut() {
            Some((last, at)) if last == window => {
                if y.at(pixel) > y.at(at) {
                    *at = pixel.to_vec();
                }
            }
            _ => first.push((window.to_vec(), pixel.to_vec())),
        });
        let pooled = first.iter().map(|(_, at)| y.at(at)).collect();
        let flat = Tensor::new(&[BATCH, 8], pooled);
        let (loss, right, up) = cross_entropy(&linear(&flat, &p[2], &p[3]), &labels);
        let [up, w2, b2] = linear_backward(&flat, &p[2], &up);
        let mut towards_y = Tensor::zeros(&full);
        for ((_, at), up) in first.iter().zip(&up.data) {
            towards_y.add(at, *up);
        }
        let towards_y = masked(&towards_y, &y);
        let (mut w1, mut b1) = (Tensor::zeros(&[3, 3, 1, 2]), Tensor::zeros(&[2]));
        products(conv, &x.shape, &[3, 3, 1, 2], |i, w, o| {
            w1.add(w, x.at(i) * towards_y.at(o))
        });
        positions(&full)
            .iter()
            .for_each(|at| b1.add(&at[3..], towards_y.at(at)));
        (vec![w1, b1, w2, b2], loss, right)
    };
    let gradients = Box::new(gradients);
    (
        built,
        Reference {
            parameters,
            gradients,
        },
    )
}

fn initial(model: &Model) -> Vec<Tensor> {
    let tensor = |p: &lockstep_graph::Parameter| {
        let elements = p.initial.iter().map(|&x| x as f64).collect();
        Tensor::new(model.graph.shape(p.value), elements)
    };
    model.parameters().iter().map(tensor).collect()
}

/// Trains a model in f64: its parameters with their moments, in slot order, then loss and share of
/// right answers as running means.
fn reference(
    model: Reference,
    training: &Training,
    decay: &dyn Fn(usize, &Tensor) -> f32,
    steps: u32,
) -> Vec<Vec<f64>> {
    let mut parameters = model.parameters;
    let count = match training.optimizer {
        Optimizer::Sgd { momentum: 0.0, .. } => 0,
        Optimizer::Sgd { .. } => 1,
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 2,
    };
    let still = |p: &Tensor| vec![Tensor::zeros(&p.shape); count];
    let mut moments: Vec<Vec<Tensor>> = parameters.iter().map(still).collect();
    let (mut mean_loss, mut mean_right) = (0.0, 0.0);
    for step in 0..steps {
        let (mut gradients, loss, right) = (model.gradients)(&parameters, step);
        let window = (step + 1).min(WINDOW) as f64;
        mean_loss += (loss - mean_loss) / window;
        mean_right += (right - mean_right) / window;
        if let Some(longest) = training.clip {
            let squares = gradients.iter().flat_map(|g| &g.data).map(|x| x * x);
            let share = (longest as f64 / squares.sum::<f64>().sqrt()).min(1.0);
            gradients = gradients.iter().map(|g| g.map(|x| x * share)).collect();
        }
        let rate = training.rates.get(step as usize).or(training.rates.last());
        let rate = *rate.unwrap() as f64;
        let slots = parameters.iter_mut().zip(&gradients).zip(&mut moments);
        for (number, ((p, g), m)) in slots.enumerate() {
            let decay = decay(number, p) as f64;
            for k in 0..p.data.len() {
                let (x, g) = (p.data[k], g.data[k]);
                p.data[k] -= rate
                    * match training.optimizer {
                        Optimizer::Sgd { momentum, .. } => {
                            let g = g + decay * x;
                            match &mut m[..] {
                                [m] => {
                                    m.data[k] = momentum as f64 * m.data[k] + g;
                                    m.data[k]
                                }
                                _ => g,
                            }
                        }
                        Optimizer::Adam {
                            beta1,
                            beta2,
                            epsilon,
                            ..
                        }
                        | Optimizer::AdamW {
                            beta1,
                            beta2,
                            epsilon,
                            ..
                        } => {
                            let coupled = matches!(training.optimizer, Optimizer::Adam { .. });
                            let g = if coupled { g + decay * x } else { g };
                            let (b1, b2) = (beta1 as f64, beta2 as f64);
                            m[0].data[k] = b1 * m[0].data[k] + (1.0 - b1) * g;
                            m[1].data[k] = b2 * m[1].data[k] + (1.0 - b2) * g * g;
                            let t = step as i32 + 1;
                            let mean = m[0].data[k] / (1.0 - b1.powi(t));
                            let variance = m[1].data[k] / (1.0 - b2.powi(t));
                            let direction = mean / (variance.sqrt() + epsilon as f64);
                            direction + if coupled { 0.0 } else { decay * x }
                        }
                    };
            }
        }
    }
    let slots = parameters.into_iter().zip(moments);
    let slots = slots
        .flat_map(|(p, m)| m.into_iter().chain([p]))
        .map(|t| t.data);
    slots.chain([vec![mean_loss], vec![mean_right]]).collect()
}

fn check(make: fn(&Training) -> (Built, Reference), training: &Training, steps: u32) {
    let decay = |_, p: &Tensor| match p.shape.len() {
        1 => 0.0,
        _ => training.optimizer.decay(),
    };
    check_decay(make, training, &decay, steps);
}

/// As [`check`], with the decay of every parameter by its number.
fn check_decay(
    make: fn(&Training) -> (Built, Reference),
    training: &Training,
    decay: &dyn Fn(usize, &Tensor) -> f32,
    steps: u32,
) {
    let (built, model) = make(training);
    let state = run(&built, built.genesis(), steps);
    let want = reference(model, training, decay, steps);
    assert_eq!(state.len(), want.len());
    for ((slot, bytes), want) in built.slots.iter().zip(&state).zip(want) {
        let shape = [want.len()];
        let (got, want) = (
            Tensor::new(&shape, floats(bytes)),
            Tensor::new(&shape, want),
        );
        assert_close(&slot.name, &got, &want, 1e-5);
    }
}

fn optimizers() -> Vec<Optimizer> {
    vec![
        Optimizer::Sgd {
            momentum: 0.0,
            decay: 0.0,
        },
        Optimizer::Sgd {
            momentum: 0.0,
            decay: 0.1,
        },
        Optimizer::Sgd {
            momentum: 0.9,
            decay: 0.05,
        },
        Optimizer::Adam {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-3,
            decay: 0.1,
        },
        Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-3,
            decay: 0.0,
        },
        Optimizer::AdamW {
            beta1: 0.8,
            beta2: 0.95,
            epsilon: 1e-3,
            decay: 0.2,
        },
    ]
}

#[test]
fn a_perceptron_trains_like_its_reference_under_every_optimizer() {
    for optimizer in optimizers() {
        for clip in [None, Some(0.3)] {
            let rates = vec![0.1, 0.05, 0.2, 0.02, 0.1];
            check(
                perceptron,
                &Training {
                    clip,
                    ..Training::new(optimizer, rates)
                },
                5,
            );
        }
    }
}

#[test]
fn a_convolutional_network_trains_like_its_reference_under_every_optimizer() {
    for optimizer in optimizers() {
        for clip in [None, Some(0.3)] {
            let rates = vec![0.1, 0.05, 0.2];
            check(
                convolutional,
                &Training {
                    clip,
                    ..Training::new(optimizer, rates)
                },
                3,
            );
        }
    }
}

#[test]
fn the_first_group_that_names_a_parameter_gives_its_decay() {
    let group = |names: &[&str], decay| Group {
        names: names.iter().map(|&name| Pattern::new(name)).collect(),
        decay,
    };
    for optimizer in optimizers() {
        let training = Training {
            groups: vec![
                group(&["nothing", "*.bias"], 0.3),
                group(&["first.*"], 0.0),
                group(&["first.weight"], 9.0),
            ],
            ..Training::new(optimizer, vec![0.1, 0.05, 0.2])
        };
        // first.weight, first.bias, second.weight, second.bias
        let decays = [0.0, 0.3, optimizer.decay(), 0.3];
        check_decay(perceptron, &training, &|k, _| decays[k], 3);
    }
}

#[test]
fn frozen_parameters_are_constants_that_begin_as_they_would_have() {
    let build = |names: &[&str]| {
        let mut model = Model::training(SEED);
        let names: Vec<Pattern> = names.iter().map(|&name| Pattern::new(name)).collect();
        model.freeze(&names);
        let (image, labels) = batch(&mut model, &[PIXELS]);
        let hidden = model.linear("first", image, 5, &Initial::kaiming(PIXELS));
        let logits = model.linear("second", hidden, CLASSES, &Initial::kaiming(5));
        assert_eq!(model.frozen_names().count(), 3 * names.len().min(1));
        assert!(model.weight("first.bias").is_some() && model.weight("third.bias").is_none());
        let objective = objective(&mut model, logits, labels);
        let optimizer = Optimizer::Sgd {
            momentum: 0.0,
            decay: 0.0,
        };
        let training = Training::new(optimizer, vec![0.1]);
        model.train(objective, &training).unwrap()
    };
    let (all, some) = (build(&[]), build(&["first.*", "*.bias"]));
    let names = |built: &Built| {
        built
            .slots
            .iter()
            .map(|s| s.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&some),
        ["second.weight", metric::LOSS, metric::ACCURACY]
    );
    let last = |built: &Built| {
        built.slots[built.slot("second.weight").unwrap()]
            .genesis
            .clone()
    };
    assert_eq!(last(&some), last(&all));
    let first = &all.slots[all.slot("first.weight").unwrap()].genesis;
    assert!(some.constants.values().any(|bytes| bytes == first));
    let (one, other) = (run(&all, all.genesis(), 1), run(&some, some.genesis(), 1));
    let loss = |built: &Built, state: &[Vec<u8>]| state[built.slot(metric::LOSS).unwrap()].clone();
    assert_eq!(loss(&all, &one), loss(&some, &other));
}

#[test]
fn a_clip_that_nothing_reaches_changes_nothing() {
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    let plain = Training::new(optimizer, vec![0.1; 3]);
    let clipped = Training {
        clip: Some(1e6),
        ..plain.clone()
    };
    let state = |training| {
        let (built, _) = perceptron(training);
        run(&built, built.genesis(), 3)
    };
    assert_eq!(state(&plain), state(&clipped));
}

#[test]
fn metrics_forget_after_the_window_and_the_last_rate_holds_after_the_schedule() {
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    let training = Training::new(optimizer, vec![0.3, 0.1]);
    check(perceptron, &training, WINDOW + 20);
}

#[test]
fn an_evaluation_counts_every_record_once_and_changes_no_parameter() {
    let mut model = Model::evaluation(SEED);
    let records = Records::new();
    let field = |offset: u32, count: u32, dtype| Field {
        dataset: 0,
        batch: 5,
        record_size: RECORD as u32,
        offset,
        count,
        dtype,
    };
    let image = model.graph.field(field(0, PIXELS as u32, Dtype::F32));
    let label = model.graph.field(field(PIXELS as u32 * 4, 1, Dtype::U32));
    let labels = model.graph.reshape(label, &[5]);
    let dropped = model.dropout(image, 0.5);
    assert_eq!(dropped, image, "an evaluation drops nothing");
    let logits = model.linear("only", dropped, CLASSES, &Initial::kaiming(PIXELS));
    let objective = objective(&mut model, logits, labels);
    let parameters = initial(&model);
    let built = model.evaluate(objective).unwrap();
    let state = run(&built, built.genesis(), 4);
    for (slot, (before, after)) in built.slots.iter().zip(built.genesis().iter().zip(&state)) {
        assert_eq!(
            slot.kind == Kind::Parameter,
            before == after,
            "{}",
            slot.name
        );
    }
    let logits = linear(&records.images, &parameters[0], &parameters[1]);
    let (loss, right, _) = cross_entropy(&logits, &records.labels);
    let of = |name: &str| state[built.slot(name).unwrap()][..].try_into().unwrap();
    let sum = f32::from_le_bytes(of(metric::LOSS_SUM)) as f64;
    assert!((sum - loss * RECORDS as f64).abs() < 1e-4, "{sum}");
    let correct = u32::from_le_bytes(of(metric::CORRECT));
    assert_eq!(correct, (right * RECORDS as f64).round() as u32);
    assert_eq!(u32::from_le_bytes(of(metric::SEEN)), RECORDS as u32);
}

#[test]
fn a_state_of_another_model_is_not_adopted() {
    let optimizer = Optimizer::Sgd {
        momentum: 0.9,
        decay: 0.0,
    };
    let training = Training::new(optimizer, vec![0.1]);
    let (mlp, _) = perceptron(&training);
    let (cnn, _) = convolutional(&training);
    let error = cnn.adopt(&mlp.slots, &mlp.genesis()).unwrap_err();
    assert!(error.to_string().contains("conv.weight"), "{error}");
    let adopted = mlp.adopt(&mlp.slots, &run(&mlp, mlp.genesis(), 1)).unwrap();
    assert_eq!(adopted[0], mlp.genesis()[0], "moments begin anew");
    assert_ne!(adopted[1], mlp.genesis()[1]);
}
