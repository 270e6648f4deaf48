//! Single operations: values and gradients against those that PyTorch computed in f64.

mod support;

use lockstep_graph::{Model, Value};
use lockstep_import::{Element, Onnx, Options};
use lockstep_protocol::program::Dtype;
use std::{collections::BTreeMap, path::Path};
use support::{fixtures, Bench, Recording};

/// Values agree within this, relative to the greatest of a tensor.
const FORWARD: f64 = 1e-5;
/// So do gradients.
const BACKWARD: f64 = 1e-4;

fn check(path: &Path) -> Result<(), String> {
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
    let constants = constants.filter(|_| torchscript).map(str::to_string);
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
    let mut looked_at = vec![];
    for buffer in model.buffers() {
        bench.state(buffer.state, buffer.value, &buffer.initial);
        let name = format!("buffer.{}", buffer.name);
        looked_at.push((name, buffer.next, FORWARD));
    }
    let y = outputs["y"];
    let graph = &mut model.graph;
    let cotangent = recording.get("cotangent.y");
    if graph.shape(y) != cotangent.shape {
        return Err(format!(
            "shape {:?}, not {:?}",
            graph.shape(y),
            cotangent.shape
        ));
    }
    assert_eq!(graph.dtype(y), Dtype::F32);
    let cotangent = graph.constant_f32(&cotangent.shape, &cotangent.floats());
    let weighted = graph.mul(y, cotangent);
    let axes: Vec<usize> = (0..graph.shape(y).len()).collect();
    let loss = graph.sum(weighted, &axes);
    let values: Vec<Value> = leaves.iter().map(|(_, value)| *value).collect();
    let gradients = graph.gradients(loss, &values);
    looked_at.push(("output.y".into(), y, FORWARD));
    for ((name, _), gradient) in leaves.into_iter().zip(gradients) {
        looked_at.push((format!("gradient.{name}"), gradient, BACKWARD));
    }
    let values: Vec<Value> = looked_at.iter().map(|(_, value, _)| *value).collect();
    let results = bench.run(graph, &values);
    for ((name, _, tolerance), got) in looked_at.iter().zip(results) {
        recording.compare(name, &got, *tolerance, 1e-2)?;
    }
    let recorded = recording.names().filter(|n| {
        let (kind, _) = n.split_once('.').unwrap();
        matches!(kind, "output" | "gradient" | "buffer")
    });
    let mut recorded = recorded.map(str::to_string);
    let unseen = recorded.find(|n| !looked_at.iter().any(|(name, ..)| name == n));
    match unseen {
        Some(name) => Err(format!("{name} was recorded and is not in the model")),
        None => Ok(()),
    }
}

#[test]
fn operations_compute_what_pytorch_computes_and_so_do_their_gradients() {
    let files = fixtures("ops", "onnx");
    assert!(files.len() > 100, "{} files", files.len());
    let mut failures = vec![];
    for path in &files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if let Err(reason) = check(path) {
            failures.push(format!("{name}: {reason}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
