//! A recorded operation as a graph: its value and its gradients beside what PyTorch computed.

use super::{Bench, Recording};
use lockstep_graph::{Graph, Model, Pattern, Value};
use lockstep_import::{Element, Onnx, Options};
use lockstep_protocol::program::Dtype;
use std::{collections::BTreeMap, path::Path};

/// Values agree within this, relative to the greatest of a tensor.
const FORWARD: f64 = 1e-5;
/// So do gradients.
const BACKWARD: f64 = 1e-4;

/// A value that PyTorch recorded too.
pub struct Watched {
    pub name: String,
    pub value: Value,
    pub tolerance: f64,
}

/// An operation in the making, with its inputs and weights as state.
pub struct Operation {
    pub recording: Recording,
    pub model: Model,
    pub bench: Bench,
    /// The output and what buffers become.
    pub values: Vec<Watched>,
    /// Inputs and weights that have gradients.
    leaves: Vec<(String, Value)>,
    y: Value,
}

impl Operation {
    /// The operation in an ONNX file that has a recording beside it.
    pub fn read(path: &Path) -> Result<Operation, String> {
        let onnx = Onnx::read(path).map_err(|reason| reason.to_string())?;
        let recording = Recording::read(&path.with_extension("safetensors"));
        let mut model = Model::training(1);
        let mut bench = Bench::default();
        let mut inputs = BTreeMap::new();
        let mut leaves: Vec<(String, Value)> = vec![];
        for input in onnx.inputs() {
            let tensor = recording.get(&format!("input.{}", input.name));
            let value = bench.input(&mut model.graph, tensor);
            inputs.insert(input.name.clone(), value);
            if input.element == Element::Float {
                leaves.push((input.name.clone(), value));
            }
        }
        // Only the dynamo exporter says which tensors are no parameters.
        let constants = recording
            .names()
            .filter_map(|n| n.strip_prefix("constant."));
        let torchscript = path.to_string_lossy().contains("-torchscript");
        let constants = constants.filter(|_| torchscript).map(Pattern::new);
        let options = Options {
            frozen: constants.collect(),
            ..Options::default()
        };
        let outputs = onnx.build(&mut model, &inputs, &options);
        let outputs = outputs.map_err(|reason| reason.to_string())?;
        for parameter in model.parameters() {
            bench.state(parameter.state, parameter.value, &parameter.initial);
            leaves.push((parameter.name.clone(), parameter.value));
        }
        let y = outputs["y"];
        let mut values = vec![Watched::new("output.y", y, FORWARD)];
        for buffer in model.buffers() {
            bench.state(buffer.state, buffer.value, &buffer.initial);
            let name = format!("buffer.{}", buffer.name);
            values.push(Watched::new(&name, buffer.next, FORWARD));
        }
        let (got, want) = (model.graph.shape(y), &recording.get("cotangent.y").shape);
        if got != want {
            return Err(format!("shape {got:?}, not {want:?}"));
        }
        assert_eq!(model.graph.dtype(y), Dtype::F32);
        Ok(Operation {
            recording,
            model,
            bench,
            values,
            leaves,
            y,
        })
    }

    /// The gradients of the output's product with the recorded cotangent.
    pub fn gradients(&mut self) -> Vec<Watched> {
        let graph: &mut Graph = &mut self.model.graph;
        let cotangent = self.recording.get("cotangent.y");
        let cotangent = graph.constant_f32(&cotangent.shape, &cotangent.floats());
        let weighted = graph.mul(self.y, cotangent);
        let axes: Vec<usize> = (0..graph.shape(self.y).len()).collect();
        let loss = graph.sum(weighted, &axes);
        let leaves: Vec<Value> = self.leaves.iter().map(|(_, value)| *value).collect();
        let gradients = graph.gradients(loss, &leaves).into_iter();
        let names = self.leaves.iter().map(|(name, _)| name);
        let watched = |(name, value)| Watched::new(&format!("gradient.{name}"), value, BACKWARD);
        names.zip(gradients).map(watched).collect()
    }
}

impl Watched {
    fn new(name: &str, value: Value, tolerance: f64) -> Watched {
        Watched {
            name: name.to_string(),
            value,
            tolerance,
        }
    }
}
