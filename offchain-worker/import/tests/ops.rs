//! Single operations: values and gradients against those that PyTorch computed in f64.

mod support;

use lockstep_graph::Value;
use std::path::Path;
use support::{fixtures, operation::Operation};

fn check(path: &Path) -> Result<(), String> {
    let mut operation = Operation::read(path)?;
    let gradients = operation.gradients();
    let Operation {
        recording,
        mut model,
        bench,
        mut values,
        ..
    } = operation;
    values.extend(gradients);
    let outputs: Vec<Value> = values.iter().map(|watched| watched.value).collect();
    let results = bench.run(&mut model.graph, &outputs);
    for (watched, got) in values.iter().zip(results) {
        recording.compare(&watched.name, &got, watched.tolerance, 1e-2)?;
    }
    let recorded = recording.names().filter(|n| {
        let (kind, _) = n.split_once('.').unwrap();
        matches!(kind, "output" | "gradient" | "buffer")
    });
    let mut recorded = recorded.map(str::to_string);
    let unseen = recorded.find(|n| !values.iter().any(|watched| watched.name == *n));
    match unseen {
        Some(name) => Err(format!("{name} was recorded and is not in the model")),
        None => Ok(()),
    }
}

#[test]
fn operations_compute_what_pytorch_computes_and_so_do_their_gradients() {
    let files = fixtures("ops", "onnx");
    assert!(files.len() > 100, "{} files", files.len());
    support::each(&files, check);
}
