//! The sections of a recipe beside its data and its layers.

use super::{
    data::Inputs,
    error::{refuse, Error},
};
use crate::{graph::Value, model::Model, optimizer as rule, schedule, training::Objective};
use serde::Deserialize;

/// What the output is compared with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// The output holds a logit a class; the target field holds one label.
    CrossEntropy {
        /// The name of the label's field.
        target: String,
    },
    /// The output holds as many numbers as the target field.
    MeanSquaredError {
        /// The name of the target's field.
        target: String,
    },
}

/// An optimizer with its peak learning rate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// See [`rule::Optimizer::Sgd`].
    Sgd {
        /// Peak learning rate.
        rate: f32,
        /// Share of the moment that a step keeps.
        #[serde(default)]
        momentum: f32,
        /// Decay of weights.
        #[serde(default)]
        decay: f32,
    },
    /// See [`rule::Optimizer::AdamW`].
    Adamw {
        /// Peak learning rate.
        rate: f32,
        /// Share of the first moment that a step keeps.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Share of the second moment that a step keeps.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// Decay of weights.
        #[serde(default)]
        decay: f32,
    },
}

fn beta1() -> f32 {
    0.9
}

fn beta2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

/// A learning-rate schedule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The shape of the decline after the warm-up.
    #[serde(default)]
    pub kind: Decline,
    /// Steps of a linear rise from 0 to the peak.
    #[serde(default)]
    pub warmup: u32,
    /// The last step's share of the peak.
    #[serde(default)]
    pub end: f32,
}

/// The shape of a decline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decline {
    /// None.
    #[default]
    Constant,
    /// A straight line.
    Linear,
    /// Half a cosine.
    Cosine,
}

/// How long to train.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Records of a step.
    pub batch: u32,
    /// Steps of the task.
    pub steps: u32,
    /// Steps between checkpoints.
    pub segment: u32,
    /// Seed of the initial weights, the order of records, and dropout.
    pub seed: u64,
    /// The greatest length of the gradient; a longer one is scaled down.
    pub clip: Option<f32>,
}

/// How to evaluate on the test records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Records of a step, a divisor of the number of test records; the greatest up to 256 unless
    /// given.
    pub batch: Option<u32>,
}

impl Schedule {
    /// The rate of every step.
    pub(super) fn rates(&self, peak: f32, steps: u32) -> Vec<f32> {
        let end = self.end;
        let shape = match self.kind {
            Decline::Constant => schedule::Schedule::Constant,
            Decline::Linear => schedule::Schedule::Linear { end },
            Decline::Cosine => schedule::Schedule::Cosine { end },
        };
        shape.rates(peak, self.warmup, steps)
    }

    pub(super) fn check(&self, steps: u32) -> Result<(), Error> {
        refuse(
            self.warmup >= steps,
            "schedule.warmup",
            "set it below `train.steps`",
        )?;
        refuse(
            !(0.0..=1.0).contains(&self.end),
            "schedule.end",
            "set it to a share from 0 to 1 of the peak rate",
        )
    }
}

impl Train {
    pub(super) fn check(&self) -> Result<(), Error> {
        refuse(self.batch == 0, "train.batch", "set it to at least 1")?;
        refuse(self.steps == 0, "train.steps", "set it to at least 1")?;
        refuse(
            self.segment == 0 || self.segment > self.steps,
            "train.segment",
            "set it to at least 1 and at most `train.steps`",
        )?;
        let positive = |x: f32| x.is_finite() && x > 0.0;
        refuse(
            !self.clip.is_none_or(positive),
            "train.clip",
            "set it to a positive number or leave it out",
        )
    }
}

impl Optimizer {
    /// The optimizer and its peak learning rate.
    pub(super) fn split(&self) -> (rule::Optimizer, f32) {
        match *self {
            Optimizer::Sgd {
                rate,
                momentum,
                decay,
            } => (rule::Optimizer::Sgd { momentum, decay }, rate),
            Optimizer::Adamw {
                rate,
                beta1,
                beta2,
                epsilon,
                decay,
            } => {
                let optimizer = rule::Optimizer::AdamW {
                    beta1,
                    beta2,
                    epsilon,
                    decay,
                };
                (optimizer, rate)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        let weight = |x: f32| x.is_finite() && x >= 0.0;
        let (_, rate) = self.split();
        refuse(
            !(weight(rate) && rate > 0.0),
            "optimizer.rate",
            "set it to a positive number",
        )?;
        let (shares, decay, epsilon) = match *self {
            Optimizer::Sgd {
                momentum, decay, ..
            } => ([("optimizer.momentum", momentum); 2], decay, 1.0),
            Optimizer::Adamw {
                beta1,
                beta2,
                epsilon,
                decay,
                ..
            } => {
                let shares = [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)];
                (shares, decay, epsilon)
            }
        };
        for (place, x) in shares {
            refuse(!share(x), place, "set it to at least 0 and below 1")?;
        }
        refuse(
            !(weight(epsilon) && epsilon > 0.0),
            "optimizer.epsilon",
            "set it to a positive number",
        )?;
        refuse(!weight(decay), "optimizer.decay", "set it to at least 0")
    }
}

impl Loss {
    /// What the output is judged by; and the number of classes of a classifier.
    pub(super) fn apply(
        &self,
        model: &mut Model,
        inputs: &Inputs,
        output: Value,
    ) -> Result<(Objective, Option<usize>), Error> {
        let graph = &mut model.graph;
        let shape = graph.shape(output).to_vec();
        match self {
            Loss::CrossEntropy { target } => {
                let labels = inputs.value(graph, "loss.target", target, true)?;
                let &[batch, classes] = &shape[..] else {
                    let given = &shape[1..];
                    return Err(Error::at(
                        "loss",
                        format!(
                        "cross_entropy needs one row of logits a record and is given {given:?}: \
                         put a `flatten` and a `linear` last"
                    ),
                    ));
                };
                let count: usize = graph.shape(labels).iter().product();
                refuse(
                    count != batch,
                    "loss.target",
                    "name a field of one integer, its `count` being 1",
                )?;
                let labels = graph.reshape(labels, &[batch]);
                let objective = Objective {
                    losses: graph.cross_entropy(output, labels),
                    hits: Some(graph.hits(output, labels)),
                };
                Ok((objective, Some(classes)))
            }
            Loss::MeanSquaredError { target } => {
                let wanted = inputs.value(graph, "loss.target", target, false)?;
                let (want, have) = (
                    graph.shape(wanted).to_vec(),
                    shape.iter().product::<usize>(),
                );
                refuse(
                    want.iter().product::<usize>() != have,
                    "loss.target",
                    &format!("the output has shape {shape:?} and the target {want:?}, batch first"),
                )?;
                let rows = [shape[0], have / shape[0]];
                let (output, wanted) = (graph.reshape(output, &rows), graph.reshape(wanted, &rows));
                let error = graph.sub(output, wanted);
                let square = graph.mul(error, error);
                let losses = graph.mean(square, &[1]);
                Ok((Objective { losses, hits: None }, None))
            }
        }
    }
}
