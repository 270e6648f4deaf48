//! Losses against the same in f64, whose gradients are the slopes of their values.

mod support;

use lockstep_graph::{
    training::metric, Built, CrossEntropy, Graph, Initial, Model, Objective, Optimizer, Training,
    Value,
};
use lockstep_protocol::{
    eval::{self, Inputs},
    program::Dtype,
};
use support::{floats, words, Bench, Operation, Tensor};

const CLASSES: usize = 5;

fn labels(graph: &mut Graph, shape: &[usize], labels: &[i32]) -> Value {
    let bytes = labels.iter().flat_map(|l| l.to_le_bytes()).collect();
    graph.constant(shape, Dtype::I32, bytes)
}

/// The cross-entropy of one row and its gradient.
fn row(x: &[f64], label: i32, options: CrossEntropy) -> (f64, Vec<f64>) {
    if options.ignore == Some(label) {
        return (0.0, vec![0.0; x.len()]);
    }
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    let smoothing = options.smoothing as f64;
    let truth = |k: usize| {
        let hit = (k as i32 == label) as u8 as f64;
        (1.0 - smoothing) * hit + smoothing / x.len() as f64
    };
    let loss = (0..x.len()).map(|k| truth(k) * (sum.ln() - x[k])).sum();
    let gradient = (0..x.len()).map(|k| x[k].exp() / sum - truth(k));
    (loss, gradient.collect())
}

#[test]
fn cross_entropy_ignores_and_smooths_over_rows_and_sequences() {
    let all = [3, 0, -100, 4, 1, -100];
    let options = [
        (None, 0.0),
        (Some(-100), 0.0),
        (Some(-100), 0.2),
        (Some(3), 0.1),
    ];
    for (ignore, smoothing) in options {
        let options = CrossEntropy { ignore, smoothing };
        // Without the ignored index every label is a class.
        let all = all.map(|label: i32| {
            if ignore == Some(-100) {
                label
            } else {
                label.abs() % 5
            }
        });
        for shape in [&[6][..], &[2, 3], &[1, 3, 2]] {
            let logits = [shape, &[CLASSES]].concat();
            let rows = |x: &Tensor| -> Vec<(f64, Vec<f64>)> {
                let rows = x.data.chunks_exact(CLASSES).zip(&all);
                rows.map(|(x, &label)| row(x, label, options)).collect()
            };
            Operation {
                name: &format!("{options:?} of {shape:?}"),
                inputs: vec![Tensor::random(&logits, -4.0, 4.0, 7)],
                build: &|g, x| {
                    let labels = labels(g, shape, &all);
                    g.cross_entropy_with(x[0], labels, options)
                },
                forward: &|x| {
                    let losses = rows(&x[0]).into_iter().map(|(loss, _)| loss);
                    Tensor::new(shape, losses.collect())
                },
                backward: &|x, up| {
                    let gradients = rows(&x[0]).into_iter().zip(&up.data);
                    let scaled =
                        gradients.flat_map(|((_, row), up)| row.into_iter().map(move |g| g * up));
                    vec![Tensor::new(&logits, scaled.collect())]
                },
            }
            .check(1e-5);
        }
    }
}

#[test]
fn binary_cross_entropy_is_that_of_the_sigmoid() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    Operation {
        name: "binary_cross_entropy",
        inputs: vec![
            Tensor::random(&[4, 3], -6.0, 6.0, 1),
            Tensor::random(&[4, 3], 0.0, 1.0, 2),
        ],
        build: &|g, x| g.binary_cross_entropy(x[0], x[1]),
        forward: &|x| {
            Tensor::from_fn(&[4, 3], |at| {
                let (p, t) = (sigmoid(x[0].at(at)), x[1].at(at));
                -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
            })
        },
        backward: &|x, up| {
            vec![
                Tensor::from_fn(&[4, 3], |at| {
                    up.at(at) * (sigmoid(x[0].at(at)) - x[1].at(at))
                }),
                Tensor::from_fn(&[4, 3], |at| -up.at(at) * x[0].at(at)),
            ]
        },
    }
    .check(1e-5);
}

#[test]
fn binary_cross_entropy_is_exact_far_away_from_zero() {
    let mut bench = Bench::default();
    let logits = [-200.0, -30.0, -12.0, 0.0, 12.0, 30.0, 200.0];
    let x = bench.input(&Tensor::new(&[7], logits.to_vec()));
    let t = bench.input(&Tensor::new(&[7], vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]));
    let losses = bench.graph.binary_cross_entropy(x, t);
    let got = bench.numbers(&[losses]).remove(0).data;
    let want = [0.0, 30.0, 12.0].map(|x: f64| (-x).exp().ln_1p());
    let want = [0.0, want[1], want[2], 2f64.ln(), want[2], want[1], 200.0];
    for (got, want) in got.iter().zip(want) {
        assert!(
            (got - want).abs() <= 1e-6 * want.abs() + 1e-30,
            "{got} instead of {want}"
        );
    }
}

#[test]
fn squared_and_absolute_errors() {
    let inputs = || {
        vec![
            Tensor::random(&[4, 3], -2.0, 2.0, 3),
            Tensor::random(&[4, 3], -2.0, 2.0, 4),
        ]
    };
    let difference = |x: &[Tensor], at: &[usize]| x[0].at(at) - x[1].at(at);
    let both = |x: &[Tensor], up: &Tensor, slope: fn(f64) -> f64| {
        let towards =
            |sign: f64| Tensor::from_fn(&[4, 3], |at| sign * up.at(at) * slope(difference(x, at)));
        vec![towards(1.0), towards(-1.0)]
    };
    Operation {
        name: "squared_error",
        inputs: inputs(),
        build: &|g, x| g.squared_error(x[0], x[1]),
        forward: &|x| Tensor::from_fn(&[4, 3], |at| difference(x, at).powi(2)),
        backward: &|x, up| both(x, up, |d| 2.0 * d),
    }
    .check(1e-5);
    Operation {
        name: "absolute_error",
        inputs: inputs(),
        build: &|g, x| g.absolute_error(x[0], x[1]),
        forward: &|x| Tensor::from_fn(&[4, 3], |at| difference(x, at).abs()),
        backward: &|x, up| both(x, up, f64::signum),
    }
    .check(1e-5);
}

#[test]
fn hits_of_sequences_and_of_logits_with_two_sides() {
    let mut bench = Bench::default();
    let logits = Tensor::new(&[1, 3, 2], vec![0.1, 0.9, 3.0, -1.0, 2.0, 2.5]);
    let logits = bench.input(&logits);
    let labels = bench.words(&[1, 3], &[1, 1, 1]);
    let sides = bench.input(&Tensor::new(&[4], vec![-1.0, 2.0, 3.0, 0.0]));
    let truth = bench.input(&Tensor::new(&[4], vec![0.0, 1.0, 0.2, 0.0]));
    let (of_rows, of_sides) = (
        bench.graph.hits(logits, labels),
        bench.graph.binary_hits(sides, truth),
    );
    let got = bench.run(&[of_rows, of_sides], 0);
    assert_eq!(words(&got[0]), [1, 0, 1]);
    assert_eq!(words(&got[1]), [1, 1, 0, 1]);
}

/// A table of logits as the only parameter, trained and evaluated on sequences of labels.
fn sequence(labels_of: [i32; 6], evaluation: bool) -> (Built, Vec<f32>) {
    let mut model = Model::training(1);
    let table = model.parameter("table", &[2, 3, CLASSES], &Initial::Uniform { bound: 1.0 });
    let initial = model.parameters()[0].initial.clone();
    let graph = &mut model.graph;
    let labels = labels(graph, &[2, 3], &labels_of);
    let options = CrossEntropy {
        ignore: Some(-1),
        smoothing: 0.0,
    };
    let counts = graph.counts(labels, -1);
    let (hits, none) = (graph.hits(table, labels), graph.word(0));
    let objective = Objective {
        losses: graph.cross_entropy_with(table, labels, options),
        hits: Some(graph.select(counts, hits, none)),
        counts: Some(counts),
    };
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    let built = match evaluation {
        true => model.evaluate(objective),
        false => model.train(objective, &Training::new(optimizer, vec![1.0])),
    };
    (built.unwrap(), initial)
}

fn step(built: &Built) -> Vec<Vec<u8>> {
    let inputs = Inputs::default();
    let values = eval::run(
        &built.program,
        0,
        &inputs_of(built, inputs),
        &built.genesis(),
    );
    values[built.program.next_state()].to_vec()
}

fn inputs_of(built: &Built, mut inputs: Inputs) -> Inputs {
    for (hash, bytes) in &built.constants {
        let blob = std::sync::Arc::new(bytes.clone());
        inputs.constants.insert(*hash, blob);
    }
    inputs
}

#[test]
fn the_mean_is_over_the_labels_that_count() {
    let labels = [3, -1, 0, -1, -1, 2];
    let (built, logits) = sequence(labels, false);
    let after = step(&built);
    let logits: Vec<f64> = logits.iter().map(|&x| x as f64).collect();
    let options = CrossEntropy {
        ignore: Some(-1),
        smoothing: 0.0,
    };
    let rows = logits.chunks_exact(CLASSES).zip(labels);
    let rows: Vec<_> = rows.map(|(x, label)| row(x, label, options)).collect();
    let loss = rows.iter().map(|(loss, _)| loss).sum::<f64>() / 3.0;
    let got = floats(&after[built.slot(metric::LOSS).unwrap()])[0];
    assert!((got - loss).abs() < 1e-5, "{got} instead of {loss}");
    let gradient = rows.iter().flat_map(|(_, g)| g);
    for ((got, before), g) in floats(&after[0]).iter().zip(&logits).zip(gradient) {
        assert!((got - (before - g / 3.0)).abs() < 1e-5);
    }

    let (built, _) = sequence(labels, true);
    let after = step(&built);
    let of = |name: &str| &after[built.slot(name).unwrap()];
    assert_eq!(words(of(metric::SEEN)), [3]);
    assert!((floats(of(metric::LOSS_SUM))[0] - 3.0 * loss).abs() < 1e-5);
    assert!(words(of(metric::CORRECT))[0] <= 3);
}

#[test]
fn a_batch_in_which_no_label_counts_changes_nothing() {
    let (built, logits) = sequence([-1; 6], false);
    let after = step(&built);
    let before: Vec<f64> = logits.iter().map(|&x| x as f64).collect();
    assert_eq!(floats(&after[0]), before);
    assert_eq!(floats(&after[built.slot(metric::LOSS).unwrap()]), [0.0]);
}
