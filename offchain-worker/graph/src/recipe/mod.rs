//! Recipes: a model and its training as a TOML file.
//!
//! A recipe names its data, its layers, its loss, and how to train; [`Recipe::build`] turns it
//! into programs and files that a task is made of. Whatever is wrong is refused with its place.
//!
//! ```
//! # use lockstep_graph::recipe::Recipe;
//! let text = r#"
//! input = "image"                # the field that enters the first layer
//!
//! [data]
//! train = "train.bin"            # fixed-size records, relative to the recipe's folder
//! test = "test.bin"              # held-out records; may be left out
//!
//! [[data.field]]                 # what a record holds, in order and without gaps
//! name = "image"
//! dtype = "u8"                   # f32, i32, u32, u16, u8, i8; little-endian
//! count = 64
//! shape = [8, 8, 1]              # [height, width, channels]; one axis unless given
//! scale = 0.0625                 # enters the model as f32 times `scale` plus `shift`
//!
//! [[data.field]]
//! name = "label"
//! dtype = "u8"
//! count = 1
//!
//! [[layer]]                      # one for every variant of `Layer`
//! kind = "conv2d"
//! channels = 8
//! kernel = 3
//! padding = 1
//!
//! [[layer]]
//! kind = "flatten"
//!
//! [[layer]]
//! kind = "linear"
//! outputs = 10
//!
//! [loss]                         # or mean_squared_error
//! kind = "cross_entropy"
//! target = "label"
//!
//! [optimizer]                    # or sgd
//! kind = "adamw"
//! rate = 0.01
//! decay = 0.01
//!
//! [schedule]                     # constant, linear or cosine
//! kind = "cosine"
//! warmup = 20
//! end = 0.05
//!
//! [train]
//! batch = 64
//! steps = 300
//! segment = 50                   # steps between checkpoints
//! seed = 1
//! "#;
//! assert!(Recipe::from_toml(text).is_ok());
//! ```

mod data;
mod error;
mod layer;
mod sections;

pub use data::{Data, Dataset, Dtype, Field};
pub use error::Error;
pub use layer::{Layer, Size, Start};
pub use sections::{Decline, Evaluation, Loss, Optimizer, Schedule, Train};

use crate::{
    built::Built,
    model::Model,
    training::{Objective, Training},
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
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// How long to train.
    pub train: Train,
    /// How to evaluate.
    #[serde(default)]
    pub evaluation: Evaluation,
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
        self.train.check()?;
        self.schedule.check(self.train.steps)?;
        self.optimizer.check()?;
        self.data.check()?;
        self.layers()?;
        Ok(())
    }

    fn training(&self) -> Training {
        let (optimizer, peak) = self.optimizer.split();
        Training {
            optimizer,
            rates: self.schedule.rates(peak, self.train.steps),
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
