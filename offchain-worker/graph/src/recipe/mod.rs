//! Recipes: a model and its training as a TOML file.
//!
//! A recipe names its data, its layers, its loss, and how to train; [`Recipe::build`] turns it
//! into programs and files that a task is made of. Whatever is wrong is refused with its place.
//! The commented recipe in `examples/recipe.toml`:
//!
//! ```toml
#![doc = include_str!("../../../../examples/recipe.toml")]
//! ```

mod alphabet;
mod body;
mod data;
mod error;
mod inputs;
mod language;
mod layer;
mod loss;
mod sections;
mod weights;

pub use alphabet::{Alphabet, Unknown};
pub use body::{no_importer, Forward, Imported, Importer};
pub use data::{Columns, Data, Dtype, Field, Files, Tokens};
pub use error::Error;
pub use language::LanguageModel;
pub use layer::{Layer, Size, Start};
pub use lockstep_data::Dataset;
pub use loss::Loss;
pub use sections::{Decline, Evaluation, Group, Moments, Optimizer, Schedule, Train};

use crate::{
    built::Built,
    held_out::HeldOut,
    model::Model,
    pattern::Pattern,
    quantised::Precision,
    training::{Objective, Training},
};
use body::Body;
use data::Records;
use error::refuse;
use inputs::{Inputs, Rule};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use weights::Weights;

/// A model and its training.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where records are and what they hold.
    pub data: Data,
    /// The name of the field that enters the first layer.
    pub input: String,
    /// The file of the model that another framework wrote, instead of layers.
    pub model: Option<PathBuf>,
    /// A `.safetensors` or `.npz` file of what weights begin with, by their names.
    pub weights: Option<PathBuf>,
    /// In which numbers linear layers multiply that say nothing of their own.
    #[serde(default)]
    pub precision: Precision,
    /// The layers, from the input to the output.
    #[serde(rename = "layer", default)]
    layers: Vec<toml::Table>,
    /// What the output is compared with.
    pub loss: Loss,
    /// From gradients to parameters.
    pub optimizer: Optimizer,
    /// Parameters that are trained otherwise than the rest.
    #[serde(rename = "group", default)]
    pub groups: Vec<Group>,
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
    /// Steps of the task, those of its evaluation among them.
    pub steps: u32,
    /// The evaluation in the task's last steps, when there is one.
    pub held_out: Option<HeldOut>,
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
        self.build_with(folder, &no_importer)
    }

    /// Builds the programs and reads the data and the model, whose paths are relative to `folder`.
    ///
    /// # Errors
    /// What is wrong with the layers, the model or the data, and where.
    pub fn build_with(&self, folder: &Path, importer: &Importer) -> Result<Task, Error> {
        let body = self.body(folder, importer)?;
        let records = self.data.open(folder)?;
        let steps = self.train.steps_on(records.train.records)?;
        self.train.check_steps(&self.schedule, steps)?;
        let held_out = self.held_out(steps, &records)?;
        let seed = self.train.seed;
        let mut model = self.start(match held_out {
            Some(held_out) => Model::training_then(seed, held_out),
            None => Model::training(seed),
        });
        let (objective, classes) = self.objective(&mut model, &body, &records, self.train.batch)?;
        self.check_groups(&model)?;
        let datasets = [
            ("data.train", Some(&records.train)),
            ("data.test", records.test.as_ref()),
        ];
        for (place, dataset) in datasets {
            if let Some(dataset) = dataset {
                self.check_numbers(&body, classes, &records, (place, dataset))?;
            }
        }
        let built = model.train(objective, &self.training(folder, steps)?)?;
        let evaluation = match &records.test {
            Some(test) => Some(self.pass(&body, &records, test)?),
            None => None,
        };
        Ok(Task {
            built,
            evaluation,
            record_size: records.layout.record_size(),
            train: records.train,
            batch: self.train.batch,
            steps: steps + held_out.map_or(0, |held_out| held_out.steps()),
            held_out,
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

    fn body(&self, folder: &Path, importer: &Importer) -> Result<Body, Error> {
        let file = self.model.as_ref().map(|file| folder.join(file));
        let weights = self.weights.as_ref();
        let weights = weights.map(|file| Weights::read(&folder.join(file)));
        Body::new(
            self.layers()?,
            file.as_deref(),
            weights.transpose()?,
            importer,
        )
    }

    fn check(&self) -> Result<(), Error> {
        self.train.check()?;
        self.schedule.check()?;
        if let Some(steps) = self.train.steps {
            self.train.check_steps(&self.schedule, steps)?;
        }
        self.optimizer.check(&self.schedule)?;
        self.loss.check()?;
        for (k, group) in self.groups.iter().enumerate() {
            group.check(&format!("group {k}"))?;
        }
        self.data.check()?;
        self.layers()?;
        Ok(())
    }

    fn training(&self, folder: &Path, steps: u32) -> Result<Training, Error> {
        let (optimizer, peak) = self.optimizer.split();
        Ok(Training {
            rates: self.schedule.rates(folder, peak, steps)?,
            optimizer,
            clip: self.train.clip,
            groups: self.groups.iter().filter_map(Group::decay).collect(),
        })
    }

    /// The model before its first layer.
    fn start(&self, mut model: Model) -> Model {
        model.precision = self.precision;
        let frozen = self.groups.iter().filter(|group| group.frozen);
        let names: Vec<Pattern> = frozen.flat_map(Group::patterns).collect();
        model.freeze(&names);
        model
    }

    /// Every name of a group is that of a parameter, and something is trained.
    fn check_groups(&self, model: &Model) -> Result<(), Error> {
        let trained = model.parameters().iter().map(|p| &p.name[..]);
        let names: Vec<&str> = trained.chain(model.frozen_names()).collect();
        for (k, group) in self.groups.iter().enumerate() {
            for pattern in group.patterns() {
                refuse(
                    !names.iter().any(|name| pattern.matches(name)),
                    &format!("group {k}"),
                    &format!(
                        "{:?} names no parameter: name some of {names:?}",
                        pattern.to_string()
                    ),
                )?;
            }
        }
        refuse(
            model.parameters().is_empty(),
            "layer",
            "no parameter is trained: add a layer that has some, or freeze fewer",
        )
    }

    /// The model and the loss over a batch; and the number of classes of a classifier.
    fn objective(
        &self,
        model: &mut Model,
        body: &Body,
        records: &Records,
        batch: u32,
    ) -> Result<(Objective, Option<usize>), Error> {
        let inputs = Inputs::new(&self.data, records, batch).with_held_out(model.held_out());
        let integers = body.reads_integers();
        let input = inputs.value(&mut model.graph, "input", &self.input, integers)?;
        let output = body.apply(model, input)?;
        self.loss.apply(model, &inputs, output)
    }

    /// The evaluation after `begins` steps of training, when the recipe asks for one.
    fn held_out(&self, begins: u32, records: &Records) -> Result<Option<HeldOut>, Error> {
        const PLACE: &str = "evaluation.proven";
        if !self.evaluation.proven {
            return Ok(None);
        }
        let Some(test) = &records.test else {
            let problem = "there are no test records: set `data.test` or `data.held_out`";
            return Err(Error::at(PLACE, problem));
        };
        let held_out = u32::try_from(test.records).ok().map(|records| HeldOut {
            begins,
            batch: self.train.batch,
            records,
        });
        let fits = |h: &HeldOut| begins.checked_add(h.steps()).is_some();
        let problem = "there are too many test records: hold out fewer";
        match held_out.filter(fits) {
            Some(held_out) => Ok(Some(held_out)),
            None => Err(Error::at(PLACE, problem)),
        }
    }

    fn pass(&self, body: &Body, data: &Records, test: &Dataset) -> Result<Pass, Error> {
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
        let mut model = self.start(Model::evaluation(self.train.seed));
        let (objective, _) = self.objective(&mut model, body, data, batch)?;
        Ok(Pass {
            built: model.evaluate(objective)?,
            test: test.clone(),
            steps,
        })
    }

    /// Every label names a class, every id a row of the embedding.
    fn check_numbers(
        &self,
        body: &Body,
        classes: Option<usize>,
        records: &Records,
        dataset: (&str, &Dataset),
    ) -> Result<(), Error> {
        if let Some((target, rule)) = self.loss.rule(classes) {
            rule.check(&self.data, records, dataset, target)?;
        }
        if let Some(rows) = body.rows() {
            let rule = Rule::Below {
                limit: rows,
                or: None,
                what: "row",
                remedy: "raise `rows` of the embedding, or mend the data",
            };
            rule.check(&self.data, records, dataset, &self.input)?;
        }
        Ok(())
    }
}
