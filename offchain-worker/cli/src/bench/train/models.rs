//! The models whose training steps are measured, on random records.
//!
//! `pytorch.py` trains the same models, layer by layer and number by number.

use crate::recipe::blobs;
use clap::ValueEnum;
use lockstep_engine::Job;
use lockstep_graph::{
    Attention, Built, Conv2d, Field, Initial, Model, Objective, Optimizer, Schedule, Training,
    Value,
};
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::Dtype;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Records of every dataset.
const RECORDS: usize = 512;
/// Steps for which there are learning rates.
pub const STEPS: u32 = 1 << 16;
/// Tokens of a text, numbers of a token, and characters that there are.
const TIME: usize = 128;
const WIDTH: usize = 256;
const CHARACTERS: usize = 256;

/// A training step and the bytes of its dataset.
pub struct Case {
    /// The training step.
    pub built: Built,
    /// The records.
    pub data: Vec<u8>,
}

/// The models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelName {
    /// A perceptron for images of 8 x 8 pixels: 64-128-64-10, batch 64, AdamW.
    Digits,
    /// A perceptron for images of 28 x 28 pixels: 784-1024-1024-10, batch 128, SGD with momentum.
    Mlp,
    /// A residual network for images of 32 x 32 pixels with batch norm: batch 32, SGD with
    /// momentum.
    Resnet,
    /// A language model of four blocks: width 256, 128 tokens, batch 8, AdamW.
    Gpt,
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModelName::Digits => "digits",
            ModelName::Mlp => "mlp",
            ModelName::Resnet => "resnet",
            ModelName::Gpt => "gpt",
        })
    }
}

/// The training step of a model.
pub fn case(model: ModelName) -> Case {
    match model {
        ModelName::Digits => perceptron(&[64, 128, 64, 10], 64, adamw()),
        ModelName::Mlp => perceptron(&[784, 1024, 1024, 10], 128, sgd()),
        ModelName::Resnet => resnet(),
        ModelName::Gpt => gpt(),
    }
}

impl Case {
    /// What an engine runs.
    pub fn job(&self) -> Job {
        Job {
            program: Arc::new(self.built.program.clone()),
            inputs: Inputs {
                seed: 1,
                datasets: vec![Arc::new(self.data.clone())],
                constants: blobs(&self.built.constants),
            },
        }
    }
}

fn sgd() -> Optimizer {
    Optimizer::Sgd {
        momentum: 0.9,
        decay: 0.0,
    }
}

fn adamw() -> Optimizer {
    Optimizer::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        decay: 0.01,
    }
}

/// The step that trains `model` to name `labels`, on records that `record` draws.
fn built(
    mut model: Model,
    [logits, labels]: [Value; 2],
    optimizer: Optimizer,
    record: impl FnMut(usize) -> Vec<u32>,
) -> Case {
    let losses = model.graph.cross_entropy(logits, labels);
    let rates = Schedule::Constant.rates(1e-3, 0, STEPS);
    let built = model.train(Objective::new(losses), &Training::new(optimizer, rates));
    let words = (0..RECORDS).flat_map(record);
    Case {
        built: built.expect("the models keep within the limits of programs"),
        data: words.flat_map(u32::to_le_bytes).collect(),
    }
}

/// A field of words in records of `width` words.
fn field(batch: usize, width: usize, offset: usize, count: usize, dtype: Dtype) -> Field {
    Field {
        dataset: 0,
        batch: batch as u32,
        record_size: 4 * width as u32,
        offset: 4 * offset as u32,
        count: count as u32,
        dtype,
    }
}

/// Records of `pixels` numbers in 0..1 and one of ten labels.
fn images(pixels: usize) -> impl FnMut(usize) -> Vec<u32> {
    let mut random = random();
    move |_| {
        let mut words: Vec<u32> = (0..pixels)
            .map(|_| ((random() >> 8) as f32 / (1 << 24) as f32).to_bits())
            .collect();
        words.push(random() % 10);
        words
    }
}

/// Words without a pattern, by G. Marsaglia's xorshift.
fn random() -> impl FnMut() -> u32 {
    let mut x = 0x9e37_79b9u32;
    move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    }
}

fn perceptron(widths: &[usize], batch: usize, optimizer: Optimizer) -> Case {
    let mut model = Model::training(1);
    let pixels = widths[0];
    let mut x = model
        .graph
        .field(field(batch, pixels + 1, 0, pixels, Dtype::F32));
    let labels = field(batch, pixels + 1, pixels, 1, Dtype::U32);
    let labels = model.graph.field(labels);
    let labels = model.graph.reshape(labels, &[batch]);
    for (k, &width) in widths.iter().enumerate().skip(1) {
        let initial = Initial::kaiming(widths[k - 1]);
        x = model.linear(&format!("{k}"), x, width, &initial);
        if k + 1 < widths.len() {
            x = model.graph.relu(x);
        }
    }
    built(model, [x, labels], optimizer, images(pixels))
}

/// A residual network for images of 32 x 32 pixels: three stages of two blocks each.
///
/// K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition (CVPR 2016),
/// section 4.2, with n = 2 and projections where the width changes.
fn resnet() -> Case {
    const BATCH: usize = 32;
    const PIXELS: usize = 32 * 32 * 3;
    let mut model = Model::training(1);
    let image = field(BATCH, PIXELS + 1, 0, PIXELS, Dtype::F32);
    let image = model.graph.field(image);
    let labels = field(BATCH, PIXELS + 1, PIXELS, 1, Dtype::U32);
    let labels = model.graph.field(labels);
    let labels = model.graph.reshape(labels, &[BATCH]);
    let image = model.graph.reshape(image, &[BATCH, 32, 32, 3]);
    let x = conv_norm(&mut model, "stem", image, 16, 3, 1);
    let mut x = model.graph.relu(x);
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..2 {
            let name = format!("{stage}.{block}");
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let y = conv_norm(&mut model, &format!("{name}.a"), x, channels, 3, stride);
            let y = model.graph.relu(y);
            let y = conv_norm(&mut model, &format!("{name}.b"), y, channels, 3, 1);
            let shortcut = match stride {
                1 => x,
                _ => conv_norm(&mut model, &format!("{name}.c"), x, channels, 1, stride),
            };
            let sum = model.graph.add(y, shortcut);
            x = model.graph.relu(sum);
        }
    }
    let pooled = model.graph.mean(x, &[1, 2]);
    let logits = model.linear("output", pooled, 10, &Initial::xavier(64, 10));
    built(model, [logits, labels], sgd(), images(PIXELS))
}

/// A convolution without a bias, its channels brought to mean 0 and variance 1 over the batch.
///
/// S. Ioffe, C. Szegedy: Batch normalization (ICML 2015).
fn conv_norm(
    model: &mut Model,
    name: &str,
    x: Value,
    channels: usize,
    kernel: usize,
    stride: usize,
) -> Value {
    let inputs = model.graph.shape(x)[3];
    let initial = Initial::kaiming(kernel * kernel * inputs);
    let weight = model.parameter(name, &[kernel, kernel, inputs, channels], &initial);
    let conv = Conv2d {
        stride: [stride, stride],
        padding: [kernel / 2, kernel / 2],
        ..Conv2d::default()
    };
    let y = model.graph.conv2d(x, weight, conv);
    let standard = model.graph.standardize(y, &[0, 1, 2], 1e-5);
    for (what, now) in [("mean", standard.mean), ("variance", standard.variance)] {
        let old = model.buffer(&format!("{name}.{what}"), &[channels], vec![0.0; channels]);
        let now = model.graph.reshape(now, &[channels]);
        let change = model.graph.sub(now, old);
        let share = model.graph.scalar(0.1);
        let next = model.graph.fma(change, share, old);
        model.update(old, next);
    }
    let gain = model.parameter(&format!("{name}.gain"), &[channels], &Initial::Ones);
    let bias = model.parameter(&format!("{name}.bias"), &[channels], &Initial::Zeros);
    model.graph.fma(standard.result, gain, bias)
}

/// Four blocks of causal attention with eight heads and a perceptron.
///
/// A. Radford et al.: Language models are unsupervised multitask learners (2019).
fn gpt() -> Case {
    const BATCH: usize = 8;
    let mut model = Model::training(1);
    let tokens = field(BATCH, TIME + 1, 0, TIME, Dtype::U32);
    let tokens = model.graph.field(tokens);
    let next = model
        .graph
        .field(field(BATCH, TIME + 1, 1, TIME, Dtype::U32));
    let x = model.embedding("tokens", tokens, CHARACTERS, WIDTH);
    let initial = Initial::xavier(TIME, WIDTH);
    let positions = model.parameter("positions", &[TIME, WIDTH], &initial);
    let mut x = model.graph.add(x, positions);
    for block in 0..4 {
        let y = model.layer_norm(&format!("{block}.a"), x);
        let attention = Attention {
            heads: 8,
            causal: true,
            dropout: 0.0,
            lora: None,
        };
        let y = model.attention(&format!("{block}.attention"), y, attention);
        x = model.graph.add(x, y);
        let y = model.layer_norm(&format!("{block}.b"), x);
        let (wide, narrow) = (Initial::kaiming(WIDTH), Initial::xavier(4 * WIDTH, WIDTH));
        let y = model.linear(&format!("{block}.up"), y, 4 * WIDTH, &wide);
        let y = model.graph.gelu(y);
        let y = model.linear(&format!("{block}.down"), y, WIDTH, &narrow);
        x = model.graph.add(x, y);
    }
    let x = model.layer_norm("last", x);
    let initial = Initial::xavier(WIDTH, CHARACTERS);
    let logits = model.linear("output", x, CHARACTERS, &initial);
    let mut random = random();
    let text = |_| (0..=TIME).map(|_| random() % CHARACTERS as u32).collect();
    built(model, [logits, next], adamw(), text)
}
