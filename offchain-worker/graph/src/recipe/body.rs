//! What stands between a recipe's input and its loss: layers, or a model from a file.

use super::{
    error::{refuse, Error},
    layer::Layer,
    weights::Weights,
};
use crate::{graph::Value, model::Model};
use std::path::Path;

/// The forward pass of an [`Imported`] model: its output for an input, whose first axis is the
/// batch, or why there is none.
pub type Forward = dyn Fn(&mut Model, Value) -> Result<Value, String>;

/// A model that another framework wrote.
pub struct Imported {
    /// Whether its input is of integers.
    pub integers: bool,
    /// Rows of the smallest table that the integers of its input pick from, where there is one.
    pub rows: Option<usize>,
    /// Its forward pass.
    pub forward: Box<Forward>,
}

/// Reads a model's file, or says why it cannot.
pub type Importer = dyn Fn(&Path) -> Result<Imported, String>;

/// The importer of those who have none.
///
/// # Errors
/// Always.
pub fn no_importer(_: &Path) -> Result<Imported, String> {
    Err("models from files are not read here: list layers".into())
}

/// The place of a model's file in a recipe.
const PLACE: &str = "model";

pub(super) struct Body {
    parts: Parts,
    weights: Option<Weights>,
}

enum Parts {
    Layers(Vec<Layer>),
    Imported(Imported),
}

impl Body {
    /// The layers of a recipe, or the model in its file, one of which there must be; and what its
    /// weights begin with instead of what these say.
    pub fn new(
        layers: Vec<Layer>,
        file: Option<&Path>,
        weights: Option<Weights>,
        importer: &Importer,
    ) -> Result<Body, Error> {
        let parts = Parts::new(layers, file, importer)?;
        Ok(Body { parts, weights })
    }

    /// The output for an input.
    pub fn apply(&self, model: &mut Model, input: Value) -> Result<Value, Error> {
        let Some(weights) = &self.weights else {
            return self.parts.apply(model, input);
        };
        weights.supply(model);
        let output = self.parts.apply(model, input)?;
        weights.check(model)?;
        Ok(output)
    }

    /// Whether the input stays integers.
    pub fn reads_integers(&self) -> bool {
        match &self.parts {
            Parts::Layers(layers) => matches!(layers.first(), Some(Layer::Embedding { .. })),
            Parts::Imported(imported) => imported.integers,
        }
    }

    /// The rows of the smallest table that the input's integers pick from, and what to do when
    /// there are more of them; `None` where they pick from none.
    pub fn table(&self) -> Option<(usize, &'static str)> {
        match &self.parts {
            Parts::Layers(layers) => match layers.first() {
                Some(Layer::Embedding { rows, .. }) => {
                    Some((*rows, "raise `rows` of the embedding, or mend the data"))
                }
                _ => None,
            },
            Parts::Imported(imported) => {
                let remedy = "export a model with a larger embedding, or mend the data";
                imported.rows.map(|rows| (rows, remedy))
            }
        }
    }
}

impl Parts {
    fn new(layers: Vec<Layer>, file: Option<&Path>, importer: &Importer) -> Result<Parts, Error> {
        let Some(file) = file else {
            return Ok(Parts::Layers(layers));
        };
        refuse(
            !layers.is_empty(),
            PLACE,
            "name a model's file or list layers, not both",
        )?;
        let problem = |problem| Error::at(PLACE, format!("{}: {problem}", file.display()));
        Ok(Parts::Imported(importer(file).map_err(problem)?))
    }

    fn apply(&self, model: &mut Model, input: Value) -> Result<Value, Error> {
        match self {
            Parts::Layers(layers) => {
                let mut x = input;
                for (k, layer) in layers.iter().enumerate() {
                    x = layer.apply(model, x, &k.to_string(), &format!("layer {k}"))?;
                }
                Ok(x)
            }
            Parts::Imported(imported) => {
                (imported.forward)(model, input).map_err(|problem| Error::at(PLACE, problem))
            }
        }
    }
}
