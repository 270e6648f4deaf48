//! Random architectures: each builds a valid program, and its gradient is the slope of its loss.

mod support;

use lockstep_engine::{cpu, Engine, Job};
use lockstep_graph::{
    training::metric, Attention, Built, Conv2d, CrossEntropy, Group, Initial, Kind, Model,
    Objective, Optimizer, Pattern, Pool2d, Training, Value,
};
use lockstep_protocol::{
    eval::{self, Blob, Inputs},
    philox,
    program::Dtype,
};
use std::sync::Arc;
use support::{floats, Tensor};

/// Choices, determined by the number of an architecture.
struct Choices {
    stream: u32,
    made: u64,
}

impl Choices {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.made += 1;
        philox::stream(5, self.stream, self.made)[0] as usize % n
    }

    /// A number from 1 to `n`.
    fn upto(&mut self, n: usize) -> usize {
        1 + self.below(n)
    }
}

/// A smooth layer that fits `x`, so that differences measure its slope.
fn layer(model: &mut Model, x: Value, name: &str, choices: &mut Choices, depth: usize) -> Value {
    let shape = model.graph.shape(x).to_vec();
    let last = *shape.last().unwrap();
    let initial = Initial::xavier(last, last);
    match (choices.below(14), &shape[..]) {
        (0, _) => model.graph.tanh(x),
        (1, _) => model.graph.gelu(x),
        (2, _) => model.graph.sigmoid(x),
        (3, _) => {
            let gain = model.parameter(&format!("{name}.gain"), &[last], &Initial::Ones);
            let bias = model.parameter(&format!("{name}.bias"), &[last], &Initial::Zeros);
            // A large epsilon keeps the loss smooth at the scale of the differences.
            model.graph.layer_norm(x, gain, bias, 0.1)
        }
        (4, _) => model.graph.softmax(x, shape.len() - 1),
        (5, _) => {
            let rate = 0.1 * choices.upto(5) as f32;
            model.dropout(x, rate)
        }
        (6, _) => {
            let outputs = choices.upto(5);
            model.linear(name, x, outputs, &initial)
        }
        (7, _) if depth < 2 => {
            let mut y = x;
            for k in 0..choices.upto(3) {
                y = layer(model, y, &format!("{name}.{k}"), choices, depth + 1);
            }
            match model.graph.shape(y) == shape {
                true => model.graph.add(x, y),
                false => y,
            }
        }
        (8, [_, _, _]) | (8, [_, _, _, _]) => model.graph.transpose(x),
        (9, &[_, height, width, channels]) => {
            let groups = if channels % 2 == 0 {
                choices.upto(2)
            } else {
                1
            };
            let kernel = [choices.upto(3), choices.upto(3)];
            let pair = |c: &mut Choices, n| [c.upto(n), c.upto(n)];
            let padding = [choices.below(3), choices.below(3)];
            let conv = Conv2d {
                stride: pair(choices, 3),
                padding,
                dilation: pair(choices, 2),
                groups,
            };
            if conv.output([height, width], kernel).is_none() {
                return x;
            }
            let outputs = groups * choices.upto(3);
            let shape = [kernel[0], kernel[1], channels / groups, outputs];
            let weight = model.parameter(&format!("{name}.weight"), &shape, &initial);
            model.graph.conv2d(x, weight, conv)
        }
        (10, &[_, height, width, _]) => {
            let size = [choices.upto(3), choices.upto(3)];
            let stride = [choices.upto(3), choices.upto(3)];
            let padding = [choices.below(size[0]), choices.below(size[1])];
            let pool = Pool2d {
                size,
                stride,
                padding,
            };
            match pool.output([height, width]) {
                Some(_) => model.graph.avg_pool2d(x, pool),
                None => x,
            }
        }
        (11, _) if shape.len() > 2 => {
            let axis = 1 + choices.below(shape.len() - 1);
            model.graph.mean(x, &[axis])
        }
        (12, &[_, _, width]) => {
            let divisors: Vec<usize> = (1..=width).filter(|n| width % n == 0).collect();
            let attention = Attention {
                lora: None,
                heads: divisors[choices.below(divisors.len())],
                causal: choices.below(2) == 1,
                dropout: 0.2 * choices.below(2) as f32,
            };
            model.attention(name, x, attention)
        }
        _ if shape.len() > 2 => {
            let half = shape[1].div_ceil(2);
            let front = model.graph.slice(x, 1, 0, half);
            let back = model.graph.slice(x, 1, shape[1] - half, half);
            let product = model.graph.mul(front, back);
            model.graph.concat(&[product, front, x], 1)
        }
        _ => x,
    }
}

/// A smooth loss of logits against targets that are chosen.
fn objective(model: &mut Model, logits: Value, choices: &mut Choices) -> Objective {
    let shape = model.graph.shape(logits).to_vec();
    let classes = shape[shape.len() - 1];
    let g = &mut model.graph;
    if choices.below(3) == 0 {
        let targets = (0..shape.iter().product()).map(|_| choices.below(5) as f32 / 4.0);
        let targets = g.constant_f32(&shape, &targets.collect::<Vec<f32>>());
        let losses = match choices.below(2) {
            0 => g.binary_cross_entropy(logits, targets),
            _ => g.squared_error(logits, targets),
        };
        return Objective {
            hits: Some(g.binary_hits(logits, targets)),
            ..Objective::new(losses)
        };
    }
    let rows = &shape[..shape.len() - 1];
    let labels = (0..rows.iter().product()).map(|_| choices.below(classes) as u8);
    let labels = g.constant(rows, Dtype::U8, labels.collect());
    let ignore = [None, Some(0)][choices.below(2)];
    let options = CrossEntropy {
        ignore,
        smoothing: 0.25 * choices.below(3) as f32,
    };
    Objective {
        losses: g.cross_entropy_with(logits, labels, options),
        hits: Some(g.hits(logits, labels)),
        counts: ignore.map(|ignore| g.counts(labels, ignore)),
    }
}

/// What a step changes by exactly the gradient.
fn plain() -> Training {
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    Training::new(optimizer, vec![1.0])
}

/// All that a training can have.
fn rich(number: u32) -> Training {
    let (beta1, beta2, epsilon, decay) = (0.9, 0.99, 1e-6, 0.1);
    let optimizer = match number % 3 {
        0 => Optimizer::Sgd {
            momentum: 0.9,
            decay,
        },
        1 => Optimizer::Adam {
            beta1,
            beta2,
            epsilon,
            decay,
        },
        _ => Optimizer::AdamW {
            beta1,
            beta2,
            epsilon,
            decay,
        },
    };
    Training {
        clip: Some(0.5),
        groups: vec![Group {
            names: vec![Pattern::new("*.bias")],
            decay: 0.3,
        }],
        ..Training::new(optimizer, vec![0.1, 0.2, 0.3, 0.4])
    }
}

fn architecture(number: u32, training: &Training) -> Built {
    let mut choices = Choices {
        stream: number,
        made: 0,
    };
    let mut model = Model::training(number as u64);
    let batch = choices.upto(3);
    let shape = match choices.below(3) {
        0 => vec![batch, choices.upto(7)],
        1 => vec![batch, choices.upto(5), choices.upto(6)],
        _ => vec![
            batch,
            3 + choices.below(4),
            3 + choices.below(4),
            choices.upto(4),
        ],
    };
    let input = Tensor::random(&shape, -1.0, 1.0, number);
    let input: Vec<f32> = input.data.iter().map(|&x| x as f32).collect();
    let mut x = model.graph.constant_f32(&shape, &input);
    x = model.linear("first", x, choices.upto(5), &Initial::xavier(3, 3));
    for k in 0..choices.upto(6) {
        x = layer(&mut model, x, &format!("{k}"), &mut choices, 0);
    }
    if choices.below(2) == 0 {
        x = model.graph.flatten(x, 1);
    }
    let classes = 2 + choices.below(4);
    let logits = model.linear("last", x, classes, &Initial::xavier(4, 4));
    let objective = objective(&mut model, logits, &mut choices);
    model.train(objective, training).unwrap()
}

fn inputs(built: &Built) -> Inputs {
    let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
    let constants = built.constants.iter();
    Inputs {
        seed: 9,
        datasets: vec![],
        constants: constants
            .map(|(hash, bytes)| (*hash, blob(bytes)))
            .collect(),
    }
}

/// The state after step 3.
fn step(built: &Built, state: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let values = eval::run(&built.program, 3, &inputs(built), state);
    values[built.program.next_state()].to_vec()
}

fn loss(built: &Built, state: &[Vec<u8>]) -> f64 {
    // Step 3 moves a metric that was 0 by a quarter of the step's value.
    4.0 * floats(&step(built, state)[built.slot(metric::LOSS).unwrap()])[0]
}

/// The state with its parameters moved by `length` along `direction`.
fn moved(built: &Built, state: &[Vec<u8>], direction: &[Tensor], length: f64) -> Vec<Vec<u8>> {
    let slots = built.slots.iter().zip(state).zip(direction);
    let moved = |((slot, bytes), direction): ((_, &Vec<u8>), &Tensor)| {
        let slot: &lockstep_graph::Slot = slot;
        if slot.kind != Kind::Parameter {
            return bytes.clone();
        }
        let elements = floats(bytes).into_iter().zip(&direction.data);
        elements
            .flat_map(|(x, d)| ((x + length * d) as f32).to_le_bytes())
            .collect()
    };
    slots.map(moved).collect()
}

#[test]
fn gradients_of_random_architectures_are_slopes_of_their_losses() {
    for number in 0..300 {
        let built = architecture(number, &plain());
        let random = |(k, slot): (usize, &lockstep_graph::Slot)| {
            Tensor::random(&slot.shape, -1.0, 1.0, 1000 * number + k as u32)
        };
        let direction: Vec<Tensor> = built.slots.iter().enumerate().map(random).collect();
        let before = built.genesis();
        let after = step(&built, &before);
        // The rate is 1: a parameter loses exactly its gradient.
        let mut along = 0.0;
        for (k, slot) in built.slots.iter().enumerate() {
            if slot.kind == Kind::Parameter {
                let (x, y) = (floats(&before[k]), floats(&after[k]));
                let gradient = x.iter().zip(&y).map(|(x, y)| x - y);
                along += gradient
                    .zip(&direction[k].data)
                    .map(|(g, d)| g * d)
                    .sum::<f64>();
            }
        }
        let length = 2e-3;
        let ends = [length, -length].map(|l| loss(&built, &moved(&built, &before, &direction, l)));
        let slope = (ends[0] - ends[1]) / (2.0 * length);
        assert!(
            (slope - along).abs() < 2e-3 * (1.0 + slope.abs()),
            "architecture {number}: slope {slope}, gradient {along}"
        );
    }
}

#[test]
fn the_cpu_engine_computes_every_node_of_random_architectures_as_the_protocol_does() {
    for number in 200..300 {
        let built = architecture(number, &rich(number));
        let job = Job {
            program: Arc::new(built.program.clone()),
            inputs: inputs(&built),
        };
        let mut engine = cpu::Cpu::new(job, cpu::Options::default()).unwrap();
        engine.load(&built.genesis()).unwrap();
        let want = eval::run(&built.program, 3, &inputs(&built), &built.genesis());
        engine.trace(3, &mut |node, bytes| {
            assert_eq!(
                bytes, want[node as usize],
                "architecture {number}, node {node}"
            );
        });
        engine.step(3);
        assert_eq!(
            engine.state(),
            want[built.program.next_state()],
            "architecture {number}"
        );
    }
}
