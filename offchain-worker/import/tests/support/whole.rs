//! The whole way of a file of unknown origin: bytes, model, graph, gradients, program.

use lockstep_graph::{Field, Model, Objective, Optimizer, Training, Value};
use lockstep_import::{Element, Error, Extent, Onnx, Options};
use lockstep_protocol::program::Dtype;
use std::collections::BTreeMap;

/// Reads, builds, differentiates and lowers; the error where there is one.
pub fn import(bytes: &[u8]) -> Result<(), Error> {
    let onnx = Onnx::decode(bytes)?;
    let mut model = Model::training(1);
    let inputs = inputs(&onnx, &mut model);
    let outputs = onnx.build(&mut model, &inputs, &Options::default())?;
    train(model, outputs);
    Ok(())
}

/// Values of the declared shapes, free extents being 3, whatever the model says.
fn inputs(onnx: &Onnx, model: &mut Model) -> BTreeMap<String, Value> {
    let mut inputs = BTreeMap::new();
    for input in onnx.inputs() {
        let extent = |extent: &Extent| match extent {
            Extent::Fixed(n) => *n,
            _ => 3,
        };
        let shape: Vec<usize> = input.shape.iter().map(extent).collect();
        let size = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let Some(size @ 1..=0x3fff_ffff) = size else {
            continue;
        };
        if shape.len() > 8 {
            continue;
        }
        let dtype = match input.element {
            Element::Float => Dtype::F32,
            _ => Dtype::U32,
        };
        let value = model.graph.field(Field {
            dataset: 0,
            batch: 1,
            record_size: 4 * size as u32,
            offset: 0,
            count: size as u32,
            dtype,
        });
        inputs.insert(input.name.clone(), model.graph.reshape(value, &shape));
    }
    inputs
}

/// Differentiates and lowers, which may be refused in turn but never panics.
fn train(mut model: Model, outputs: BTreeMap<String, Value>) {
    let graph = &mut model.graph;
    let mut losses = graph.scalar(0.0);
    for value in outputs.into_values() {
        if graph.dtype(value) != Dtype::F32 {
            continue;
        }
        let axes: Vec<usize> = (0..graph.shape(value).len()).collect();
        let sum = graph.sum(value, &axes);
        losses = graph.add(losses, sum);
    }
    let losses = graph.reshape(losses, &[1]);
    let optimizer = Optimizer::Sgd {
        momentum: 0.0,
        decay: 0.0,
    };
    let _ = model.train(Objective::new(losses), &Training::new(optimizer, vec![0.1]));
}
