//! What becomes of weights, buffers and files that were made for inference.

mod support;

use lockstep_graph::{Built, Field, Kind, Model, Objective, Optimizer, Precision, Training, Value};
use lockstep_import::{Element, Extent, Onnx, Options};
use lockstep_protocol::program::{Dtype, Node, Source};
use std::{collections::BTreeMap, path::Path};
use support::{onnx::Graph, Recording};

fn read(name: &str) -> Onnx {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Onnx::read(&fixtures.join(name)).unwrap()
}

/// Floats of this shape from a dataset.
fn floats(model: &mut Model, shape: &[usize]) -> Value {
    let count = shape[1..].iter().product::<usize>() as u32;
    let value = model.graph.field(Field {
        dataset: 0,
        batch: shape[0] as u32,
        record_size: 4 * count,
        offset: 0,
        count,
        dtype: Dtype::F32,
    });
    model.graph.reshape(value, shape)
}

/// Builds a model on an input of this shape.
fn build(
    onnx: &Onnx,
    mut model: Model,
    shape: &[usize],
    options: &Options,
) -> Result<(Model, Value), String> {
    let x = floats(&mut model, shape);
    let inputs = BTreeMap::from([("x".to_string(), x)]);
    let outputs = onnx.build(&mut model, &inputs, options);
    let outputs = outputs.map_err(|reason| reason.to_string())?;
    Ok((model, outputs["y"]))
}

fn train((mut model, y): (Model, Value)) -> Built {
    let axes: Vec<usize> = (1..model.graph.shape(y).len()).collect();
    let losses = model.graph.mean(y, &axes);
    let training = Training::new(
        Optimizer::Sgd {
            momentum: 0.0,
            decay: 0.0,
        },
        vec![0.1],
    );
    model.train(Objective::new(losses), &training).unwrap()
}

fn names(built: &Built, kind: Kind) -> Vec<&str> {
    let slots = built.slots.iter().filter(|slot| slot.kind == kind);
    slots.map(|slot| &slot.name[..]).collect()
}

fn frozen(patterns: &[&str]) -> Options {
    Options {
        frozen: patterns.iter().map(|p| p.to_string()).collect(),
        optimised: false,
    }
}

#[test]
fn a_file_says_what_goes_in_what_comes_out_and_what_it_holds() {
    let onnx = read("models/lenet.onnx");
    let [input] = onnx.inputs() else {
        panic!("{:?}", onnx.inputs());
    };
    assert_eq!((&input.name[..], input.element), ("x", Element::Float));
    assert_eq!(input.shape[0], Extent::Named("batch".into()));
    assert_eq!(input.shape[1..], [1, 8, 8].map(Extent::Fixed));
    assert_eq!(onnx.outputs()[0].name, "y");
    let first = &onnx.initialisers()[0];
    assert_eq!(
        (&first.name[..], &first.shape[..]),
        ("0.weight", &[6, 1, 3, 3][..])
    );
}

#[test]
fn weights_are_parameters_with_their_values_and_running_statistics_are_buffers() {
    let onnx = read("ops/batch_norm.onnx");
    let recording = Recording::read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ops/batch_norm.safetensors"),
    );
    let built = train(
        build(
            &onnx,
            Model::training(1),
            &[2, 4, 7, 6],
            &Options::default(),
        )
        .unwrap(),
    );
    assert_eq!(names(&built, Kind::Parameter), ["weight", "bias"]);
    assert_eq!(names(&built, Kind::Buffer), ["running_mean", "running_var"]);
    let variance = &built.slots[built.slot("running_var").unwrap()];
    assert_eq!(support::floats(&variance.genesis), [1.0; 4]);
    assert!(recording.names().any(|name| name == "buffer.running_var"));
}

#[test]
fn frozen_weights_are_constants_and_not_state() {
    let onnx = read("models/lenet.onnx");
    let shape = [4, 1, 8, 8];
    let options = frozen(&["0.*", "*.running_*"]);
    let built = train(build(&onnx, Model::training(1), &shape, &options).unwrap());
    assert_eq!(names(&built, Kind::Buffer), [""; 0]);
    let parameters = names(&built, Kind::Parameter);
    assert_eq!(parameters.len(), 10, "{parameters:?}");
    assert!(!parameters.iter().any(|name| name.starts_with("0.")));
    assert!(built
        .constants
        .values()
        .any(|bytes| bytes.len() == 6 * 9 * 4));

    let reason = build(&onnx, Model::training(1), &shape, &frozen(&["nothing"]));
    assert!(reason
        .err()
        .unwrap()
        .contains("no weight is called \"nothing\""));
}

#[test]
fn an_evaluation_neither_drops_nor_looks_at_the_batch() {
    let onnx = read("models/lenet.onnx");
    let (model, y) = build(
        &onnx,
        Model::evaluation(1),
        &[4, 1, 8, 8],
        &Options::default(),
    )
    .unwrap();
    assert!(model
        .buffers()
        .iter()
        .all(|buffer| buffer.next == buffer.value));
    let mut model = model;
    let losses = model.graph.mean(y, &[1]);
    let pass = model.evaluate(Objective::new(losses)).unwrap();
    assert_eq!(names(&pass, Kind::Buffer).len(), 4);

    let mut graph = Graph::new();
    graph.input("x", 1, &[4, 8]);
    graph.floats("rate", &[], &[0.5]);
    graph.tensor("training", 9, &[], &[1]);
    graph.node("Dropout", &["x", "rate", "training"], "y", &[]);
    let onnx = Onnx::decode(&graph.file()).unwrap();
    let draws = |model: Model| {
        let (mut model, y) = build(&onnx, model, &[4, 8], &Options::default()).unwrap();
        let loss = model.graph.mean(y, &[0, 1]);
        let (state, _) = model.graph.state(&[], Dtype::F32);
        let program = lockstep_graph::lower::lower(&model.graph, &[(state, loss)]).unwrap();
        program
            .nodes
            .iter()
            .any(|node| matches!(node, Node::Source(Source::Seed)))
    };
    assert!(draws(Model::training(1)));
    assert!(!draws(Model::evaluation(1)));
}

#[test]
fn a_weight_under_two_names_is_one_parameter() {
    let onnx = read("models/gpt.onnx");
    let mut model = Model::training(1);
    let ids = model.graph.field(Field {
        dataset: 0,
        batch: 4,
        record_size: 16,
        offset: 0,
        count: 16,
        dtype: Dtype::U8,
    });
    let inputs = BTreeMap::from([("x".to_string(), ids)]);
    onnx.build(&mut model, &inputs, &Options::default())
        .unwrap();
    let tables = model
        .parameters()
        .iter()
        .filter(|p| p.initial.len() == 24 * 32);
    assert_eq!(tables.count(), 1);
}

#[test]
fn buffers_of_a_module_are_not_trained() {
    let onnx = read("ops/everyday_20.onnx");
    let (model, _) = build(
        &onnx,
        Model::training(1),
        &[2, 1, 6, 6],
        &Options::default(),
    )
    .unwrap();
    assert!(model.parameters().iter().all(|p| p.name != "scale"));
    assert!(onnx.initialisers().iter().any(|i| i.name == "scale"));
}

#[test]
fn a_file_made_for_inference_is_only_trained_when_asked_for() {
    for name in ["files/optimised.onnx", "files/optimised-torchscript.onnx"] {
        let onnx = read(name);
        let shape = [2, 1, 4, 4];
        let reason = build(&onnx, Model::training(1), &shape, &Options::default())
            .err()
            .unwrap();
        assert!(reason.contains("optimised for inference"), "{reason}");
        assert!(reason.contains("optimize=False"), "{reason}");
        assert!(build(&onnx, Model::evaluation(1), &shape, &Options::default()).is_ok());
        let options = Options {
            optimised: true,
            ..Options::default()
        };
        let (model, _) = build(&onnx, Model::training(1), &shape, &options).unwrap();
        assert!(!model.parameters().is_empty());
    }
}

#[test]
fn data_beside_a_file_is_read_with_it() {
    let onnx = read("files/external.onnx");
    let (model, _) = build(
        &onnx,
        Model::training(1),
        &[2, 1, 4, 4],
        &Options::default(),
    )
    .unwrap();
    let gains = model.parameters().iter().filter(|p| p.initial == [1.0; 4]);
    assert_eq!(gains.count(), 3);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files/external.onnx");
    let reason = Onnx::decode(&std::fs::read(path).unwrap()).err().unwrap();
    assert!(reason.to_string().contains("read the file"), "{reason}");
}

#[test]
fn a_boolean_input_is_any_integer() {
    let mut graph = Graph::new();
    graph.input("a", 9, &[3]);
    graph.input("b", 9, &[3]);
    graph.node("And", &["a", "b"], "both", &[]);
    graph.node("Cast", &["both"], "y", &[("to", 1)]);
    let onnx = Onnx::decode(&graph.file()).unwrap();
    let mut model = Model::training(1);
    let a = model.graph.constant(&[3], Dtype::U8, vec![7, 0, 1]);
    let b = model.graph.constant(&[3], Dtype::I8, vec![1, 1, 255]);
    let inputs = BTreeMap::from([("a".to_string(), a), ("b".to_string(), b)]);
    let y = onnx
        .build(&mut model, &inputs, &Options::default())
        .unwrap()["y"];
    let got = support::Bench::default().run(&mut model.graph, &[y]);
    assert_eq!(got[0], [1.0, 0.0, 1.0]);
}

#[test]
fn a_named_extent_is_the_same_everywhere() {
    let mut graph = Graph::new();
    graph.named_input("x", 1, "batch");
    graph.named_input("z", 1, "batch");
    graph.node("Concat", &["x", "z"], "y", &[("axis", 0)]);
    let onnx = Onnx::decode(&graph.file()).unwrap();
    let attempt = |other: usize| {
        let mut model = Model::training(1);
        let x = model.graph.state(&[4], Dtype::F32).1;
        let z = model.graph.state(&[other], Dtype::F32).1;
        let inputs = BTreeMap::from([("x".to_string(), x), ("z".to_string(), z)]);
        let outputs = onnx.build(&mut model, &inputs, &Options::default());
        outputs.map(|_| ()).map_err(|reason| reason.to_string())
    };
    assert_eq!(attempt(4), Ok(()));
    let reason = attempt(5).unwrap_err();
    assert!(
        reason.contains("\"batch\", which is 4 elsewhere and 5 here"),
        "{reason}"
    );
}

#[test]
fn the_same_file_always_builds_the_same_program() {
    let root = || {
        let onnx = read("models/lenet.onnx");
        let built = build(
            &onnx,
            Model::training(1),
            &[4, 1, 8, 8],
            &Options::default(),
        );
        train(built.unwrap()).program.root()
    };
    assert_eq!(root(), root());
}

#[test]
fn products_with_one_matrix_follow_the_precision_of_the_model() {
    // A linear layer as PyTorch writes it, its weight transposed, and a product of a stack.
    let mut file = Graph::new();
    file.input("x", 1, &[2, 3, 5]);
    file.integers("rows", &[6, 5]);
    file.floats("first", &[4, 5], &[0.5; 20]);
    file.floats("second", &[5, 7], &[0.25; 35]);
    file.node("MatMul", &["x", "second"], "stack", &[]);
    file.node("Reshape", &["x", "rows"], "flat", &[]);
    file.node("Gemm", &["flat", "first"], "rows_of_four", &[("transB", 1)]);
    file.node("ReduceMean", &["rows_of_four"], "mean", &[]);
    file.node("Add", &["stack", "mean"], "y", &[]);
    let onnx = Onnx::decode(&file.file()).unwrap();
    let integer_folds = |precision| {
        let mut model = Model::training(1);
        model.precision = precision;
        let built = train(build(&onnx, model, &[2, 3, 5], &Options::default()).unwrap());
        let sums = |node: &&Node| matches!(node, Node::Fold(_)) && node.dtype() == Dtype::I32;
        built.program.nodes.iter().filter(sums).count()
    };
    assert_eq!(integer_folds(Precision::Float32), 0);
    // Each layer's output and the gradient of its weights.
    assert_eq!(integer_folds(Precision::Int8), 4);
}
