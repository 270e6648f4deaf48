//! ONNX files.

mod build;
mod builder;
mod call;
mod error;
mod fold;
mod movement;
mod operand;
mod ops;
mod proto;
mod read;
mod signature;
mod structure;
mod tables;
mod tensor;
mod wire;

pub use error::Error;
pub use tensor::Element;

use lockstep_graph::{Model, Pattern, Value};
use proto::NodeProto;
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};
use tensor::Tensor;

/// A model in a file: a forward pass and its weights.
pub struct Onnx {
    nodes: Vec<NodeProto>,
    weights: Vec<(String, Tensor)>,
    initialisers: Vec<Initialiser>,
    inputs: Vec<Declaration>,
    outputs: Vec<Declaration>,
    /// Names of tensors that are no parameters, where the exporter says so.
    untrained: HashSet<String>,
    /// What shows that the file was made for inference.
    optimised: Option<String>,
}

/// A tensor that the file holds: a weight, a running statistic or a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialiser {
    /// Its name, unique in the file: for a weight that of the PyTorch parameter.
    pub name: String,
    /// What its elements are.
    pub element: Element,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, unique among inputs or outputs.
    pub name: String,
    /// What its elements are.
    pub element: Element,
    /// Its dimensions, as far as the file says: a number, or a name such as `batch`.
    pub shape: Vec<Extent>,
}

/// One dimension of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is always this.
    Fixed(usize),
    /// Whoever runs the model decides, the same wherever this name stands.
    Named(String),
    /// The file does not say.
    Unknown,
}

/// How a model is built.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The names of weights that are never trained. They become constants of the program. A batch norm whose running statistics are frozen
    /// normalises by them.
    ///
    /// Buffers of a PyTorch module, such as a table of sines, are constants anyway in files of the
    /// dynamo exporter. The TorchScript exporter does not tell them from weights: name them here.
    pub frozen: Vec<Pattern>,
    /// Whether to train a file that its exporter prepared for inference, where batch norms may be
    /// folded into convolutions, weights that were equal merged, and shared ones untied.
    pub optimised: bool,
}

impl Onnx {
    /// Reads a file, with the data that lies beside it.
    ///
    /// # Errors
    /// When it cannot be read, is no model, holds what no model may hold, or is of an opset that
    /// is not supported (13 to 21 are).
    pub fn read(path: &Path) -> Result<Onnx, Error> {
        structure::onnx(read::model(path)?, &read::Folder::of(Some(path)))
    }

    /// Reads the bytes of a file that has all of its data within.
    ///
    /// # Errors
    /// Those of [`Onnx::read`], or that data lies in another file.
    pub fn decode(bytes: &[u8]) -> Result<Onnx, Error> {
        structure::onnx(read::decode(bytes)?, &read::Folder::of(None))
    }

    /// The names of the operations that can be built, by family.
    pub fn operations() -> impl Iterator<Item = &'static str> {
        ops::names()
    }

    /// What the caller of [`Onnx::build`] supplies.
    pub fn inputs(&self) -> &[Declaration] {
        &self.inputs
    }

    /// What [`Onnx::build`] returns.
    pub fn outputs(&self) -> &[Declaration] {
        &self.outputs
    }

    /// The tensors that the file holds.
    pub fn initialisers(&self) -> &[Initialiser] {
        &self.initialisers
    }

    /// How many rows the smallest table has from which the integers of an input pick rows, each
    /// as it is: a token or a category beyond it would read zeros. `None` where there is no such
    /// table.
    pub fn rows(&self, input: &str) -> Option<usize> {
        tables::rows(self, input)
    }

    /// Builds the forward pass on `inputs`, one value for each of [`Onnx::inputs`], and returns the
    /// outputs, both by name.
    ///
    /// Weights become parameters of the model, in the order of the file, under their names and
    /// with their values; running statistics of batch norms become buffers. A dimension that the
    /// file only names is that of the input. Whether the model is one for training or for
    /// evaluation ([`Model::training`], [`Model::evaluation`]) decides whether dropout drops and
    /// batch norms use the batch.
    ///
    /// # Errors
    /// When an input is missing, unknown, or does not fit, a name is taken in the model, a pattern
    /// of frozen names matches nothing, the file was made for inference and the model is to be
    /// trained, or a node cannot be built, which the error names.
    pub fn build(
        &self,
        model: &mut Model,
        inputs: &BTreeMap<String, Value>,
        options: &Options,
    ) -> Result<BTreeMap<String, Value>, Error> {
        build::build(self, model, inputs, options)
    }
}
