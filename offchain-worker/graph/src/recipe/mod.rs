//! Recipes: a model and its training as a TOML file.
//!
//! A recipe names its data, its layers, its loss, and how to train; [`Recipe::build`] turns it
//! into programs and files that a task is made of. Whatever is wrong is refused with its place.

mod data;
mod error;
mod layer;

pub use data::{Data, Dataset, Dtype, Field};
pub use error::Error;
pub use layer::{Layer, Size};

use crate::{
    built::Built, graph::Value, model::Model, optimizer::Optimizer, schedule::Schedule,
    training::Objective, training::Training,
};
use data::Inputs;
use error::refuse;
use serde::Deserialize;
use std::path::Path;

/// A model and its training.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where records are and what they hold.
    pub data: Data,
    /// The name of the field that enters the first layer.
    pub input: String,
    /// The layers, from the input to the output.
    #[serde(rename = "layer", default)]
    layers: Vec<toml::Table>,
    /// What the output is compared with.
    pub loss: Loss,
    /// From gradients to parameters.
    pub optimizer: Rule,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Decline,
    /// How long to train.
    pub train: Train,
    /// How to evaluate.
    #[serde(default)]
    pub evaluation: Evaluation,
}

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
pub enum Rule {
    /// See [`Optimizer::Sgd`].
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
    /// See [`Optimizer::AdamW`].
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
pub struct Decline {
    /// The shape of the decline after the warm-up.
    #[serde(default)]
    pub kind: DeclineKind,
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
pub enum DeclineKind {
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

/// All that a task is made of.
#[derive(Clone, Debug)]
pub struct Task {
    /// The training step.
    pub built: Built,
    /// The pass over the test records, when there are any.
    pub evaluation: Option<Pass>,
    /// The training records.
    pub train: Dataset,
    /// Bytes of a record.
    pub record_size: u32,
    /// Records of a step.
    pub batch: u32,
    /// Steps of the task.
    pub steps: u32,
    /// Steps between checkpoints.
    pub segment: u32,
    /// The task's seed.
    pub seed: u64,
}

/// A pass over held-out records.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The evaluation step.
    pub built: Built,
    /// The test records, dataset 0 of the pass.
    pub test: Dataset,
    /// How many steps read every record once.
    pub steps: u32,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// Where and why the text is not a recipe.
    pub fn from_toml(text: &str) -> Result<Recipe, Error> {
        let recipe: Recipe = toml::from_str(text)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Builds the programs and reads the data, whose paths are relative to `folder`.
    ///
    /// # Errors
    /// What is wrong with the layers or the data, and where.
    pub fn build(&self, folder: &Path) -> Result<Task, Error> {
        let layers = self.layers()?;
        let train = self.data.open(folder, "data.train", &self.data.train)?;
        let test = match &self.data.test {
            Some(path) => Some(self.data.open(folder, "data.test", path)?),
            None => None,
        };
        let mut model = Model::training(self.train.seed);
        let (objective, classes) = self.objective(&mut model, &layers, self.train.batch)?;
        self.check_labels(&layers, classes, &train)?;
        let built = model.train(objective, &self.training())?;
        let evaluation = match test {
            Some(test) => {
                self.check_labels(&layers, classes, &test)?;
                Some(self.pass(&layers, test)?)
            }
            None => None,
        };
        Ok(Task {
            built,
            evaluation,
            record_size: self.data.record_size(),
            train,
            batch: self.train.batch,
            steps: self.train.steps,
            segment: self.train.segment,
            seed: self.train.seed,
        })
    }

    /// The layers, from the input to the output.
    ///
    /// # Errors
    /// The first one that is malformed.
    pub fn layers(&self) -> Result<Vec<Layer>, Error> {
        Layer::list(&self.layers, "layer")
    }

    fn check(&self) -> Result<(), Error> {
        let Train {
            batch,
            steps,
            segment,
            clip,
            ..
        } = self.train;
        refuse(batch == 0, "train.batch", "set it to at least 1")?;
        refuse(steps == 0, "train.steps", "set it to at least 1")?;
        refuse(
            segment == 0 || segment > steps,
            "train.segment",
            "set it to at least 1 and at most `train.steps`",
        )?;
        let positive = |x: f32| x.is_finite() && x > 0.0;
        refuse(
            !clip.is_none_or(positive),
            "train.clip",
            "set it to a positive number or leave it out",
        )?;
        let Decline { warmup, end, .. } = self.schedule;
        refuse(
            warmup >= steps,
            "schedule.warmup",
            "set it below `train.steps`",
        )?;
        refuse(
            !(0.0..=1.0).contains(&end),
            "schedule.end",
            "set it to a share from 0 to 1 of the peak rate",
        )?;
        self.optimizer.check()?;
        self.data.check()?;
        self.layers()?;
        Ok(())
    }

    fn training(&self) -> Training {
        let (optimizer, peak) = self.optimizer.split();
        let Decline { kind, warmup, end } = self.schedule;
        let schedule = match kind {
            DeclineKind::Constant => Schedule::Constant,
            DeclineKind::Linear => Schedule::Linear { end },
            DeclineKind::Cosine => Schedule::Cosine { end },
        };
        Training {
            optimizer,
            rates: schedule.rates(peak, warmup, self.train.steps),
            clip: self.train.clip,
        }
    }

    /// The layers and the loss over a batch; and the number of classes of a classifier.
    fn objective(
        &self,
        model: &mut Model,
        layers: &[Layer],
        batch: u32,
    ) -> Result<(Objective, Option<usize>), Error> {
        let inputs = Inputs::new(&self.data, batch);
        let integers = matches!(layers.first(), Some(Layer::Embedding { .. }));
        let mut x = inputs.value(&mut model.graph, "input", &self.input, integers)?;
        for (k, layer) in layers.iter().enumerate() {
            x = layer.apply(model, x, &k.to_string(), &format!("layer {k}"))?;
        }
        self.loss.apply(model, &inputs, x)
    }

    fn pass(&self, layers: &[Layer], test: Dataset) -> Result<Pass, Error> {
        let records = test.records;
        let divides = |batch: &u32| *batch > 0 && records.is_multiple_of(*batch as u64);
        let batch = match self.evaluation.batch {
            Some(batch) => batch,
            None => (1..=256).rev().find(divides).expect("1 divides everything"),
        };
        refuse(
            !divides(&batch),
            "evaluation.batch",
            &format!("set it to a divisor of the {records} test records, or leave it out"),
        )?;
        let steps = u32::try_from(records / batch as u64).map_err(|_| {
            let problem = "the pass would have 2^32 steps or more: set a greater divisor";
            Error::at("evaluation.batch", problem)
        })?;
        let mut model = Model::evaluation(self.train.seed);
        let (objective, _) = self.objective(&mut model, layers, batch)?;
        Ok(Pass {
            built: model.evaluate(objective)?,
            test,
            steps,
        })
    }

    /// Every label names a class, every id a row of the embedding.
    fn check_labels(
        &self,
        layers: &[Layer],
        classes: Option<usize>,
        dataset: &Dataset,
    ) -> Result<(), Error> {
        if let (Some(classes), Loss::CrossEntropy { target }) = (classes, &self.loss) {
            let remedy = "give the last layer an output for every label, or mend the data";
            self.data
                .check_range(dataset, target, classes, "class", remedy)?;
        }
        if let Some(Layer::Embedding { rows, .. }) = layers.first() {
            let remedy = "raise `rows` of the embedding, or mend the data";
            self.data
                .check_range(dataset, &self.input, *rows, "row", remedy)?;
        }
        Ok(())
    }
}

impl Rule {
    fn split(&self) -> (Optimizer, f32) {
        match *self {
            Rule::Sgd {
                rate,
                momentum,
                decay,
            } => (Optimizer::Sgd { momentum, decay }, rate),
            Rule::Adamw {
                rate,
                beta1,
                beta2,
                epsilon,
                decay,
            } => {
                let optimizer = Optimizer::AdamW {
                    beta1,
                    beta2,
                    epsilon,
                    decay,
                };
                (optimizer, rate)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        let weight = |x: f32| x.is_finite() && x >= 0.0;
        let (_, rate) = self.split();
        refuse(
            !(weight(rate) && rate > 0.0),
            "optimizer.rate",
            "set it to a positive number",
        )?;
        let (shares, decay, epsilon) = match *self {
            Rule::Sgd {
                momentum, decay, ..
            } => ([("optimizer.momentum", momentum); 2], decay, 1.0),
            Rule::Adamw {
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
    fn apply(
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
